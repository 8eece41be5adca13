"""Redis is killed, as often as it comes back, while clients send and ask."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from cli.stack.redis import EmbeddedRedis
from tests.faults.load import Load, assert_counted_once
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

pytestmark = pytest.mark.fault


async def test_nothing_is_lost_and_questions_are_answered_without_redis(
    stack: RunningStack, load: Load, *, is_full: bool
) -> None:
    if not stack.state.redis_url:
        pytest.skip("there is no Redis to kill: no redis-server and no wheel for this Python")
    redis = EmbeddedRedis(stack.data_dir)
    await load.progress()
    kills = asked = 0

    dead_until = time.monotonic() + (60 if is_full else 4)
    while time.monotonic() < dead_until:
        if (pid := redis.pid) is not None:
            os.kill(pid, signal.SIGKILL)
            kills += 1
        question = {"group_by": "project", "filter": f'user = "user-{asked % 20}"'}
        await asyncio.to_thread(stack.ask, load.tenant, "/api/v1/finops/cost-attribution", question)
        asked += 1
        await load.progress(400)

    async def is_back() -> bool:
        return redis.pid is not None

    await eventually(is_back)
    await load.progress()
    await load.finish()
    assert kills > 1
    assert asked > 1
    await assert_counted_once(load)
