"""Exports as work: progress, links, an end for every one of them, and no trace of a dead worker."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from finops.reporting.v1 import report_model_pb2 as model
from finops.reporting.v1 import schedule_service_pb2 as messages
from finops.reporting.v1 import schedule_service_pb2_grpc

from services.kernel.caller import Caller as KernelCaller
from services.kernel.caller import acting_as
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.errors import Unavailable
from services.kernel.job_worker import ATTEMPTS, JobWorker
from services.kernel.jobs import Job
from services.reporting.bootstrap import ReportingService
from services.reporting.domain.exports import ExportFormat, ExportWish
from services.reporting.domain.links import parts_of
from services.reporting.service.exports import exporting, jobs
from services.reporting.store import files
from tests.reporting.conftest import Caller
from tests.reporting.exported import rows_of
from tests.reporting.reporter import request_of
from tests.reporting.test_exports import PERIOD, record, used
from tests.support.database import ServiceDatabase, connection
from tests.support.server import LocalServer, refused
from tests.support.waiting import eventually

DONE = model.JOB_STATE_SUCCEEDED


def stub_of(server: LocalServer, caller: Caller, role: str = "org_admin") -> Any:
    return schedule_service_pb2_grpc.ExportServiceStub(
        server.channel(role, tenant=caller.tenant_id)
    )


@pytest.fixture
async def stub(server: LocalServer, caller: Caller) -> Any:
    """ExportService as the tenant's administrator sees it."""
    return stub_of(server, caller)


async def create(stub: Any, **asked: Any) -> model.ExportJob:
    asked = {"dataset": "usage", **PERIOD} | asked
    request = messages.CreateExportRequest(export=model.ExportJob(**asked))
    made: model.ExportJob = (await stub.CreateExport(request)).export
    return made


async def get(stub: Any, export_id: str) -> model.ExportJob:
    answer = await stub.GetExport(messages.GetExportRequest(export_id=export_id))
    found: model.ExportJob = answer.export
    return found


async def run(built: ReportingService, caller: Caller, export_id: str, attempt: int = 1) -> None:
    job = Job(1, jobs.JOB, export_id.encode(), attempt, caller.tenant_id)
    await built.exporting.jobs.run(job)


def link_of(export: model.ExportJob) -> messages.DownloadExportRequest:
    return request_of(parts_of(export.download_path))


async def download(
    server: LocalServer, request: messages.DownloadExportRequest
) -> tuple[str, bytes]:
    """Fetches a file without a token."""
    stub: Any = schedule_service_pb2_grpc.ExportServiceStub(server.plain)
    pieces = [piece async for piece in stub.DownloadExport(request)]
    return pieces[0].content_type, b"".join(piece.data for piece in pieces)


async def stored_files(database: Database, tenant: str) -> int:
    async with database.read(tenant) as tx:
        count: int = await tx.driver.fetchval("SELECT count(*) FROM reporting.file")
    return count


async def test_export_is_made_and_fetched_by_its_link_without_a_token(
    server: LocalServer, built: ReportingService, caller: Caller, stub: Any
) -> None:
    await record(caller, used(1, "1.5"), used(2, "2"))

    made = await create(stub, format="parquet")
    waiting = await get(stub, made.export_id)
    await run(built, caller, made.export_id)
    done = await get(stub, made.export_id)

    assert (waiting.state, waiting.download_path) == (model.JOB_STATE_PENDING, "")
    assert (done.state, done.row_count, done.progress.done_units) == (DONE, 2, 2)
    assert done.start == "2026-06-01T00:00:00+00:00"
    kind, content = await download(server, link_of(done))
    assert kind == "application/vnd.apache.parquet"
    assert (len(content), hashlib.sha256(content).hexdigest()) == (
        done.byte_count,
        done.content_hash,
    )
    assert [row["event_id"] for row in rows_of(content, "parquet")] == ["e1", "e2"]


async def test_link_that_was_changed_or_is_over_opens_nothing(
    server: LocalServer,
    built: ReportingService,
    caller: Caller,
    stub: Any,
    clock: ManualClock,
) -> None:
    made = await create(stub)
    await run(built, caller, made.export_id)
    link = link_of(await get(stub, made.export_id))
    later = messages.DownloadExportRequest()
    later.CopyFrom(link)
    later.expires += 1

    changed = await refused(download(server, later))
    clock.advance(timedelta(days=8))
    over = await refused(download(server, link))

    for refusal in (changed, over):
        assert refusal.reason == "LINK_REFUSED"
        assert refusal.metadata == {"file_id": made.export_id}


