"""Exports that meet failures: none of them waits for nothing, and each says why it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from finops.reporting.v1 import report_model_pb2 as model

from services.kernel.errors import Error, Unavailable
from services.kernel.job_worker import ATTEMPTS
from services.reporting.bootstrap import ReportingService
from services.reporting.convert.peers import StubUsageReader
from services.reporting.errors import UsageBusy
from services.reporting.service.exports import jobs
from services.reporting.store import files
from tests.reporting.conftest import Caller
from tests.reporting.test_exports import record, used
from tests.reporting.test_exports_jobs import DONE, create, get, run, stub_of
from tests.support.server import LocalServer


@pytest.fixture
async def stub(server: LocalServer, caller: Caller) -> Any:
    """ExportService as the tenant's administrator sees it."""
    return stub_of(server, caller)


@pytest.mark.parametrize("error", [Unavailable(), Error("odd")])
async def test_export_is_made_though_nobody_says_how_many_rows_to_expect(
    *,
    built: ReportingService,
    caller: Caller,
    stub: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: Error,
) -> None:
    await record(caller, used(1, "1.5"))
    made = await create(stub)

    async def away(*_: Any) -> None:
        raise error

    monkeypatch.setattr(StubUsageReader, "costs", away)
    await run(built, caller, made.export_id)

    done = await get(stub, made.export_id)
    assert (done.state, done.row_count) == (DONE, 1)


async def test_export_waits_while_usage_reads_for_others(
    built: ReportingService, caller: Caller, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await create(stub)

    class Busy:
        """UsageReadService that has no reader left."""

        async def ReadEvents(self, *_: Any, **__: Any) -> AsyncIterator[Any]:  # noqa: N802 - gRPC's name
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), grpc.aio.Metadata()
            )
            yield

    entries = built.exporting.at_once._sources.entries
    monkeypatch.setattr(entries, "_usage", Busy())

    with pytest.raises(UsageBusy) as refusal:
        await run(built, caller, made.export_id)

    assert refusal.value.reason == "USAGE_BUSY"
    assert (await get(stub, made.export_id)).state == model.JOB_STATE_RUNNING


@pytest.mark.parametrize(
    ("error", "said"), [(Unavailable(), jobs.AWAY), (ValueError("secret"), jobs.BROKEN)]
)
async def test_export_that_cannot_even_begin_fails_with_the_last_attempt(
    *,
    built: ReportingService,
    caller: Caller,
    stub: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    said: str,
) -> None:
    made = await create(stub)

    async def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(files, "create", broken)

    with pytest.raises(type(error)):
        await run(built, caller, made.export_id, attempt=ATTEMPTS - 1)
    assert (await get(stub, made.export_id)).state == model.JOB_STATE_PENDING
    await run(built, caller, made.export_id, attempt=ATTEMPTS)

    failed = await get(stub, made.export_id)
    assert (failed.state, failed.error) == (model.JOB_STATE_FAILED, said)
