"""API keys over gRPC: made within their maker's powers, shown once, revoked everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import grpc
import pytest
from finops.usage.v1 import api_key_service_pb2 as messages
from finops.usage.v1 import api_key_service_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel import audit
from services.kernel.api_keys import CACHE_SECONDS, ApiKeyDirectory
from services.kernel.api_keys_remote import RemoteApiKeyDirectory
from services.kernel.auth import Authenticator, InvalidApiKey
from services.kernel.caller import Caller
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.pagination import PageTokens
from services.kernel.permissions import ROLES
from services.kernel.tokens import TokenVerifier
from services.usage.api.api_keys import ApiKeyServicer
from services.usage.errors import TenantNotFound
from services.usage.service.api_keys import ApiKeys, OwnApiKeyDirectory
from tests.support.database import ServiceDatabase, connection
from tests.support.server import LocalServer, refused, service_token_of, serving

Stub = Any  # the generated stub, whose types are those of synchronous gRPC
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
REVOCATION_SECONDS_MAX = 5  # what the contract promises


@dataclass
class Stopwatch:
    """Seconds that pass when a test says so."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
async def server(usage_database: Database, clock: ManualClock) -> AsyncIterator[LocalServer]:
    api_keys = ApiKeys(usage_database, tokens=PageTokens(b"secret of the tests"), clock=clock)
    servicer = ApiKeyServicer(api_keys=api_keys)
    register = partial(api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server, servicer)
    directory = OwnApiKeyDirectory(usage_database)
    async with serving(register, database=usage_database, api_keys=directory) as running:
        yield running


def stub_of(server: LocalServer, tenant: str, role: str = "org_admin") -> Stub:
    return api_key_service_pb2_grpc.ApiKeyServiceStub(server.channel(role, tenant=tenant))


def stub_with(server: LocalServer, credential: str) -> Stub:
    return api_key_service_pb2_grpc.ApiKeyServiceStub(server.channel_with(credential))


@pytest.fixture
async def stub(server: LocalServer, tenant: str) -> Stub:
    """An administrator of the test's own tenant."""
    return stub_of(server, tenant)


def wanted(*roles: str, **fields: Any) -> messages.CreateApiKeyRequest:
    return messages.CreateApiKeyRequest(
        **{"display_name": "loader", "roles": roles or ["analyst"]} | fields
    )


def authenticator(directory: ApiKeyDirectory, elapsed: Stopwatch, clock: ManualClock) -> Any:
    return Authenticator(TokenVerifier(), api_keys=directory, clock=clock, elapsed=elapsed)


def shown(text: str) -> dict[str, str | bytes]:
    return {"authorization": f"Bearer {text}"}


async def test_a_new_key_authenticates_as_its_tenant_with_its_roles(
    stub: Stub, usage_database: Database, clock: ManualClock, tenant: str
) -> None:
    made = await stub.CreateApiKey(wanted("analyst", scopes=["usage.record"]))

    caller: Caller = await authenticator(
        OwnApiKeyDirectory(usage_database), Stopwatch(), clock
    ).authenticate(shown(made.key_text))

    assert made.key_text.startswith(f"fk_{made.api_key.key_id}_")
    assert caller.tenant_id == tenant
    assert caller.subject == f"api_key:{made.api_key.key_id}"
    assert caller.credential_id == made.api_key.key_id
    assert caller.roles == {"analyst"}
    assert caller.permissions == {"usage.record"}


async def test_the_secret_is_nowhere_but_in_the_answer(
    stub: Stub, usage_service: ServiceDatabase, usage_database: Database, tenant: str
) -> None:
    made = await stub.CreateApiKey(wanted())
    secret = made.key_text.rpartition("_")[2]

    listed = await stub.ListApiKeys(messages.ListApiKeysRequest())
    async with connection(usage_service.owner_url) as owner:
        stored = await owner.fetchrow(
            "SELECT * FROM usage.api_key WHERE key_id = $1", made.api_key.key_id
        )
    async with usage_database.read(tenant) as tx:
        [entry] = [each async for each in audit.read_entries(tx, tenant)]

    assert list(listed.api_keys) == [made.api_key]
    for text in (str(listed), str(stored), str(entry)):
        assert secret not in text
        assert secret.encode().hex() not in text
    assert stored is not None
    digest = stored["secret_digest"].hex()
    assert digest not in f"{listed}{entry}"
    assert (entry.action, entry.resource, entry.before) == (
        "api_keys.create",
        f"api_keys/{made.api_key.key_id}",
        None,
    )


