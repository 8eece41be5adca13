"""A roll-up worker is killed while its merge is half done."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psutil
import pytest

from cli.stack.keys import load_or_make_keys
from services.kernel.migrate import service_role, service_url, worker_role
from services.kernel.transaction import Driver
from tests.faults.load import PATIENCE_SECONDS, Load, assert_counted_once
from tests.support.database import connection
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

# Lets a merge write everything and then wait, before its commit, while somebody holds the lock.
# A lock of that kind makes no transaction of the holder's that would hide changes from merges.
_TURNSTILE = """
CREATE FUNCTION usage.fault_turnstile() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared(5); RETURN NULL; END $$;
CREATE TRIGGER fault_turnstile AFTER INSERT ON usage.rollup_day
FOR EACH STATEMENT EXECUTE FUNCTION usage.fault_turnstile();
"""
_NO_TURNSTILE = "DROP FUNCTION usage.fault_turnstile() CASCADE"
_SHUT, _OPEN = "SELECT pg_advisory_lock(5)", "SELECT pg_advisory_unlock(5)"
_WAITING = """
SELECT a.client_port FROM pg_stat_activity a JOIN pg_locks l USING (pid)
WHERE l.locktype = 'advisory' AND NOT l.granted AND a.client_port IS NOT NULL
"""

pytestmark = pytest.mark.fault


@contextmanager
def merging(stack: RunningStack) -> Iterator[psutil.Process]:
    """Runs a roll-up worker beside the service's own."""
    owner_url = stack.state.database_url
    secret = load_or_make_keys(stack.data_dir).role_secret
    urls = {
        "FINOPS_DATABASE_URL": service_url(owner_url, service_role("usage"), secret),
        "FINOPS_WORKER_DATABASE_URL": service_url(owner_url, worker_role("usage"), secret),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.merging"], env={**os.environ, **urls}
    ) as child:
        try:
            yield psutil.Process(child.pid)
        finally:
            child.kill()


@asynccontextmanager
async def turnstile(owner: Driver) -> AsyncIterator[None]:
    """Puts the turnstile before the commit of merges, and takes it away."""
    await owner.execute(_TURNSTILE)
    try:
        yield
    finally:
        await owner.execute(_NO_TURNSTILE)


async def kill_in_the_middle(owner: Driver, worker: psutil.Process) -> None:
    """Kills the worker while its merge waits, so that its transaction can only be undone."""

    async def is_waiting() -> bool:
        ports = {item.laddr.port for item in worker.net_connections(kind="tcp")}
        return any(record["client_port"] in ports for record in await owner.fetch(_WAITING))

    async def is_caught() -> bool:
        """Shuts the turnstile; opens it where the service's own merge came first."""
        await owner.execute(_SHUT)
        try:
            await eventually(is_waiting, seconds=2)
            worker.kill()
            await asyncio.to_thread(worker.wait)
        except TimeoutError:
            return False
        finally:
            await owner.execute(_OPEN)
        return True

    await eventually(is_caught, seconds=PATIENCE_SECONDS)


async def test_every_event_counts_once_when_a_merge_is_killed_half_way(
    stack: RunningStack, load: Load, *, is_full: bool
) -> None:
    async with connection(stack.state.database_url) as owner, turnstile(owner):
        for _ in range(20 if is_full else 2):
            with merging(stack) as worker:
                await load.progress()
                await kill_in_the_middle(owner, worker)
        with merging(stack):
            await load.progress()
            await load.finish()

    await assert_counted_once(load)
