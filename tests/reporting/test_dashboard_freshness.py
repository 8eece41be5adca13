"""How long a dashboard is kept, and what makes it new: changes, time, a wish; with Redis or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from finops.budget.v1 import budget_model_pb2, budget_service_pb2
from finops.common.v1.money_pb2 import Money

from services.kernel.cache import Cache
from services.kernel.client import PeerChannel
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.feed import FeedPositionExpired
from services.kernel.feed_consumer import Source
from services.kernel.feed_page import START, FeedPage, FeedPosition
from services.kernel.ids import new_id
from services.reporting import bootstrap
from services.reporting.convert.cost_feed import cost_changes
from services.reporting.convert.dashboard_feeds import alert_changes, budget_changes
from services.reporting.domain.dashboard.dashboard import Dashboard
from services.reporting.domain.dashboard.question import DashboardQuestion, Part
from services.reporting.service.dashboard_following import DashboardChanges
from services.reporting.service.dashboard_wanted import WANTED_MAX, WANTED_SECONDS, Wanted
from services.reporting.service.dashboards import AHEAD, TURN_SECONDS
from services.reporting.settings import ReportingSettings
from services.reporting.store import dashboards as store
from tests.reporting.conftest import NOW, SECRETS, TODAY, Caller
from tests.support.redis import RedisServer
from tests.support.server import LocalServer, service_token_of
from tests.support.waiting import eventually

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def service(
    reporting_database: Database,
    usage_server: LocalServer,
    redis_server: RedisServer,
    clock: ManualClock,
) -> AsyncIterator[bootstrap.ReportingService]:
    """The reporting service with a real Redis, its workers not running."""
    cache = Cache.connect(redis_server.url, service=f"reporting-{new_id()}")
    yield bootstrap.build(
        reporting_database,
        usage_server.channel_with(service_token_of("reporting", tenant="")),
        None,
        ReportingSettings(**SECRETS),
        clock=clock,
        cache=cache,
    )
    await cache.close()


async def change(database: Database, *tenants: str) -> None:
    """Does what a change in a feed does."""
    async with database.system_transaction() as tx:
        await store.count_changes(tx, tenants)


async def version(database: Database, tenant: str) -> int:
    async with database.transaction(tenant) as tx:
        return await store.version_in_force(tx, tenant)


async def test_an_answer_is_kept_until_something_changes(
    service: bootstrap.ReportingService,
    reporting_database: Database,
    caller: Caller,
    clock: ManualClock,
) -> None:
    await caller.record_days(["10"] * 20)
    question = DashboardQuestion(caller.tenant_id)
    first = await service.dashboards.get_dashboard(question)
    clock.advance(timedelta(seconds=1))
    again = await service.dashboards.get_dashboard(question)
    await change(reporting_database, caller.tenant_id)
    await eventually(lambda: version(reporting_database, caller.tenant_id))
    changed = await service.dashboards.get_dashboard(question)

    assert first == again
    assert changed.computed_at == first.computed_at + timedelta(seconds=1)


async def test_a_change_of_cost_shows_without_waiting_for_the_answer_to_grow_old(
    service: bootstrap.ReportingService,
    reporting_database: Database,
    usage_server: LocalServer,
    caller: Caller,
) -> None:
    question = DashboardQuestion(caller.tenant_id)
    before = await service.dashboards.get_dashboard(question)
    source = cost_changes(usage_server.channel_with(service_token_of("reporting", tenant="")))
    changes = DashboardChanges(reporting_database)

    async with following(changes, source):
        await caller.record_days(["12.5"])

        async def shows() -> bool:
            shown = await service.dashboards.get_dashboard(question)
            return shown.summary is not None and str(shown.summary.cost) == "12.5"

        await eventually(shows)  # long before the answer would grow old

    assert before.summary is not None
    assert before.summary.cost == 0


async def test_a_new_budget_makes_dashboards_new(
    reporting_database: Database, budget_server: LocalServer, caller: Caller
) -> None:
    source = budget_changes(budget_server.channel_with(service_token_of("reporting", tenant="")))

    async with following(DashboardChanges(reporting_database), source):
        await caller.budgets.CreateBudget(
            budget_service_pb2.CreateBudgetRequest(
                budget=budget_model_pb2.Budget(
                    display_name="Everything",
                    scope=budget_model_pb2.BudgetScope(),
                    cadence=budget_model_pb2.BUDGET_CADENCE_MONTHLY,
                    amount=Money(currency_code="USD", amount="600"),
                )
            )
        )
        seen = await eventually(lambda: version(reporting_database, caller.tenant_id))

    assert seen == 1


async def test_feeds_of_alerts_and_budgets_resume_where_they_were_left(
    budget_server: LocalServer,
) -> None:
    channel = budget_server.channel_with(service_token_of("reporting", tenant=""))
    for source in (alert_changes(channel), budget_changes(channel)):
        async with aclosing(source(START)) as pages:
            first = await anext(pages)
        async with aclosing(source(first.position)) as pages:
            later = await anext(pages)

        assert START < first.position <= later.position


@asynccontextmanager
async def following(
    changes: DashboardChanges, source: Source[Any], *, name: str = ""
) -> AsyncIterator[None]:
    task = asyncio.create_task(changes.follow(name or f"test-{new_id()}", source))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_changes_without_pause_still_leave_answers_to_keep(
    reporting_database: Database, tenant: str
) -> None:
    loop = asyncio.get_running_loop()
    began, seen = loop.time(), []
    while loop.time() < began + 2.5:
        await change(reporting_database, tenant)
        seen.append(await version(reporting_database, tenant))

    assert len(seen) > 20
    assert seen == sorted(seen)
    assert seen[-1] == 2  # one version a second, whatever comes


async def test_a_version_that_begins_holds_all_changes_before_it(
    reporting_database: Database, tenant: str
) -> None:
    await change(reporting_database, tenant)
    at_once = await version(reporting_database, tenant)
    await change(reporting_database, tenant)
    await eventually(lambda: version(reporting_database, tenant))
    async with reporting_database.transaction(tenant) as tx:
        renewed = await store.renew(tx, tenant)
    after = await version(reporting_database, tenant)

    assert at_once == 0
    assert renewed == after == 2


async def test_a_wish_for_a_new_answer_is_for_everybody(
    service: bootstrap.ReportingService, caller: Caller, clock: ManualClock
) -> None:
    question = DashboardQuestion(caller.tenant_id)
    await service.dashboards.get_dashboard(question)
    await caller.record_days(["5"])

    kept = await service.dashboards.get_dashboard(question)
    clock.advance(timedelta(seconds=1))
    wished = await service.dashboards.get_dashboard(question, refresh=True)
    clock.advance(timedelta(seconds=1))
    others = await service.dashboards.get_dashboard(question)

    assert kept.summary is not None
    assert kept.summary.cost == 0
    assert wished.summary is not None
    assert wished.summary.cost == 5
    assert others == wished


async def test_answers_differ_by_everything_that_they_depend_on(
    service: bootstrap.ReportingService, caller: Caller
) -> None:
    await caller.record_days(["10"] * 20, department="research")
    plain = DashboardQuestion(caller.tenant_id)
    varied = [
        plain,
        replace(plain, currency_code="EUR"),
        replace(plain, start="2026-06-10"),
        replace(plain, end="2026-06-10"),
        replace(plain, filter='department = "sales"'),
        replace(plain, cost_type="list", end="2026-06-12"),
        replace(plain, parts=frozenset({Part.BUDGETS})),
    ]

    shown = [await service.dashboards.get_dashboard(question) for question in varied]
    again = [await service.dashboards.get_dashboard(question) for question in varied]

    assert shown == again
    assert len({_digest(each) for each in shown}) == len(varied)
    assert shown[-1].forecast is None
    assert "forecast" in shown[-1].missing


def _digest(dashboard: Dashboard) -> str:
    return repr((dashboard.period, dashboard.currency_code, dashboard.summary, dashboard.missing))


async def test_what_was_asked_for_is_computed_ahead_before_it_is_too_old(
    service: bootstrap.ReportingService, caller: Caller, clock: ManualClock
) -> None:
    await caller.record_days(["10"] * 20)
    question = DashboardQuestion(caller.tenant_id)
    first = await service.dashboards.get_dashboard(question)
    made: list[int] = []
    while not made or not made[-1]:
        clock.advance(MINUTE)
        made.append(await service.dashboards.refresh_due())
    computed_at = clock.now()
    twice = await service.dashboards.refresh_due()
    clock.advance(AHEAD)

    shown = await service.dashboards.get_dashboard(question)

    assert len(made) * MINUTE <= timedelta(seconds=TURN_SECONDS)
    assert first.computed_at == NOW
    assert twice == 0
    assert shown.computed_at == computed_at


async def test_a_new_day_begins_with_a_new_answer(
    service: bootstrap.ReportingService, caller: Caller, clock: ManualClock
) -> None:
    question = DashboardQuestion(caller.tenant_id)
    clock.advance(TODAY + timedelta(days=16) - MINUTE - clock.now())
    before = await service.dashboards.get_dashboard(question)
    ahead = await service.dashboards.refresh_due()
    clock.advance(2 * MINUTE)

    after = await service.dashboards.get_dashboard(question)

    assert ahead == 0
    assert before.period.start.month == 6
    assert after.period.start.month == 7


async def test_answers_are_right_while_redis_is_dead(
    service: bootstrap.ReportingService, caller: Caller, redis_server: RedisServer
) -> None:
    await caller.record_days(["10"] * 20)
    question = DashboardQuestion(caller.tenant_id)
    alive = await service.dashboards.get_dashboard(question)

    await redis_server.kill()
    try:
        dead = await service.dashboards.get_dashboard(question)
        await caller.record_days(["1"])
        fresh = await service.dashboards.get_dashboard(question)
    finally:
        await redis_server.start()

    assert alive == dead
    assert fresh.summary is not None
    assert fresh.summary.cost == 141


async def test_an_incomplete_answer_is_not_kept_for_long(
    reporting_database: Database,
    usage_server: LocalServer,
    budget_server: LocalServer,
    redis_server: RedisServer,
    caller: Caller,
) -> None:
    clock = ManualClock(NOW)
    token = service_token_of("reporting", tenant="")
    cache = Cache.connect(redis_server.url, service=f"reporting-{new_id()}")
    question = DashboardQuestion(caller.tenant_id)
    shown = []
    for target in ("127.0.0.1:1", budget_server.target):
        channel = PeerChannel(target, peer="budget", authorization=lambda: f"Bearer {token}")
        built = bootstrap.build(
            reporting_database,
            usage_server.channel_with(token),
            channel,
            ReportingSettings(**SECRETS),
            clock=clock,
            cache=cache,
        )
        shown.append(await built.dashboards.get_dashboard(question))
        await channel.close()
        clock.advance(timedelta(seconds=5))
    await cache.close()

    assert shown[0].is_passing
    assert {"budgets", "alerts"} <= set(shown[0].missing)
    assert not shown[1].is_passing
    assert not {"budgets", "alerts"} & set(shown[1].missing)


async def test_when_changes_were_missed_everything_counts_as_changed(
    reporting_database: Database, tenant: str
) -> None:
    await change(reporting_database, tenant)
    await eventually(lambda: version(reporting_database, tenant))
    name = f"test-{new_id()}"
    lost = FeedPosition(1, 1)
    async with reporting_database.system_transaction() as tx:
        await tx.driver.execute(
            "INSERT INTO feed_cursor (name, position) VALUES ($1, $2)", name, str(lost)
        )
    opened: list[FeedPosition] = []

    async def source(after: FeedPosition) -> AsyncGenerator[FeedPage[None], None]:
        opened.append(after)
        if after == lost:
            raise FeedPositionExpired(position=after)
        yield FeedPage([], FeedPosition(2, 2))
        await asyncio.Event().wait()

    async def is_following() -> bool:
        return len(opened) > 1

    async with following(DashboardChanges(reporting_database), source, name=name):
        await eventually(is_following)
        seen = await version(reporting_database, tenant)

    assert opened == [lost, START]
    assert seen == 2


def test_only_what_was_asked_for_lately_is_wanted() -> None:
    now = [0.0]
    wanted = Wanted(elapsed=lambda: now[0])
    questions = [DashboardQuestion(f"tenant-{number}") for number in range(WANTED_MAX + 1)]
    for question in questions:
        wanted.add(question)
    most = wanted.questions()
    now[0] = WANTED_SECONDS + 1
    wanted.add(questions[5])

    assert most == questions[:0:-1]
    assert wanted.questions() == [questions[5]]
