"""A worker process that begins a job and never ends it, for tests that kill it."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from services.kernel.database import Database
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job


async def main(url: str, worker_url: str, service: str, entrypoint: str) -> None:
    """Serves one entrypoint, and writes a line when a job has begun."""
    database = Database.connect(url, service=service, worker_url=worker_url)

    async def begin(job: Job) -> None:
        sys.stdout.write(f"begun {job.job_id}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    worker = JobWorker(database, service=service, heartbeat_timeout=timedelta(seconds=1))
    worker.handle(entrypoint, begin)
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
