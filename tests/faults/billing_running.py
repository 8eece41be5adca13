"""Does a billing run and is killed at a statement, again and again a little later.

`python -m tests.faults.billing_running RUN_ID TENANTS_TENANT STEP`, with the service's URLs. Each
round is a process of its own that goes on with the run and kills itself, with SIGKILL, before its
n-th statement or commit; n rises by STEP until a round comes through. Prints the kills.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from asyncpg import Connection

from services.billing.service.running import BillingRuns
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.jobs import Job
from services.kernel.pagination import PageTokens
from services.kernel.pool import Pool
from tests.billing.invoicing_stage import stage_of

ROUNDS_MAX = 2_000


def count_down(statements: int) -> None:
    """Makes this process kill itself at its n-th statement, or at a commit's beginning or end."""
    left = statements

    def tick() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(call: Callable[..., Awaitable[Any]], *, twice: bool = False) -> Callable[..., Any]:
        async def counting(*arguments: Any, **named: Any) -> Any:
            tick()
            answer = await call(*arguments, **named)
            if twice:
                tick()
            return answer

        return counting

    driver: Any = Connection
    driver._do_execute = counted(driver._do_execute)
    driver._prepare = counted(driver._prepare)
    Pool.finish = counted(Pool.finish, twice=True)  # type: ignore[method-assign]


async def work(run_id: str, now: datetime) -> None:
    """Does the run to its end."""
    database = Database.connect(
        os.environ["FINOPS_DATABASE_URL"],
        service="billing",
        worker_url=os.environ["FINOPS_WORKER_DATABASE_URL"],
    )
    clock = ManualClock(now)
    stage = stage_of(database, clock, "nobody")
    runs = BillingRuns(
        database,
        stage.invoices,
        stage.invoices._issuing,
        tokens=PageTokens(b"x" * 32),
        clock=clock,
    )
    await runs.work(Job(1, "billing_run", json.dumps({"run_id": run_id}).encode(), 1, None))
    await database.close()


def main(run_id: str, now: str, step: int) -> int:
    """Returns how often it was killed."""
    for number in range(1, ROUNDS_MAX):
        child = os.fork()
        if not child:
            count_down(number * step)
            asyncio.run(work(run_id, datetime.fromisoformat(now)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return number - 1
    return ROUNDS_MAX


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1], sys.argv[2], int(sys.argv[3]))}\n")
