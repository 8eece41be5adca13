"""PostgreSQL is shut down and crashed while clients send."""

from __future__ import annotations

import os
import signal

import pytest

from cli.stack.postgres import EmbeddedPostgres
from tests.faults.load import PATIENCE_SECONDS, Load, assert_counted_once
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

# What `pg_ctl stop -m fast` and `-m immediate` send; the second leaves a crash to recover from.
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT

pytestmark = pytest.mark.fault


async def test_every_event_counts_once_over_a_shutdown_and_a_crash(
    stack: RunningStack, load: Load
) -> None:
    postgres = EmbeddedPostgres(stack.data_dir)

    for number in (FAST, IMMEDIATE):
        await load.progress()
        pid = postgres.pid
        assert pid is not None
        os.kill(pid, number)

        async def is_started_again(ended: int = pid) -> bool:
            return postgres.pid not in (None, ended)

        await eventually(is_started_again, seconds=PATIENCE_SECONDS)
    await load.progress()
    await load.finish()

    await assert_counted_once(load)
