"""Every way in: credentials, tenants, roles, the database's own roles, the audit log."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import jwt
import pytest
from finops.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from finops.usage.v1 import (
    api_key_service_pb2,
    api_key_service_pb2_grpc,
    cost_model_pb2,
    directory_service_pb2,
    directory_service_pb2_grpc,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from finops.usage.v1.directory_model_pb2 import User
from finops.usage.v1.usage_model_pb2 import RecordStatus, UsageCost, UsageEvent
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.cache import Cache
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.usage.bootstrap import build
from services.usage.service.api_keys import OwnApiKeyDirectory
from services.usage.settings import UsageSettings
from tests.support.database import ServiceDatabase, connection
from tests.support.server import (
    JWT_SECRET,
    SERVICE_SECRET,
    LocalServer,
    all_of,
    bearer,
    refused,
    serving,
    settings_of,
    token_of,
)

Stub = Any  # the generated stubs, whose types are those of synchronous gRPC
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY: dict[str, Any] = {"start": "2026-03-10", "end": "2026-03-11"}
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture(scope="module")
async def server(
    usage_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalServer]:
    """The whole usage service, as it is wired in service."""
    folder: Path = tmp_path_factory.mktemp("archive")
    settings = UsageSettings(**settings_of().model_dump() | {"archive_dir": folder})
    cache = Cache(None, service="usage")
    built = build(usage_database, cache, settings, clock=SystemClock())
    directory = OwnApiKeyDirectory(usage_database)
    async with serving(*built.servicers, database=usage_database, api_keys=directory) as running:
        yield running


class Stubs(NamedTuple):
    """All of the service's stubs on one channel."""

    usage: Stub
    directory: Stub
    keys: Stub
    audit: Stub


def stubs_on(channel: Any) -> Stubs:
    return Stubs(
        usage_service_pb2_grpc.UsageServiceStub(channel),
        directory_service_pb2_grpc.DirectoryServiceStub(channel),
        api_key_service_pb2_grpc.ApiKeyServiceStub(channel),
        audit_service_pb2_grpc.AuditServiceStub(channel),
    )


@pytest.fixture
async def own(server: LocalServer, tenant: str) -> Stubs:
    """An administrator of the test's tenant."""
    return stubs_on(server.channel("org_admin", tenant=tenant))


@pytest.fixture
async def other(server: LocalServer, tenant: str) -> Stubs:
    """An administrator of another tenant."""
    return stubs_on(server.channel("org_admin", tenant=f"{tenant}-other"))


def used(event_id: str = "e1", tenant_id: str = "") -> UsageEvent:
    start = Timestamp()
    start.FromDatetime(NOON)
    return UsageEvent(
        event_id=event_id,
        source="test",
        tenant_id=tenant_id,
        start_time=start,
        resource_type="vm",
        quantity="1",
        unit="hour",
        user_id="ada",
        cost=UsageCost(currency_code="USD", billed="2.5"),
    )


def batch(*events: UsageEvent, tenant_id: str = "") -> usage_service_pb2.RecordUsageRequest:
    return usage_service_pb2.RecordUsageRequest(tenant_id=tenant_id, events=events or [used()])


async def events_of(stubs: Stubs, **asked: Any) -> list[str]:
    request = usage_service_pb2.ListUsageEventsRequest(**(DAY | asked))
    answer = await stubs.usage.ListUsageEvents(request)
    return [item.event.event_id for item in answer.events]


def claims(**changed: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    kept = {"sub": "ada", "tenant": "acme", "roles": ["org_admin"], "iss": "finops"}
    times = {"iat": now, "exp": now + timedelta(hours=1)}
    return kept | times | {"aud": "finops"} | changed


def signed(**changed: Any) -> str:
    return jwt.encode(claims(**changed), JWT_SECRET, algorithm="HS256")


def with_other_roles() -> str:
    """Returns a viewer's token whose claims were changed after it was signed."""
    header, _, signature = token_of("viewer").split(".")
    now = int(datetime.now(UTC).timestamp())
    changed = json.dumps(claims(iat=now, exp=now + 60, roles=["platform_admin"])).encode()
    return f"{header}.{base64.urlsafe_b64encode(changed).rstrip(b'=').decode()}.{signature}"


def long_ago() -> dict[str, Any]:
    then = datetime.now(UTC) - timedelta(days=1)
    return {"iat": then, "exp": then + timedelta(hours=1)}


CREDENTIALS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "no token": list,
    "empty token": lambda: bearer(""),
    "no bearer": lambda: [("authorization", token_of("org_admin"))],
    "expired": lambda: bearer(signed(**long_ago())),
    "signature of another secret": lambda: bearer(
        jwt.encode(claims(), JWT_SECRET[::-1], algorithm="HS256")
    ),
    "person signed by a service": lambda: bearer(
        jwt.encode(claims(), SERVICE_SECRET, algorithm="HS256")
    ),
    "changed after signing": lambda: bearer(with_other_roles()),
    "alg none": lambda: bearer(jwt.encode(claims(), "", algorithm="none")),
    "wrong audience": lambda: bearer(signed(aud="another")),
    "wrong issuer": lambda: bearer(signed(iss="another")),
    "role of services": lambda: bearer(signed(roles=["service"])),
    "unknown API key": lambda: bearer(f"fk_{'a' * 20}_{'b' * 40}"),
}