async def test_file_is_deleted_when_its_time_is_over_and_the_export_says_so(
    *,
    built: ReportingService,
    reporting_database: Database,
    caller: Caller,
    stub: Any,
    clock: ManualClock,
) -> None:
    made = await create(stub)
    await run(built, caller, made.export_id)
    assert await stored_files(reporting_database, caller.tenant_id) == 1

    clock.advance(timedelta(days=7))
    await built.exporting.jobs.expire(Job(1, jobs.EXPIRY_JOB, b"", 1, None))

    expired = await get(stub, made.export_id)
    assert (expired.state, expired.download_path) == (model.JOB_STATE_EXPIRED, "")
    assert await stored_files(reporting_database, caller.tenant_id) == 0
    clock.advance(timedelta(days=91))
    await built.exporting.jobs.expire(Job(1, jobs.EXPIRY_JOB, b"", 1, None))
    refusal = await refused(get(stub, made.export_id))
    assert refusal.reason == "EXPORT_NOT_FOUND"
    assert refusal.metadata == {"export_id": made.export_id}


async def test_deleted_export_leaves_no_file_and_stops_its_worker(
    *,
    built: ReportingService,
    reporting_database: Database,
    caller: Caller,
    stub: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await record(caller, used(1, "1"))
    made = await create(stub)
    monkeypatch.setattr(jobs, "BATCH_BYTES", 1)
    append = files.append

    async def deleting(*arguments: Any) -> None:
        await append(*arguments)
        deleted.append(asyncio.ensure_future(delete()))

    async def delete() -> None:
        await stub.DeleteExport(messages.DeleteExportRequest(export_id=made.export_id))

    deleted: list[asyncio.Future[None]] = []
    monkeypatch.setattr(files, "append", deleting)

    await run(built, caller, made.export_id)
    await asyncio.gather(*deleted, return_exceptions=True)

    assert (await refused(get(stub, made.export_id))).reason == "EXPORT_NOT_FOUND"
    assert await stored_files(reporting_database, caller.tenant_id) == 0


async def test_export_that_cannot_be_made_fails_with_what_to_do(
    *,
    built: ReportingService,
    reporting_database: Database,
    caller: Caller,
    stub: Any,
) -> None:
    made = await create(stub, filter="nobody = 1")

    await run(built, caller, made.export_id)

    failed = await get(stub, made.export_id)
    assert failed.state == model.JOB_STATE_FAILED
    assert "nobody" in failed.error
    assert await stored_files(reporting_database, caller.tenant_id) == 0


async def test_export_waits_for_a_service_that_is_away_but_not_for_ever(
    built: ReportingService, caller: Caller, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await create(stub)

    async def away(*_: Any) -> AsyncIterator[exporting.Piece]:
        yield exporting.Piece(b"head", 0)
        raise Unavailable

    monkeypatch.setattr(built.exporting.at_once.__class__, "pieces", away)

    with pytest.raises(Unavailable):
        await run(built, caller, made.export_id)
    assert (await get(stub, made.export_id)).state == model.JOB_STATE_RUNNING
    await run(built, caller, made.export_id, attempt=ATTEMPTS)
    assert (await get(stub, made.export_id)).state == model.JOB_STATE_FAILED


async def test_export_that_nobody_makes_any_more_is_ended(
    built: ReportingService, stub: Any, clock: ManualClock
) -> None:
    made = await create(stub)

    clock.advance(timedelta(days=2))
    await built.exporting.jobs.expire(Job(1, jobs.EXPIRY_JOB, b"", 1, None))

    assert (await get(stub, made.export_id)).state == model.JOB_STATE_FAILED


async def test_exports_are_listed_by_state_and_of_the_own_tenant(
    server: LocalServer, built: ReportingService, caller: Caller, stub: Any
) -> None:
    first, second = await create(stub), await create(stub, format="json")
    await run(built, caller, first.export_id)

    everything = await stub.ListExports(messages.ListExportsRequest())
    waiting = await stub.ListExports(messages.ListExportsRequest(filter="state = PENDING"))
    other = stub_of(server, Caller("other", *[None] * 3))  # type: ignore[arg-type]
    elsewhere = await refused(get(other, first.export_id))

    assert {each.export_id for each in everything.exports} == {first.export_id, second.export_id}
    assert [each.export_id for each in waiting.exports] == [second.export_id]
    assert elsewhere.reason == "EXPORT_NOT_FOUND"


async def test_tenant_has_only_so_many_exports_unfinished(
    stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "UNFINISHED_MAX", 1)
    await create(stub)

    refusal = await refused(create(stub))

    assert refusal.reason == "TOO_MANY_EXPORTS"
    assert refusal.metadata == {"exports": "1", "exports_max": "1"}


async def test_who_may_not_read_a_dataset_starts_no_export_of_it(
    server: LocalServer, caller: Caller
) -> None:
    refusal = await refused(create(stub_of(server, caller, "analyst"), dataset="invoices"))

    assert refusal.reason == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    ("asked", "may_read"),
    [({"dataset": "costs"}, True), ({"dataset": "invoices"}, False)],
)
async def test_link_of_an_export_is_for_who_may_read_its_dataset(
    *,
    server: LocalServer,
    built: ReportingService,
    caller: Caller,
    stub: Any,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, str],
    may_read: bool,
) -> None:
    async def pieces(*_: Any) -> AsyncIterator[exporting.Piece]:
        yield exporting.Piece(b"secret", 1)

    monkeypatch.setattr(built.exporting.at_once.__class__, "pieces", pieces)
    made = await create(stub, **asked)
    await run(built, caller, made.export_id)
    viewer = stub_of(server, caller, "viewer")

    found = await get(viewer, made.export_id)
    listed = await viewer.ListExports(messages.ListExportsRequest())

    assert (await get(stub, made.export_id)).download_path
    assert [found.state, *(each.state for each in listed.exports)] == [DONE, DONE]
    assert bool(found.download_path) is may_read
    assert [bool(each.download_path) for each in listed.exports] == [may_read]