async def test_two_keys_differ_and_cannot_be_asked_for_again(stub: Stub) -> None:
    first = await stub.CreateApiKey(wanted())
    second = await stub.CreateApiKey(wanted())

    assert first.key_text != second.key_text
    assert first.api_key.key_id != second.api_key.key_id


@pytest.mark.parametrize("role", ["org_admin", "viewer", "billing_admin"])
async def test_an_organisations_admin_grants_its_own_roles(stub: Stub, role: str) -> None:
    made = await stub.CreateApiKey(wanted(role))

    assert list(made.api_key.roles) == [role]


@pytest.mark.parametrize("scopes", [[], ["usage.read"]])
async def test_nobody_makes_a_key_above_themselves(stub: Stub, scopes: list[str]) -> None:
    refusal = await refused(stub.CreateApiKey(wanted("viewer", "platform_admin", scopes=scopes)))

    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert (refusal.reason, refusal.metadata) == ("KEY_ABOVE_CALLER", {"role": "platform_admin"})
    assert list((await stub.ListApiKeys(messages.ListApiKeysRequest())).api_keys) == []


async def test_a_narrowed_key_makes_no_wider_one(server: LocalServer, stub: Stub) -> None:
    narrow = await stub.CreateApiKey(
        wanted("org_admin", scopes=["api_keys.read", "api_keys.write", "usage.record"])
    )
    program = stub_with(server, narrow.key_text)

    refusal = await refused(program.CreateApiKey(wanted("analyst")))
    allowed = await program.CreateApiKey(wanted("analyst", scopes=["usage.record"]))

    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert refusal.reason == "KEY_ABOVE_CALLER"
    assert "costs.read" in refusal.metadata["permissions"].split(", ")
    assert list(allowed.api_key.scopes) == ["usage.record"]


@pytest.mark.parametrize("role", ["service", "emperor"])
async def test_a_key_has_only_roles_of_persons(server: LocalServer, tenant: str, role: str) -> None:
    platform = stub_of(server, tenant, "platform_admin")

    refusal = await refused(platform.CreateApiKey(wanted(role)))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.metadata["role"]) == ("UNKNOWN_ROLE", role)
    assert set(refusal.metadata["allowed"].split(", ")) == ROLES.keys() - {"service"}


@pytest.mark.parametrize(
    "scope", ["usage.amend", "usage.*", "*.read", "nonsense", "a.b.c", "us*.x"]
)
async def test_a_scope_lies_within_the_roles(stub: Stub, scope: str) -> None:
    refusal = await refused(stub.CreateApiKey(wanted("analyst", scopes=["usage.record", scope])))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.metadata) == ("SCOPE_OUTSIDE_ROLES", {"scope": scope})


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1), timedelta(days=400)])
async def test_an_expiry_lies_in_the_future(stub: Stub, late: timedelta) -> None:
    expire_time = Timestamp()
    expire_time.FromDatetime(NOON - late)

    refusal = await refused(stub.CreateApiKey(wanted(expire_time=expire_time)))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "EXPIRY_NOT_IN_FUTURE"
    assert refusal.metadata == {"expire_time": (NOON - late).isoformat()}


async def test_an_expiry_beyond_the_calendar_is_named(stub: Stub) -> None:
    refusal = await refused(stub.CreateApiKey(wanted(expire_time=Timestamp(seconds=2**60))))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == ["expire_time"]


