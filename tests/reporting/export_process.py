"""Makes exports in a process of its own that kills itself in the middle of a file.

`python -m tests.reporting.export_process USAGE_TARGET`, with the service's URLs. It stores the
file's first bytes, and ends with SIGKILL before it has stored the next ones.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from typing import Any

from services.kernel.client import PeerChannel
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.job_worker import JobWorker
from services.reporting import bootstrap
from services.reporting.service.exports import jobs
from services.reporting.settings import ReportingSettings
from services.reporting.store import files
from tests.reporting.conftest import SECRETS
from tests.support.server import service_token_of


async def main(usage_target: str) -> None:
    """Works until it is killed, by itself."""
    database = Database.connect(
        os.environ["FINOPS_DATABASE_URL"],
        service="reporting",
        worker_url=os.environ["FINOPS_WORKER_DATABASE_URL"],
    )
    token = service_token_of("reporting", tenant="")
    usage = PeerChannel(usage_target, peer="usage", authorization=lambda: f"Bearer {token}")
    built = bootstrap.build(
        database, usage, None, ReportingSettings(**SECRETS), clock=SystemClock()
    )
    append = files.append
    appended = 0

    async def dying(*arguments: Any) -> None:
        nonlocal appended
        if appended:
            os.kill(os.getpid(), signal.SIGKILL)
        await append(*arguments)
        appended += 1

    files.append = dying  # type: ignore[assignment]
    jobs.BATCH_BYTES = 1  # type: ignore[misc]
    worker = JobWorker(database, service="reporting", heartbeat_timeout=timedelta(seconds=1))
    worker.handle(jobs.JOB, built.exporting.jobs.run)
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
