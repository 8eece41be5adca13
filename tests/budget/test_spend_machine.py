"""Any sequence of what can happen to a hard budget overshoots nothing and loses nothing.

Every step is a real call on a real database, usage arrives from a real usage service, and after
each the figures of two budgets, a day's and a year's, are those of a model of a few lines.
`FINOPS_FAULTS=full` runs thousands of steps; the summary of the run says how many of which.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from finops.budget.v1 import (
    budget_model_pb2,
    budget_service_pb2,
    budget_service_pb2_grpc,
    ledger_service_pb2,
    ledger_service_pb2_grpc,
)
from finops.usage.v1 import (
    directory_service_pb2_grpc,
    usage_model_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.budget import bootstrap
from services.budget.settings import BudgetSettings
from services.kernel.cache import Cache
from services.kernel.clock import ManualClock, SystemClock
from services.kernel.ids import new_id
from services.kernel.workers import Workers
from services.usage import bootstrap as usage_bootstrap
from services.usage.settings import UsageSettings
from tests.budget.conftest import Caller
from tests.budget.machine_model import HOLD, Account, Model, Policy
from tests.budget.making import at, money, update
from tests.budget.test_spend import admitted_or_none, authorize, make_budget, release, settle
from tests.support.database import ServiceDatabase, migrated
from tests.support.server import JWT_SECRET, SERVICE_SECRET, service_token_of, serving
from tests.support.waiting import eventually

_Result = TypeVar("_Result")
IS_FULL = os.environ.get("FINOPS_FAULTS") == "full"
EXAMPLES = 100 if IS_FULL else 5
STEPS = 50 if IS_FULL else 25
ROUNDS_MAX = 5 if IS_FULL else 1  # of so many examples, until each rule was drawn often
RULES = (
    *("authorize", "settle", "release", "expire", "late_usage", "reported_usage"),
    *("amend", "reset", "resize", "rollover"),
)
START = datetime(2026, 3, 17, 9, 30, tzinfo=UTC)
DAY, YEAR = Decimal(100), Decimal(450)
AMOUNTS = st.decimals("0.000001", "60", places=6)
POLICIES = st.builds(
    Policy,
    is_enabled=st.booleans(),
    cap_ratio=st.sampled_from([Decimal("0.25"), Decimal(1), Decimal(2)]),
    cap_amount=st.none() | st.sampled_from([Decimal(0), Decimal(30)]),
    carries_overspend=st.booleans(),
)
SECRETS: dict[str, Any] = {"jwt_secret": JWT_SECRET, "service_token_secret": SERVICE_SECRET}


class World:
    """Both services in a loop of their own, which moves while a step waits for it."""

    def __init__(self, budget: ServiceDatabase, usage: ServiceDatabase) -> None:
        self.clock = ManualClock(START)
        self.steps = Counter[str]()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.run(self._start(budget, usage))

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return self._runner.run(work)

    async def _start(self, budget: ServiceDatabase, usage: ServiceDatabase) -> None:
        usage_database, database = usage.connect(), budget.connect()
        cache = Cache.connect(None, service="usage")
        answering = usage_bootstrap.build(
            usage_database, cache, UsageSettings(**SECRETS), clock=SystemClock()
        )
        enter = self._stack.enter_async_context
        self._stack.push_async_callback(usage_database.close)
        self._stack.push_async_callback(database.close)
        self.usage = await enter(serving(*answering.servicers, database=usage_database))
        # A fresh token for each call: a long run outlives any.
        channel = self.usage.channel_with(lambda: service_token_of("budget", tenant=""))
        built = bootstrap.build(database, channel, BudgetSettings(**SECRETS), clock=self.clock)
        self.server = await enter(serving(*built.servicers, database=database))
        workers = Workers(built.workers)
        workers.start()
        self._stack.push_async_callback(workers.stop, 5)

    def caller(self) -> Caller:
        """Returns the administrator of a fresh tenant."""
        tenant = f"tenant-{new_id()}"
        channel = self.server.channel("org_admin", tenant=tenant)
        usage = self.usage.channel("org_admin", tenant=tenant)
        return Caller(
            tenant,
            budget_service_pb2_grpc.BudgetServiceStub(channel),
            ledger_service_pb2_grpc.LedgerServiceStub(channel),
            usage_service_pb2_grpc.UsageServiceStub(usage),
            directory_service_pb2_grpc.DirectoryServiceStub(usage),
        )

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._runner.close()


class SpendMachine(RuleBasedStateMachine):
    """Does anything, in any order, and compares."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.world.clock.advance(START - self.world.clock.now())
        self.caller = self.world.caller()
        self.model = Model(Account(YEAR, Policy(is_enabled=False)), [Account(DAY)])
        self.settled = set[str]()
        self.reported = set[str]()
        # What was recorded: event -> (day, instant, cost, tags).
        self.events: dict[str, tuple[int, datetime, Decimal, dict[str, str]]] = {}

    @initialize()
    def begin(self) -> None:
        self.day_budget = self.world.run(
            make_budget(
                self.caller,
                f"{DAY:f}",
                cadence=budget_model_pb2.BUDGET_CADENCE_DAILY,
                rollover=rollover_of(Policy()),
            )
        )
        yearly = budget_model_pb2.BUDGET_CADENCE_YEARLY
        self.year_budget = self.world.run(make_budget(self.caller, f"{YEAR:f}", cadence=yearly))

    # Several, so that there is something to end: rules are drawn with the same probability.
    @rule(amounts=st.lists(AMOUNTS, min_size=1, max_size=4))
    def authorize(self, amounts: list[Decimal]) -> None:
        for amount in amounts:
            self._authorize(amount)

    def _authorize(self, amount: Decimal) -> None:
        now = self.world.clock.now()
        self.model.expire(now)
        admitted = self.world.run(admitted_or_none(self.caller, amount))
        assert (admitted is not None) == self.model.admits(amount)
        if admitted is not None:
            self.model.hold(admitted.authorization_id, amount, now)
        self.compare("authorize")

    def pick(self, data: st.DataObject, ended: set[str]) -> str:
        return data.draw(st.sampled_from(sorted(set(self.model.holds) - ended)))

    def is_any_left(self) -> bool:
        return bool(set(self.model.holds) - self.settled - self.reported)

    # Several, as there are several to end: where rules are drawn unevenly, settling was too rare.
    @precondition(is_any_left)
    @rule(data=st.data(), costs=st.lists(AMOUNTS, min_size=1, max_size=4))
    def settle(self, data: st.DataObject, costs: list[Decimal]) -> None:
        for cost in costs:
            if self.is_any_left():
                self._settle(data, cost)

    def _settle(self, data: st.DataObject, cost: Decimal) -> None:
        self.model.expire(self.world.clock.now())
        chosen = self.pick(data, self.settled | self.reported)
        hold = self.model.holds[chosen]
        settled = self.world.run(settle(self.caller, chosen, f"{cost:f}"))
        assert settled.settled_late == (not hold.is_open)
        assert Decimal(settled.excess.amount) == max(cost - hold.amount, Decimal(0))
        self.model.settle(chosen, cost)
        self.settled.add(chosen)
        self.compare("settle")

    @precondition(is_any_left)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.model.expire(self.world.clock.now())
        chosen = self.pick(data, self.settled | self.reported)
        self.world.run(release(self.caller, chosen))
        self.model.give_back(chosen)
        # Its usage would be that of work that never happened.
        self.settled.add(chosen)
        self.reported.add(chosen)
        self.compare("release")

    @rule(minutes=st.integers(1, 20))
    def expire(self, minutes: int) -> None:
        before = self.world.clock.now()
        if (before + timedelta(minutes=minutes)).date() == before.date():
            self.world.clock.advance(timedelta(minutes=minutes))
            self.compare("expire")

    @rule()
    def reset(self) -> None:
        self.model.expire(self.world.clock.now())
        self.world.clock.advance(timedelta(days=1))
        # What is held at the end is spent as far as rollover goes, until it expires a day later.
        self.model.reset()
        self.compare("reset")

    @rule(cost=AMOUNTS, days_ago=st.integers(0, 2))
    def late_usage(self, cost: Decimal, days_ago: int) -> None:
        number = len(self.model.days) - 1 - days_ago
        if number >= 0:
            self.model.expire(self.world.clock.now())
            self.model.use(number, cost)
            self._record(number, self.world.clock.now() - timedelta(days=days_ago), cost, {})
            self.compare("late_usage")

    @precondition(lambda self: set(self.model.holds) - self.reported)
    @rule(data=st.data(), cost=AMOUNTS)
    def reported_usage(self, data: st.DataObject, cost: Decimal) -> None:
        """The usage event of an authorized work arrives: before its settlement, after, or alone."""
        self.model.expire(self.world.clock.now())
        chosen = self.pick(data, self.reported)
        hold = self.model.holds[chosen]
        self.model.report(chosen, cost)
        self.reported.add(chosen)
        self._record(hold.day, hold.created_at, cost, {"finops_authorization_id": chosen})
        self.compare("reported_usage")

    @precondition(lambda self: self.events)
    @rule(data=st.data(), cost=st.none() | AMOUNTS)
    def amend(self, data: st.DataObject, cost: Decimal | None) -> None:
        """Usage is corrected, or with None voided."""
        chosen = data.draw(st.sampled_from(sorted(self.events)))
        day, instant, before, tags = self.events.pop(chosen)
        request = usage_service_pb2.AmendUsageRequest(
            source="tests", event_id=chosen, amend_reason="The price was mistyped."
        )
        if cost is not None:
            request.replacement.CopyFrom(event_of(chosen, cost, instant, tags))
            self.events[chosen] = (day, instant, cost, tags)
        self.model.expire(self.world.clock.now())
        self.model.use(day, (cost or Decimal(0)) - before)
        self.world.run(_awaited(self.caller.usage.AmendUsage(request)))
        self.world.run(self._counted())
        self.compare("amend")

    @rule(amount=st.decimals("1", "200", places=2))
    def resize(self, amount: Decimal) -> None:
        known = budget_model_pb2.Budget(budget_id=self.day_budget)
        self.world.run(update(self.caller, known, amount=money(f"{amount:f}")))
        self.model.today.amount = amount
        self.compare("resize")

    @rule(policy=POLICIES)
    def rollover(self, policy: Policy) -> None:
        """The owner says anew what of this day is carried into the next, and then it is."""
        known = budget_model_pb2.Budget(budget_id=self.day_budget)
        change = update(self.caller, known, mask=["rollover"], rollover=rollover_of(policy))
        self.world.run(change)
        self.model.today.policy = policy
        self.model.expire(self.world.clock.now())
        self.world.clock.advance(timedelta(days=1))
        self.model.reset()
        self.compare("rollover")

    def _record(self, day: int, instant: datetime, cost: Decimal, tags: dict[str, str]) -> None:
        event_id = self.world.run(self.caller.record(f"{cost:f}", instant, tags=tags))
        self.events[event_id] = (day, instant, cost, tags)
        self.world.run(self._counted())

    async def _counted(self) -> None:
        wanted = [each.spent for each in (*self.model.days, self.model.year)]

        async def is_so() -> bool:
            return [spent for spent, _, _ in await self._stored()] == wanted

        await eventually(is_so, seconds=10)

    async def _stored(self) -> list[tuple[Decimal, Decimal, Decimal]]:
        """Returns (spent, held, limit) of every day, and then of the year."""
        # A trial opens the running period and gives back what ran out.
        await authorize(self.caller, "0.000001", validate_only=True)
        figures = []
        for budget_id in (self.day_budget, self.year_budget):
            request = ledger_service_pb2.ListBudgetPeriodsRequest(
                budget_id=budget_id, order_by="start_time"
            )
            answer: Any = await self.caller.ledger.ListBudgetPeriods(request)
            figures += [
                (Decimal(t.spent.amount), Decimal(t.held.amount), Decimal(t.limit.amount))
                for t in (period.totals for period in answer.periods)
            ]
        return figures

    def compare(self, step: str) -> None:
        """Asserts that the service says what the model says, of every period."""
        self.world.steps[step] += 1
        self.model.expire(self.world.clock.now())
        expected = [each.figures for each in (*self.model.days, self.model.year)]
        assert self.world.run(self._stored()) == expected

    def teardown(self) -> None:
        if not hasattr(self, "year_budget"):
            return
        self.world.clock.advance(HOLD)
        self.compare("end")
        assert all(each.held == 0 for each in (*self.model.days, self.model.year))
        for budget_id in (self.day_budget, self.year_budget):  # the workers need not turn it again
            request = budget_service_pb2.DeleteBudgetRequest(budget_id=budget_id)
            self.world.run(_awaited(self.caller.budgets.DeleteBudget(request)))


