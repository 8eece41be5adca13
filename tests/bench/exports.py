"""Five million entries of usage as Parquet, from the request to the finished file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import grpc
import psutil
import uvloop
from finops.reporting.v1 import report_model_pb2, schedule_service_pb2, schedule_service_pb2_grpc

from tests.bench.figures import Figure
from tests.bench.queries import DAYS, TENANT, fill, settle
from tests.bench.stack import BenchStack

ROWS = 5_000_000
POLL_SECONDS = 0.1
EXPORT_SECONDS = 600


def bench_exports(stack: BenchStack) -> Iterator[Figure]:
    """Stores the events by the usage service's own statement, then exports them.

    The memory is that of the larger of the two processes at work: reporting, which writes the
    file, and usage, which reads the rows.
    """
    now = datetime.now(UTC)
    end = datetime(now.year, now.month, now.day, tzinfo=UTC)
    uvloop.run(fill(stack, end, ROWS))
    # Five million events of 90 days came at once; their roll-ups are no part of an export.
    uvloop.run(settle(stack))
    rows, seconds, memory = uvloop.run(_export(stack, end))
    yield Figure("export_rows_per_second", rows / seconds, "rows/s", rows)
    yield Figure("export_rss_mb", max(memory) / 2**20, "MiB", len(memory))


async def _export(stack: BenchStack, end: datetime) -> tuple[int, float, list[int]]:
    """Returns rows, seconds, and the memory of the processes as it was all the while."""
    metadata = [("authorization", f"Bearer {stack.token(TENANT)}")]
    processes = [psutil.Process(pid) for pid in (stack.reporting_pid, stack.usage_pid)]
    memory: list[int] = []
    async with grpc.aio.insecure_channel(stack.reporting_address) as channel:
        stub = schedule_service_pb2_grpc.ExportServiceStub(channel)
        wish = report_model_pb2.ExportJob(
            dataset="usage",
            format="parquet",
            start=(end - timedelta(days=DAYS + 1)).isoformat(),
            end=end.isoformat(),
        )
        started = time.perf_counter()
        request = schedule_service_pb2.CreateExportRequest(export=wish)
        made = (await stub.CreateExport(request, metadata=metadata)).export
        asked = schedule_service_pb2.GetExportRequest(export_id=made.export_id)
        while time.perf_counter() - started < EXPORT_SECONDS:
            memory += [process.memory_info().rss for process in processes]
            found = (await stub.GetExport(asked, metadata=metadata)).export
            if found.state == report_model_pb2.JOB_STATE_SUCCEEDED:
                return found.row_count, time.perf_counter() - started, memory
            if found.error:
                raise RuntimeError(found.error)
            await asyncio.sleep(POLL_SECONDS)
    raise TimeoutError(f"the export is not done after {EXPORT_SECONDS} s")
