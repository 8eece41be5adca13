"""What surrounds every call that takes one message and gives one."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from services.kernel.database import Database
from services.kernel.errors import FailedPrecondition, ResourceExhausted
from services.kernel.interceptors import REQUEST_ID_METADATA, TENANT_METADATA
from tests.support.echo import EchoRequest, EchoServicer, EchoStub, path, registered
from tests.support.notes import notes
from tests.support.server import LocalServer, bearer, refused, service_token_of, serving, token_of

ADMIN = bearer(token_of("platform_admin"))


class NoteLocked(FailedPrecondition):
    """The note is locked; unlock it first."""

    reason = "NOTE_LOCKED"


def raw(server: LocalServer, method: str) -> Any:
    """Returns a call that sends bytes as they are."""
    call: Any = server.plain.unary_unary(path(method))
    return call


def raising(error: BaseException) -> Any:
    async def before(_: Any) -> None:
        raise error

    return before


async def test_a_call_is_answered_as_its_caller() -> None:
    async with serving(registered(EchoServicer())) as server:
        answer = await EchoStub(server.channel("platform_admin")).Echo(EchoRequest(text="hello"))

    assert (answer.text, answer.subject) == ("hello", "ada")


async def test_the_answer_names_the_tenant_of_its_caller() -> None:
    async with serving(registered(EchoServicer())) as server:
        call = EchoStub(server.plain).Echo(EchoRequest(text="hello"), metadata=ADMIN)
        await call
        trailing = dict(await call.trailing_metadata())

    assert trailing[TENANT_METADATA] == "acme"


@pytest.mark.parametrize("method", ["Echo", "Write"])
async def test_a_call_without_a_credential_is_refused(method: str) -> None:
    servicer = EchoServicer()
    async with serving(registered(servicer)) as server:
        refusal = await refused(getattr(EchoStub(server.plain), method)(EchoRequest(text="x")))

    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert refusal.reason == "UNAUTHENTICATED"
    assert servicer.calls == []


async def test_a_call_without_the_permission_is_refused_and_told_which() -> None:
    servicer = EchoServicer()
    async with serving(registered(servicer)) as server:
        refusal = await refused(EchoStub(server.channel("viewer")).Echo(EchoRequest(text="x")))

    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert refusal.reason == "PERMISSION_DENIED"
    assert refusal.metadata == {"permission": "echo.read"}
    assert servicer.calls == []


async def test_a_public_method_needs_no_credential() -> None:
    async with serving(registered(EchoServicer())) as server:
        answer = await EchoStub(server.plain).Greet(EchoRequest(text="hello"))

    assert (answer.text, answer.subject) == ("hello", "")


async def test_the_caller_is_checked_before_the_request_is_read() -> None:
    async with serving(registered(EchoServicer())) as server:
        refusal = await refused(raw(server, "Echo")(b"\xff\xff"))

    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED


async def test_bytes_that_are_no_message_are_refused() -> None:
    async with serving(registered(EchoServicer())) as server:
        refusal = await refused(raw(server, "Echo")(b"\xff\xff", metadata=ADMIN))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "MALFORMED_MESSAGE"


async def test_every_broken_rule_of_a_request_is_named() -> None:
    servicer = EchoServicer()
    request = EchoRequest(tags={"team": "too long"}, items=[EchoRequest(text="x"), EchoRequest()])
    async with serving(registered(servicer)) as server:
        refusal = await refused(EchoStub(server.plain).Echo(request, metadata=ADMIN))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "FIELD_VIOLATIONS"
    assert refusal.fields == ["text", 'tags["team"]', "items[1].text"]
    assert servicer.calls == []


async def test_a_domain_error_becomes_its_status() -> None:
    servicer = EchoServicer(before=raising(NoteLocked(note="n1")))
    async with serving(registered(servicer)) as server:
        refusal = await refused(EchoStub(server.plain).Echo(EchoRequest(text="x"), metadata=ADMIN))

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.message == "The note is locked; unlock it first."
    assert (refusal.reason, refusal.metadata) == ("NOTE_LOCKED", {"note": "n1"})


async def test_more_details_than_metadata_holds_are_cut_and_the_status_arrives() -> None:
    error = ResourceExhausted("ü" * 5_000, violations=[("s" * 200, "d" * 200)] * 500, key="value")
    async with serving(registered(EchoServicer(before=raising(error)))) as server:
        refusal = await refused(EchoStub(server.plain).Echo(EchoRequest(text="x"), metadata=ADMIN))

    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.reason == "RESOURCE_EXHAUSTED"
    assert refusal.message.endswith("…")


async def test_an_unknown_exception_shows_nothing_but_the_trace_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    servicer = EchoServicer(before=raising(RuntimeError("the password is 12345")))
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    metadata = [*ADMIN, ("traceparent", f"00-{trace_id}-b7ad6b7169203331-01")]
    async with serving(registered(servicer)) as server:
        refusal = await refused(
            EchoStub(server.plain).Echo(EchoRequest(text="x"), metadata=metadata)
        )

    assert refusal.code is grpc.StatusCode.INTERNAL
    assert refusal.message == "An internal error occurred; report it with the trace id."
    assert (refusal.reason, refusal.metadata) == ("INTERNAL", {"trace_id": trace_id})
    assert capsys.readouterr().out.count("call failed") == 1


async def test_a_method_that_aborts_by_itself_is_left_to_it() -> None:
    class Aborting(EchoServicer):
        async def echo(self, request: Any, context: Any) -> Any:
            await context.abort(grpc.StatusCode.DATA_LOSS, request.text)

    async with serving(registered(Aborting())) as server:
        refusal = await refused(EchoStub(server.plain).Echo(EchoRequest(text="x"), metadata=ADMIN))

    assert (refusal.code, refusal.message) == (grpc.StatusCode.DATA_LOSS, "x")


async def test_a_cancelled_call_stops_its_method() -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def before(_: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with serving(registered(EchoServicer(before=before))) as server:
        call = EchoStub(server.plain).Echo(EchoRequest(text="x"), metadata=ADMIN)
        async with asyncio.timeout(10):
            await begun.wait()
            call.cancel()
            await stopped.wait()

    assert call.cancelled()


async def test_calls_at_the_same_time_keep_their_callers_apart() -> None:
    met = asyncio.Barrier(20)

    async def before(_: Any) -> None:
        await met.wait()

    async with serving(registered(EchoServicer(before=before))) as server:
        calls = [
            EchoStub(server.channel("platform_admin", subject=f"user-{number}")).Echo(
                EchoRequest(text="x")
            )
            for number in range(20)
        ]
        answers = await asyncio.gather(*calls)

    assert [answer.subject for answer in answers] == [f"user-{number}" for number in range(20)]


async def test_an_unknown_method_is_unimplemented() -> None:
    async with serving(registered(EchoServicer())) as server:
        refusal = await refused(raw(server, "Nothing")(b""))

    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_repeated_request_id_is_answered_from_store(
    database: Database, tenant: str
) -> None:
    servicer = EchoServicer(database)
    async with serving(registered(servicer), database=database) as server:
        stub = EchoStub(server.channel("platform_admin", tenant=tenant))
        first = await stub.Write(EchoRequest(text="one", request_id="r1"))
        second = await stub.Write(EchoRequest(text="one", request_id="r1"))

    assert first == second
    assert servicer.calls.count("one") == 2  # it ran, and its transaction found the first answer
    assert await notes(database, tenant) == ["one"]


async def test_the_request_id_may_come_as_metadata(database: Database, tenant: str) -> None:
    servicer = EchoServicer(database)
    metadata = bearer(token_of("platform_admin", tenant=tenant))
    metadata.append((REQUEST_ID_METADATA, "r1"))
    async with serving(registered(servicer), database=database) as server:
        for _ in range(2):
            await EchoStub(server.plain).Write(EchoRequest(text="one"), metadata=metadata)

    assert await notes(database, tenant) == ["one"]


async def test_a_request_id_of_another_request_is_refused(database: Database, tenant: str) -> None:
    async with serving(registered(EchoServicer(database)), database=database) as server:
        stub = EchoStub(server.channel("platform_admin", tenant=tenant))
        await stub.Write(EchoRequest(text="one", request_id="r1"))
        refusal = await refused(stub.Write(EchoRequest(text="two", request_id="r1")))

    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert refusal.reason == "REQUEST_ID_REUSED"
    assert await notes(database, tenant) == ["one"]


async def test_an_overlong_request_id_is_refused(database: Database, tenant: str) -> None:
    request = EchoRequest(text="one", request_id="r" * 129)
    async with serving(registered(EchoServicer(database)), database=database) as server:
        refusal = await refused(
            EchoStub(server.channel("platform_admin", tenant=tenant)).Write(request)
        )

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.metadata) == ("INVALID_REQUEST_ID", {"length": "129"})


async def test_a_platform_admin_writes_for_the_tenant_that_the_request_names(
    database: Database, tenant: str
) -> None:
    request = EchoRequest(text="one", request_id="r1", tenant_id=tenant)
    async with serving(registered(EchoServicer(database)), database=database) as server:
        stub = EchoStub(server.channel("platform_admin", tenant="other"))
        for _ in range(2):
            await stub.Write(request)

    assert await notes(database, tenant) == ["one"]


async def test_naming_another_tenant_is_refused_before_the_method_runs(
    database: Database, tenant: str
) -> None:
    servicer = EchoServicer(database)
    request = EchoRequest(text="one", request_id="r1", tenant_id="other")
    async with serving(registered(servicer), database=database) as server:
        refusal = await refused(EchoStub(server.channel("org_admin", tenant=tenant)).Write(request))

    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert (refusal.reason, refusal.metadata) == ("TENANT_MISMATCH", {"tenant": "other"})
    assert servicer.calls == []


async def test_a_service_reads_whatever_tenant_it_acts_for() -> None:
    metadata = bearer(service_token_of("budget", tenant=""))
    async with serving(registered(EchoServicer())) as server:
        answer = await EchoStub(server.plain).Echo(EchoRequest(text="x"), metadata=metadata)

    assert answer.subject == "service:budget"


async def test_an_audited_method_without_an_entry_fails_where_that_is_asked_for() -> None:
    async with serving(registered(EchoServicer())) as server:
        refusal = await refused(
            EchoStub(server.channel("platform_admin")).Append(EchoRequest(text="x"))
        )

    assert refusal.code is grpc.StatusCode.INTERNAL


async def test_an_audited_method_without_an_entry_is_logged_in_service(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with serving(registered(EchoServicer()), requires_audit=False) as server:
        await EchoStub(server.channel("platform_admin")).Append(EchoRequest(text="x"))

    assert "audit entry missing" in capsys.readouterr().out