def record(stub: Stub, credential: list[tuple[str, str]]) -> Awaitable[object]:
    call: Awaitable[object] = stub.RecordUsage(batch(), metadata=credential)
    return call


def stream(stub: Stub, credential: list[tuple[str, str]]) -> Awaitable[object]:
    requests = iter([usage_service_pb2.StreamUsageRequest(events=[used()])])
    return all_of(stub.StreamUsage(requests, metadata=credential))


def watch(stub: Stub, credential: list[tuple[str, str]]) -> Awaitable[object]:
    request = cost_model_pb2.WatchCostsRequest()
    return all_of(stub.WatchCosts(request, metadata=credential), most=1)


@pytest.mark.parametrize("call", [record, stream, watch])
@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_no_call_is_answered_without_a_valid_credential(
    server: LocalServer,
    credential: str,
    call: Callable[[Stub, list[tuple[str, str]]], Awaitable[object]],
) -> None:
    stub = usage_service_pb2_grpc.UsageServiceStub(server.plain)

    refusal = await refused(call(stub, CREDENTIALS[credential]()))

    assert refusal.code is UNAUTHENTICATED
    assert JWT_SECRET not in refusal.message


async def test_the_id_of_another_tenant_in_a_path_or_query_is_refused(
    own: Stubs, other: Stubs, tenant: str
) -> None:
    await own.usage.RecordUsage(batch())
    calls = [
        other.directory.GetTenant(directory_service_pb2.GetTenantRequest(tenant_id=tenant)),
        other.usage.QueryCosts(cost_model_pb2.QueryCostsRequest(tenant_id=tenant, **DAY)),
        other.usage.ListUsageEvents(
            usage_service_pb2.ListUsageEventsRequest(tenant_id=tenant, **DAY)
        ),
        other.usage.GetUsageEvent(
            usage_service_pb2.GetUsageEventRequest(tenant_id=tenant, source="test", event_id="e1")
        ),
        other.audit.VerifyAuditChain(audit_service_pb2.VerifyAuditChainRequest(tenant_id=tenant)),
    ]

    for call in calls:
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (PERMISSION_DENIED, "TENANT_MISMATCH")


async def test_what_another_tenant_owns_is_not_found_by_its_own_id(
    own: Stubs, other: Stubs
) -> None:
    await own.usage.RecordUsage(batch())
    request = usage_service_pb2.GetUsageEventRequest(source="test", event_id="e1")
    key: dict[str, Any] = {"source": "test", "event_id": "e1"}
    amending = usage_service_pb2.AmendUsageRequest(**key, amend_reason="not mine")

    reading = await refused(other.usage.GetUsageEvent(request))
    changing = await refused(other.usage.AmendUsage(amending))

    assert reading.code is changing.code is grpc.StatusCode.NOT_FOUND
    assert not (await own.usage.GetUsageEvent(request)).event.is_voided


async def test_another_tenant_in_a_body_is_refused(own: Stubs, other: Stubs, tenant: str) -> None:
    recording = await refused(other.usage.RecordUsage(batch(tenant_id=tenant)))
    user = User(user_id="eve", display_name="Eve")
    request = directory_service_pb2.CreateUserRequest(tenant_id=tenant, user=user)
    creating = await refused(other.directory.CreateUser(request))

    assert recording.reason == creating.reason == "TENANT_MISMATCH"
    assert await events_of(own) == []


async def test_another_tenant_on_one_event_stores_none_of_the_batch(
    own: Stubs, other: Stubs, tenant: str
) -> None:
    request = batch(used("mine"), used("yours", tenant_id=tenant), used("mine-too"))

    refusal = await refused(other.usage.RecordUsage(request))

    assert (refusal.code, refusal.reason) == (PERMISSION_DENIED, "TENANT_MISMATCH")
    assert await events_of(own) == await events_of(other) == []


async def test_a_filter_reaches_no_other_tenant(own: Stubs, other: Stubs, tenant: str) -> None:
    await own.usage.RecordUsage(batch())
    texts = [
        f'tenant_id = "{tenant}"',
        f'user_id = "ada" OR tenant_id = "{tenant}"',
        f"""user_id = "x' OR tenant_id = '{tenant}' --" """,
        'user_id = "ada" OR user_id != "ada"',
        '"; SELECT * FROM usage.event --"',
    ]

    for text in texts:
        listing = usage_service_pb2.ListUsageEventsRequest(**DAY, filter=text)
        asking = cost_model_pb2.QueryCostsRequest(**DAY, filter=text)
        for call in (other.usage.ListUsageEvents(listing), other.usage.QueryCosts(asking)):
            try:
                answer = await call
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # noqa: PT017 - or empty
            else:
                assert not {"events", "rows"} & {field.name for field, _ in answer.ListFields()}