def rollover_of(policy: Policy) -> budget_model_pb2.RolloverPolicy:
    cap = None if policy.cap_amount is None else money(f"{policy.cap_amount:f}")
    return budget_model_pb2.RolloverPolicy(
        enabled=policy.is_enabled,
        cap_ratio=f"{policy.cap_ratio:f}",
        cap_amount=cap,
        carry_overspend=policy.carries_overspend,
    )


def event_of(
    event_id: str, cost: Decimal, instant: datetime, tags: dict[str, str]
) -> usage_model_pb2.UsageEvent:
    return usage_model_pb2.UsageEvent(
        event_id=event_id,
        source="tests",
        start_time=at(instant.isoformat()),
        resource_type="llm",
        quantity="1",
        unit="call",
        cost=usage_model_pb2.UsageCost(currency_code="USD", billed=f"{cost:f}"),
        tags=tags,
    )


async def _awaited(call: Any) -> Any:
    return await call


@pytest.fixture
async def usage_service(owner_url: str) -> ServiceDatabase:
    return await migrated(owner_url, "usage")


async def test_no_sequence_overshoots_loses_money_or_leaves_a_hold(
    budget_service: ServiceDatabase,
    usage_service: ServiceDatabase,
    record_property: Callable[[str, object], None],
) -> None:
    # In a thread, because the machine's steps are no coroutines and need a loop of their own.
    steps = await asyncio.to_thread(run_machine, budget_service, usage_service)

    shown = ", ".join(f"{name} {steps[name]:,}" for name in RULES)
    record_property("steps", f"{steps.total():,} compared with the model: {shown}")
    assert steps.total() > 10 * EXAMPLES
    assert not IS_FULL or is_each_drawn(steps), shown


def run_machine(budget: ServiceDatabase, usage: ServiceDatabase) -> Counter[str]:
    """Returns how many steps of each rule were compared."""
    world = World(budget, usage)
    machine = type("Machine", (SpendMachine,), {"world": world})
    bounds = settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
    try:
        for _ in range(ROUNDS_MAX):
            run_state_machine_as_test(machine, settings=bounds)
            if is_each_drawn(world.steps):
                break
    finally:
        world.close()
    return world.steps


def is_each_drawn(steps: Counter[str]) -> bool:
    """Tells whether every rule was compared often; Hypothesis leaves some out of an example."""
    return min(steps[name] for name in RULES) > EXAMPLES / 2
