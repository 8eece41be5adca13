"""Any sequence of what can happen to a hard budget overshoots nothing and loses nothing.

Every step is a real call on a real database, usage arrives from a real usage service, and after
each the service's figures are those of a model of a few lines.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
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
from finops.common.v1.money_pb2 import Money
from finops.usage.v1 import directory_service_pb2_grpc, usage_service_pb2_grpc
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
from tests.budget.test_spend import admitted_or_none, authorize, make_budget, release, settle
from tests.support.database import ServiceDatabase, migrated
from tests.support.server import JWT_SECRET, SERVICE_SECRET, service_token_of, serving
from tests.support.waiting import eventually

_Result = TypeVar("_Result")
IS_FULL = os.environ.get("FINOPS_FAULTS") == "full"
EXAMPLES = 200 if IS_FULL else 5
STEPS = 50 if IS_FULL else 25
START = datetime(2026, 3, 17, 9, 30, tzinfo=UTC)
HOLD = timedelta(minutes=15)
AMOUNTS = st.decimals("0.000001", "60", places=6)
SECRETS: dict[str, Any] = {"jwt_secret": JWT_SECRET, "service_token_secret": SERVICE_SECRET}


class World:
    """Both services in a loop of their own, which moves while a step waits for it."""

    def __init__(self, budget: ServiceDatabase, usage: ServiceDatabase) -> None:
        self.clock = ManualClock(START)
        self.steps = 0
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
        channel = self.usage.channel_with(service_token_of("budget", tenant=""))
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


@dataclass(slots=True)
class Day:
    """One period of the model."""

    amount: Decimal
    rolled: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)
    held: Decimal = Decimal(0)

    @property
    def remaining(self) -> Decimal:
        return self.amount + self.rolled - self.spent - self.held

    @property
    def carried(self) -> Decimal:
        return min(max(self.remaining, Decimal(0)), self.amount)


@dataclass(slots=True)
class Held:
    """One authorization of the model."""

    day: int
    amount: Decimal
    expires_at: datetime
    is_open: bool = True


@dataclass(slots=True)
class Model:
    """What must be true. days: by number from the first."""

    amount: Decimal
    days: list[Day]
    holds: dict[str, Held] = field(default_factory=dict)

    def expire(self, now: datetime) -> None:
        for hold in self.holds.values():
            if hold.is_open and hold.expires_at <= now:
                hold.is_open = False
                self.days[hold.day].held -= hold.amount
                self.carry(hold.day)

    def carry(self, number: int) -> None:
        """Gives the running period what the one before it leaves; older ones are closed."""
        if number == len(self.days) - 2:
            self.days[-1].rolled = self.days[number].carried


class SpendMachine(RuleBasedStateMachine):
    """Does anything, in any order, and compares."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.world.clock.advance(START - self.world.clock.now())
        self.caller = self.world.caller()
        self.model = Model(Decimal(100), [Day(Decimal(100))])
        self.ended = set[str]()

    @initialize()
    def begin(self) -> None:
        self.budget_id = self.world.run(
            make_budget(
                self.caller,
                "100",
                cadence=budget_model_pb2.BUDGET_CADENCE_DAILY,
                rollover=budget_model_pb2.RolloverPolicy(enabled=True),
            )
        )

    @rule(amount=AMOUNTS)
    def authorize(self, amount: Decimal) -> None:
        now = self.world.clock.now()
        self.model.expire(now)
        today = self.model.days[-1]
        admitted = self.world.run(admitted_or_none(self.caller, amount))
        assert (admitted is not None) == (today.spent + today.held + amount <= limit_of(today))
        if admitted is not None:
            today.held += amount
            number = len(self.model.days) - 1
            self.model.holds[admitted.authorization_id] = Held(number, amount, now + HOLD)
        self.compare()

    def pick(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(set(self.model.holds) - self.ended)))

    @precondition(lambda self: set(self.model.holds) - self.ended)
    @rule(data=st.data(), cost=AMOUNTS)
    def settle(self, data: st.DataObject, cost: Decimal) -> None:
        self.model.expire(self.world.clock.now())
        chosen = self.pick(data)
        hold = self.model.holds[chosen]
        settled = self.world.run(settle(self.caller, chosen, f"{cost:f}"))
        assert settled.settled_late == (not hold.is_open)
        assert Decimal(settled.excess.amount) == max(cost - hold.amount, Decimal(0))
        day = self.model.days[hold.day]
        day.spent += cost
        self._end(chosen)

    @precondition(lambda self: set(self.model.holds) - self.ended)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.model.expire(self.world.clock.now())
        chosen = self.pick(data)
        self.world.run(release(self.caller, chosen))
        self._end(chosen)

    def _end(self, chosen: str) -> None:
        hold = self.model.holds[chosen]
        if hold.is_open:
            self.model.days[hold.day].held -= hold.amount
            hold.is_open = False
        self.model.carry(hold.day)
        self.ended.add(chosen)
        self.compare()

    @rule(minutes=st.integers(1, 20))
    def wait(self, minutes: int) -> None:
        before = self.world.clock.now()
        if (before + timedelta(minutes=minutes)).date() == before.date():
            self.world.clock.advance(timedelta(minutes=minutes))
            self.compare()

    @rule()
    def reset(self) -> None:
        self.model.expire(self.world.clock.now())
        self.world.clock.advance(timedelta(days=1))
        # What is held at the end is spent as far as rollover goes, until it expires a day later.
        self.model.days.append(Day(self.model.amount, self.model.days[-1].carried))
        self.compare()

    @rule(cost=AMOUNTS, days_ago=st.integers(0, 2))
    def use(self, cost: Decimal, days_ago: int) -> None:
        number = len(self.model.days) - 1 - days_ago
        if number < 0:
            return
        at = self.world.clock.now() - timedelta(days=days_ago)
        self.world.run(self.caller.record(f"{cost:f}", at))
        self.model.expire(self.world.clock.now())
        self.model.days[number].spent += cost
        self.model.carry(number)
        self.world.run(self._counted())
        self.compare()

    @rule(amount=st.decimals("1", "200", places=2))
    def amend(self, amount: Decimal) -> None:
        request = budget_service_pb2.UpdateBudgetRequest(
            budget=budget_model_pb2.Budget(
                budget_id=self.budget_id, amount=Money(currency_code="USD", amount=f"{amount:f}")
            )
        )
        self.world.run(_awaited(self.caller.budgets.UpdateBudget(request)))
        self.model.amount = self.model.days[-1].amount = amount
        self.compare()

    async def _counted(self) -> None:
        wanted = [day.spent for day in self.model.days]

        async def is_so() -> bool:
            return [spent for spent, _, _ in await self._stored()] == wanted

        await eventually(is_so, seconds=10)

    async def _stored(self) -> list[tuple[Decimal, Decimal, Decimal]]:
        # A trial opens the running period and gives back what ran out.
        await authorize(self.caller, "0.000001", validate_only=True)
        answer: Any = await self.caller.ledger.ListBudgetPeriods(
            ledger_service_pb2.ListBudgetPeriodsRequest(
                budget_id=self.budget_id, order_by="start_time"
            )
        )
        totals = [period.totals for period in answer.periods]
        return [
            (Decimal(t.spent.amount), Decimal(t.held.amount), Decimal(t.limit.amount))
            for t in totals
        ]

    def compare(self) -> None:
        """Asserts that the service says what the model says, of every period."""
        self.world.steps += 1
        self.model.expire(self.world.clock.now())
        expected = [(day.spent, day.held, limit_of(day)) for day in self.model.days]
        assert self.world.run(self._stored()) == expected

    def teardown(self) -> None:
        if not hasattr(self, "budget_id"):
            return
        self.world.clock.advance(HOLD)
        self.compare()
        assert all(day.held == 0 for day in self.model.days)


def limit_of(day: Day) -> Decimal:
    return day.amount + day.rolled


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

    record_property("steps", steps)
    assert steps > EXAMPLES


def run_machine(budget: ServiceDatabase, usage: ServiceDatabase) -> int:
    """Returns how many steps were compared."""
    world = World(budget, usage)
    machine = type("Machine", (SpendMachine,), {"world": world})
    bounds = settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
    try:
        run_state_machine_as_test(machine, settings=bounds)
    finally:
        world.close()
    return world.steps