async def test_a_page_token_of_another_tenant_is_refused(own: Stubs, other: Stubs) -> None:
    request = usage_service_pb2.ListUsageEventsRequest(**DAY, page_size=1)
    for stubs in (own, other):
        await stubs.usage.RecordUsage(batch(used("e1"), used("e2")))
    token = (await own.usage.ListUsageEvents(request)).next_page_token
    request.page_token = token

    refusal = await refused(other.usage.ListUsageEvents(request))

    assert token
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "INVALID_PAGE_TOKEN"
    assert len((await own.usage.ListUsageEvents(request)).events) == 1


async def test_a_stream_for_another_is_refused(own: Stubs, other: Stubs, tenant: str) -> None:
    for request in (
        usage_service_pb2.StreamUsageRequest(sequence=1, tenant_id=tenant, events=[used()]),
        usage_service_pb2.StreamUsageRequest(sequence=1, events=[used(tenant_id=tenant)]),
    ):
        refusal = await refused(all_of(other.usage.StreamUsage(iter([request]))))
        assert (refusal.code, refusal.reason) == (PERMISSION_DENIED, "TENANT_MISMATCH")
    assert await events_of(own) == []


async def test_an_import_for_another_is_refused(own: Stubs, other: Stubs, tenant: str) -> None:
    content = HttpBody(content_type="text/csv", data=b"BilledCost\n1\n")
    named = usage_service_pb2.ImportUsageRequest(
        tenant_id=tenant, kind="focus", file_name="bill.csv", content=content
    )
    started = await own.usage.ImportUsage(
        usage_service_pb2.ImportUsageRequest(
            kind="focus", file_name="bill.csv", content=content, total_bytes=100
        )
    )
    import_id = getattr(started, "import").import_id

    refusal = await refused(other.usage.ImportUsage(named))
    continuing = await refused(
        other.usage.ImportUsage(
            usage_service_pb2.ImportUsageRequest(
                import_id=import_id, offset=len(content.data), total_bytes=100, content=content
            )
        )
    )
    own_id = {"import_id": import_id}
    getting = await refused(other.usage.GetImport(usage_service_pb2.GetImportRequest(**own_id)))
    cancelling = await refused(
        other.usage.CancelImport(usage_service_pb2.CancelImportRequest(**own_id))
    )

    assert (refusal.code, refusal.reason) == (PERMISSION_DENIED, "TENANT_MISMATCH")
    for gone in (continuing, getting, cancelling):
        assert gone.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("named", ["*", None])
async def test_only_platform_admins_and_services_watch_other_tenants(
    other: Stubs, tenant: str, named: str | None
) -> None:
    request = cost_model_pb2.WatchCostsRequest(tenant_id=named or tenant)

    refusal = await refused(all_of(other.usage.WatchCosts(request), most=1))

    assert (refusal.code, refusal.reason) == (PERMISSION_DENIED, "TENANT_MISMATCH")


async def test_a_viewer_records_nothing(server: LocalServer, own: Stubs, tenant: str) -> None:
    viewer = stubs_on(server.channel("viewer", tenant=tenant))

    unary = await refused(viewer.usage.RecordUsage(batch()))
    requests = iter([usage_service_pb2.StreamUsageRequest(events=[used()])])
    streamed = await refused(all_of(viewer.usage.StreamUsage(requests)))

    for refusal in (unary, streamed):
        assert refusal.code is PERMISSION_DENIED
        assert refusal.metadata == {"permission": "usage.record"}
    assert await events_of(viewer) == await events_of(own) == []


async def test_a_key_records_within_its_scope_and_does_nothing_else(
    server: LocalServer, own: Stubs
) -> None:
    made = await own.keys.CreateApiKey(
        api_key_service_pb2.CreateApiKeyRequest(
            display_name="loader", roles=["analyst"], scopes=["usage.record"]
        )
    )
    program = stubs_on(server.channel_with(made.key_text))

    answer = await program.usage.RecordUsage(batch())
    reading = await refused(program.usage.QueryCosts(cost_model_pb2.QueryCostsRequest(**DAY)))

    assert list(answer.statuses) == [RecordStatus.RECORD_STATUS_ACCEPTED]
    assert await events_of(own) == ["e1"]
    assert reading.code is PERMISSION_DENIED
    assert reading.metadata == {"permission": "costs.read"}


async def test_tampering_with_the_audit_log_is_found(
    own: Stubs, usage_service: ServiceDatabase, tenant: str
) -> None:
    await own.usage.RecordUsage(batch(*(used(f"e{number}") for number in range(3))))
    for number in range(3):
        await own.usage.AmendUsage(
            usage_service_pb2.AmendUsageRequest(
                source="test", event_id=f"e{number}", amend_reason="a test"
            )
        )
    request = audit_service_pb2.VerifyAuditChainRequest()
    before = await own.audit.VerifyAuditChain(request)

    async with connection(usage_service.owner_url) as owner, owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        await owner.execute(
            "UPDATE usage.audit_entry SET actor = 'eve' WHERE tenant_id = $1 AND sequence = 2",
            tenant,
        )
    after = await own.audit.VerifyAuditChain(request)

    assert (before.is_intact, before.entries) == (True, 3)
    assert (after.is_intact, after.first_broken_sequence) == (False, 2)
