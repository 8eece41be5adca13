"""The usage service is killed again and again while clients send."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.load import PATIENCE_SECONDS, Load, assert_counted_once
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

pytestmark = pytest.mark.fault


async def test_every_event_counts_once_however_often_the_service_is_killed(
    stack: RunningStack, load: Load, *, is_full: bool
) -> None:
    """openmeterio/openmeter#5118: an event whose first try died was metered zero times."""
    rounds = 20 if is_full else 4
    killed: set[int] = set()

    for _ in range(rounds):
        await load.progress()
        pid = stack.state.processes["usage"].pid
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)

        async def is_started_again(ended: int = pid) -> bool:
            return stack.state.processes["usage"].pid != ended

        await eventually(is_started_again, seconds=PATIENCE_SECONDS)
    await load.progress()
    await load.finish()

    assert len(killed) == rounds
    await assert_counted_once(load)
