"""Partitions of months are made once, whoever needs them first."""

from __future__ import annotations

import asyncio
from datetime import date

from tests.support.database import ServiceDatabase, connection
from tests.support.waiting import eventually

MONTH = date(1987, 5, 1)
MAKE = "SELECT usage.make_event_partition($1)"
WAITING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock')"


async def test_two_that_make_a_partition_at_a_time_make_one(usage_service: ServiceDatabase) -> None:
    async with (
        connection(usage_service.worker_url) as one,
        connection(usage_service.worker_url) as other,
        connection(usage_service.owner_url) as owner,
    ):
        making = one.transaction()
        await making.start()
        is_made = await one.fetchval(MAKE, MONTH)
        late = asyncio.create_task(other.fetchval(MAKE, MONTH))
        pid = other.get_server_pid()
        await eventually(lambda: owner.fetchval(WAITING, pid))
        await making.commit()
        is_made_again = await late

    assert is_made
    assert not is_made_again