@pytest.mark.parametrize(
    ("permissions", "may_read"), [({"costs.read"}, False), ({"costs.read", "usage.read"}, True)]
)
def test_focus_is_for_who_may_read_single_events(*, permissions: set[str], may_read: bool) -> None:
    reader = KernelCaller("t", "ada", frozenset({"viewer"}), frozenset(permissions))

    with acting_as(reader):
        found = exporting.may_read(ExportWish(tenant_id="t", format=ExportFormat.FOCUS))

    assert found is may_read


@asynccontextmanager
async def working(database: Database, built: ReportingService) -> AsyncIterator[None]:
    worker = JobWorker(database, service="reporting", heartbeat_timeout=timedelta(seconds=1))
    worker.handle(jobs.JOB, built.exporting.jobs.run)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await worker.stop()
        await running


async def test_file_of_a_worker_that_was_killed_is_made_anew_by_the_next(
    *,
    server: LocalServer,
    built: ReportingService,
    reporting_database: Database,
    usage_server: LocalServer,
    owner_url: str,
    caller: Caller,
    stub: Any,
) -> None:
    await record(caller, *(used(number, "0.1") for number in range(50)))
    service = ServiceDatabase("reporting", owner_url)
    async with connection(owner_url) as owner:
        await owner.execute("DELETE FROM reporting.pgqueuer WHERE entrypoint = $1", jobs.JOB)
    made = await create(stub, format="csv")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.reporting.export_process", usage_server.target),
        env=os.environ
        | {
            "FINOPS_DATABASE_URL": service.url,
            "FINOPS_WORKER_DATABASE_URL": service.worker_url,
        },
    )

    assert await process.wait() == -signal.SIGKILL
    async with reporting_database.read(caller.tenant_id) as tx:
        half = await tx.driver.fetchval("SELECT count(*) FROM reporting.file_chunk")
    broken = await get(stub, made.export_id)

    async def finished() -> model.ExportJob | None:
        found = await get(stub, made.export_id)
        return found if found.state == DONE else None

    async with working(reporting_database, built):
        done = await eventually(finished, seconds=30)

    assert (half, broken.state) == (1, model.JOB_STATE_RUNNING)
    assert done is not None
    _, content = await download(server, link_of(done))
    rows = rows_of(content, "csv")
    assert [row["event_id"] for row in rows] == [f"e{number}" for number in range(50)]
    assert hashlib.sha256(content).hexdigest() == done.content_hash