async def test_an_expired_key_is_refused(
    stub: Stub, usage_database: Database, clock: ManualClock
) -> None:
    expire_time = Timestamp()
    expire_time.FromDatetime(NOON + timedelta(hours=1))
    made = await stub.CreateApiKey(wanted(expire_time=expire_time))
    elapsed = Stopwatch()
    door = authenticator(OwnApiKeyDirectory(usage_database), elapsed, clock)
    await door.authenticate(shown(made.key_text))

    clock.advance(timedelta(hours=1))
    elapsed.seconds += 3600

    with pytest.raises(InvalidApiKey) as caught:
        await door.authenticate(shown(made.key_text))
    assert caught.value.reason == "INVALID_API_KEY"
    assert made.api_key.expire_time == expire_time


async def test_a_revoked_key_is_listed_with_its_end(
    stub: Stub, usage_database: Database, clock: ManualClock, tenant: str
) -> None:
    made = await stub.CreateApiKey(wanted())
    clock.advance(timedelta(days=1))
    request = messages.RevokeApiKeyRequest(key_id=made.api_key.key_id, request_id="end it")

    revoked = await stub.RevokeApiKey(request)
    again = await stub.RevokeApiKey(request)
    listed = await stub.ListApiKeys(messages.ListApiKeysRequest())

    assert revoked == again
    assert revoked.api_key.revoke_time.ToDatetime(tzinfo=UTC) == NOON + timedelta(days=1)
    assert list(listed.api_keys) == [revoked.api_key]
    async with usage_database.read(tenant) as tx:
        entries = [entry async for entry in audit.read_entries(tx, tenant)]
    assert [entry.action for entry in entries] == ["api_keys.create", "api_keys.revoke"]
    assert "revoked_at" not in (entries[1].before or "")
    assert "revoked_at" in (entries[1].after or "")


async def test_a_key_is_revoked_once(stub: Stub) -> None:
    made = await stub.CreateApiKey(wanted())
    request = messages.RevokeApiKeyRequest(key_id=made.api_key.key_id)
    await stub.RevokeApiKey(request)

    refusal = await refused(stub.RevokeApiKey(request))

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "API_KEY_REVOKED"
    assert refusal.metadata == {
        "key_id": made.api_key.key_id,
        "revoke_time": NOON.isoformat(),
    }


async def test_a_revocation_holds_in_every_process_within_five_seconds(
    server: LocalServer, stub: Stub, usage_database: Database, clock: ManualClock
) -> None:
    made = await stub.CreateApiKey(wanted())
    elapsed = Stopwatch()
    asking = server.channel_with(service_token_of("billing", tenant=""))
    doors = [
        authenticator(OwnApiKeyDirectory(usage_database), elapsed, clock),
        authenticator(RemoteApiKeyDirectory(asking), elapsed, clock),
    ]
    for door in doors:
        assert (await door.authenticate(shown(made.key_text))).roles == {"analyst"}

    await stub.RevokeApiKey(messages.RevokeApiKeyRequest(key_id=made.api_key.key_id))

    # A key shown just before may be known until then, and not a moment longer.
    elapsed.seconds += CACHE_SECONDS
    assert elapsed.seconds < REVOCATION_SECONDS_MAX
    for door in doors:
        with pytest.raises(InvalidApiKey):
            await door.authenticate(shown(made.key_text))


async def test_a_revoked_key_calls_no_method(server: LocalServer, stub: Stub) -> None:
    made = await stub.CreateApiKey(wanted("org_admin"))
    await stub.RevokeApiKey(messages.RevokeApiKeyRequest(key_id=made.api_key.key_id))

    refusal = await refused(
        stub_with(server, made.key_text).ListApiKeys(messages.ListApiKeysRequest())
    )

    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert refusal.reason == "INVALID_API_KEY"


