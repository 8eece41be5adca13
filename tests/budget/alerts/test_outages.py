"""Receivers that are down, slow, moody or misleading, by the machine's own clock.

`FINOPS_FAULTS=full` keeps them down for ten minutes; a few seconds are enough for every day.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from finops.budget.v1 import notification_model_pb2 as model

from cli.stack.ports import free_port
from services.budget import bootstrap
from services.budget.bootstrap import BudgetService
from services.budget.settings import BudgetSettings
from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database
from services.kernel.workers import Workers
from tests.budget.alerts.alerting import SECRET, Alerting
from tests.budget.alerts.receiving import OK, Mailbox, Receiver, http_receiver
from tests.budget.alerts.test_delivering import publish
from tests.budget.conftest import RunningUsage
from tests.support.server import service_token_of
from tests.support.waiting import eventually

IS_FULL = os.environ.get("FINOPS_FAULTS") == "full"
DOWN_SECONDS = 600.0 if IS_FULL else 3.0
# The sixth attempt is 14 minutes after the first; nobody waits that long for every day.
PATIENCE_SECONDS = 1_800.0 if IS_FULL else 60.0
EACH = 5
FAILED = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture
def clock() -> Clock:
    """The machine's own."""
    return SystemClock()


@pytest.fixture
async def built(
    budget_database: Database, usage_server: RunningUsage, settings: BudgetSettings, clock: Clock
) -> BudgetService:
    """The budget service by the machine's own clock."""
    usage = usage_server.server.channel_with(lambda: service_token_of("budget", tenant=""))
    return bootstrap.build(budget_database, usage, settings, clock=clock)


@pytest.fixture
async def delivering(built: BudgetService) -> AsyncIterator[None]:
    """Lets alerts and deliveries go their way; periods of other tests' budgets are none of it."""
    workers = Workers(built.alert_work.loops())
    workers.start()
    yield
    await workers.stop(5)


@pytest.fixture
async def inside() -> AsyncIterator[Receiver]:
    """A server at an address that no channel may reach."""
    async with http_receiver(host="127.0.0.2") as receiver:
        yield receiver


@pytest.mark.usefixtures("delivering")
async def test_everything_arrives_once_receivers_are_up_again_and_nothing_went_inside(
    alerting: Alerting, mailbox: Mailbox, inside: Receiver
) -> None:
    dice = random.Random(5)
    port = free_port()
    mailbox.refusing = True

    async def moody(_: int) -> bytes:
        return dice.choice([OK, OK, FAILED, b""])

    async def slow(number: int) -> bytes:
        await asyncio.sleep(16 if IS_FULL and number < EACH else 0.5)
        return OK

    async def misleading(number: int) -> bytes:
        target = f"http://127.0.0.2:{inside.port}/admin"
        moved = f"HTTP/1.1 307 Moved\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n"
        return moved.encode() if number < EACH else OK

    async with (
        http_receiver(moody, secret=SECRET) as first,
        http_receiver(slow, secret=SECRET) as second,
        http_receiver(misleading, secret=SECRET) as third,
    ):
        channels = [
            await alerting.webhook(f"http://127.0.0.1:{port}/hook"),
            *[await alerting.webhook(each.url) for each in (first, second, third)],
        ]
        mail = await alerting.channel(
            kind=model.CHANNEL_KIND_EMAIL, email_addresses=["ada@example.com"]
        )
        sent = [
            [(await publish(alerting, channel))[0] for _ in range(EACH)]
            for channel in (*channels, mail)
        ]
        await asyncio.sleep(DOWN_SECONDS)  # what a receiver that is away does
        down = await alerting.sent(f'channel_id = "{channels[0]}"')
        mailbox.refusing = False
        async with http_receiver(port=port, secret=SECRET) as late:
            await eventually(lambda: all_delivered(alerting), seconds=PATIENCE_SECONDS)

    assert {each.state for each in down} == {model.DELIVERY_STATE_QUEUED}
    assert inside.requests == []
    assert len(mailbox.mails) == EACH
    for receiver, ids in zip((late, first, second, third), sent, strict=False):
        assert receiver.verified == len(receiver.requests)
        arrived = {(each.headers["webhook-id"], each.body) for each in receiver.requests}
        assert sorted(key for key, _ in arrived) == sorted(f"msg_{each}" for each in ids)
    repeats = Counter(each.headers["webhook-id"] for each in first.requests)
    attempts = {each.delivery_id: each.attempt_count for each in await alerting.sent()}
    assert repeats == {f"msg_{each}": attempts[each] for each in sent[1]}


async def all_delivered(alerting: Alerting) -> bool:
    states = {each.state for each in await alerting.sent()}
    return states == {model.DELIVERY_STATE_DELIVERED}
