"""A worker that does nothing but the work at the provider, in a process that can be killed.

The process that is started imports all and waits: for each line it is given it kills its child with
SIGKILL and forks another, which works. So a kill costs milliseconds instead of a start of Python.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import timedelta

from pydantic import SecretStr

from services.billing.service.provider.providers import Providers
from services.kernel import job_worker
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.job_worker import JobWorker
from tests.billing.provider.seeding import work_of

# A killed worker's jobs are looked for more often than in production, so that kills cost no time.
job_worker.POLL = timedelta(seconds=0.5)


async def main() -> None:
    """Works until it is killed."""
    told = json.loads(sys.argv[1])
    database = Database.connect(told["url"], service="billing", worker_url=told["worker_url"])
    envelope = Envelope([SecretStr(told["encryption_key"])])
    providers = Providers(
        database,
        envelope,
        base_url=told["stripe"],
        timeout_seconds=2.0,
        requests_per_second=1e6,
        open_seconds=0.3,
    )
    work = work_of(database, providers, envelope, has_safeguards=told["has_safeguards"])
    jobs = JobWorker(database, service="billing", heartbeat_timeout=timedelta(seconds=0.5))
    work.register(jobs)
    await jobs.run()


def supervise() -> None:
    """Kills and forks at each line, and says which child works now."""
    child = 0
    for _ in sys.stdin:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        child = os.fork()
        if not child:
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what it logs is no answer
            asyncio.run(main())
            os._exit(1)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
    os.kill(child, signal.SIGKILL)


supervise()