async def test_keys_are_listed_newest_first_page_by_page(stub: Stub, clock: ManualClock) -> None:
    for name in ("first", "second", "third"):
        await stub.CreateApiKey(wanted(display_name=name))
        clock.advance(timedelta(seconds=1))

    page = await stub.ListApiKeys(messages.ListApiKeysRequest(page_size=2))
    rest = await stub.ListApiKeys(
        messages.ListApiKeysRequest(page_size=2, page_token=page.next_page_token)
    )
    oldest = await stub.ListApiKeys(messages.ListApiKeysRequest(order_by="create_time"))
    found = await stub.ListApiKeys(messages.ListApiKeysRequest(filter='display_name = "s*"'))

    assert [key.display_name for key in page.api_keys] == ["third", "second"]
    assert [key.display_name for key in rest.api_keys] == ["first"]
    assert rest.next_page_token == ""
    assert [key.display_name for key in oldest.api_keys] == ["first", "second", "third"]
    assert [key.display_name for key in found.api_keys] == ["second"]


async def test_another_tenants_keys_do_not_exist(
    server: LocalServer, stub: Stub, tenant: str
) -> None:
    made = await stub.CreateApiKey(wanted())
    other = stub_of(server, f"{tenant}-other")
    request = messages.RevokeApiKeyRequest(key_id=made.api_key.key_id)

    refusal = await refused(other.RevokeApiKey(request))
    listed = await other.ListApiKeys(messages.ListApiKeysRequest())
    named = await refused(other.ListApiKeys(messages.ListApiKeysRequest(tenant_id=tenant)))

    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert (refusal.reason, refusal.metadata) == (
        "API_KEY_NOT_FOUND",
        {"key_id": made.api_key.key_id},
    )
    assert list(listed.api_keys) == []
    assert named.reason == "TENANT_MISMATCH"


async def test_a_key_for_a_tenant_that_does_not_exist_is_refused(
    server: LocalServer, tenant: str
) -> None:
    platform = stub_of(server, tenant, "platform_admin")

    refusal = await refused(platform.CreateApiKey(wanted(tenant_id=f"{tenant}-typo")))

    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == TenantNotFound.reason


@pytest.mark.parametrize("role", ["viewer", "analyst", "budget_admin", "billing_admin"])
async def test_smaller_roles_neither_make_nor_see_keys(
    server: LocalServer, tenant: str, role: str
) -> None:
    stub = stub_of(server, tenant, role)

    making = await refused(stub.CreateApiKey(wanted("viewer")))
    seeing = await refused(stub.ListApiKeys(messages.ListApiKeysRequest()))

    assert making.metadata == {"permission": "api_keys.write"}
    assert seeing.metadata == {"permission": "api_keys.read"}


async def test_only_services_look_keys_up(server: LocalServer, stub: Stub, tenant: str) -> None:
    made = await stub.CreateApiKey(wanted())
    request = messages.LookUpApiKeyRequest(key_id=made.api_key.key_id)
    service = stub_with(server, service_token_of("billing", tenant=""))

    found = await service.LookUpApiKey(request)
    admin = await refused(stub.LookUpApiKey(request))
    platform = await refused(stub_of(server, tenant, "platform_admin").LookUpApiKey(request))
    unknown = await refused(service.LookUpApiKey(messages.LookUpApiKeyRequest(key_id="none")))

    assert found.api_key == made.api_key
    assert len(found.secret_digest) == 32
    assert admin.metadata == {"permission": "api_keys.look_up"}
    assert platform.code is grpc.StatusCode.PERMISSION_DENIED
    assert platform.reason == "SERVICES_ONLY"
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "API_KEY_NOT_FOUND")


async def test_both_directories_find_the_same(
    server: LocalServer, stub: Stub, usage_database: Database
) -> None:
    expire_time = Timestamp()
    expire_time.FromDatetime(NOON + timedelta(days=1, microseconds=1))
    made = await stub.CreateApiKey(wanted(scopes=["usage.read"], expire_time=expire_time))
    asking = server.channel_with(service_token_of("billing", tenant=""))
    own, remote = OwnApiKeyDirectory(usage_database), RemoteApiKeyDirectory(asking)

    for key_id in (made.api_key.key_id, "none", "x" * 200):
        assert await own.find(key_id) == await remote.find(key_id)

    assert await own.find(made.api_key.key_id) is not None
    await stub.RevokeApiKey(messages.RevokeApiKeyRequest(key_id=made.api_key.key_id))
    assert await own.find(made.api_key.key_id) == await remote.find(made.api_key.key_id)
