"""Shared cost ends where rules send it, to the last digit, and only from when they hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import pytest
from finops.usage.v1 import allocation_model_pb2 as models
from finops.usage.v1 import allocation_service_pb2 as messages
from finops.usage.v1 import allocation_service_pb2_grpc
from sqlalchemy import insert

from services.kernel.cache import Cache
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.exchange import ExchangeRates
from services.kernel.money import add_exactly
from services.kernel.pagination import PageTokens
from services.kernel.period import Granularity, Period, zone
from services.usage.api.allocation import AllocationServicer
from services.usage.convert.costs import from_instant
from services.usage.domain.answer import CostGroup
from services.usage.domain.event import Attributes, Costs, UsageEvent
from services.usage.domain.question import CostQuestion
from services.usage.service.allocation import AllocationRules
from services.usage.service.costs import CostQueries
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from services.usage.tables import department, directory_user
from tests.support.server import LocalServer, refused, serving

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = MARCH + 10 * DAY + timedelta(minutes=20)
SHARED = models.AllocationCondition(dimension="project", value="platform")


class Desk(NamedTuple):
    """An allocation service that runs, and what answers questions over its rules."""

    server: LocalServer
    costs: CostQueries
    recorder: Recorder
    tenant: str

    def stub(self) -> allocation_service_pb2_grpc.AllocationServiceAsyncStub:
        channel = self.server.channel("org_admin", tenant=self.tenant)
        return allocation_service_pb2_grpc.AllocationServiceStub(channel)

    def question(self, *group_by: str, **changed: object) -> CostQuestion:
        period = Period(MARCH, MARCH + 31 * DAY)
        plain = CostQuestion(self.tenant, period, zone("UTC"), group_by, is_allocated=True)
        return replace(plain, **changed)  # type: ignore[arg-type]

    async def groups(self, question: CostQuestion) -> dict[tuple[str, ...], CostGroup]:
        answer = await self.costs.answer(question)
        return {(*group.keys, group.currency_code): group for group in answer.groups}


@pytest.fixture
async def desk(
    usage_database: Database, contexts: TenantContexts, recorder: Recorder, tenant: str
) -> AsyncIterator[Desk]:
    clock = ManualClock(NOW)
    tokens = PageTokens(b"tests")
    rules = AllocationRules(usage_database, contexts, tokens=tokens, clock=clock)
    costs = CostQueries(
        usage_database,
        Cache.connect(None, service="usage"),
        tokens=tokens,
        clock=clock,
        rates=ExchangeRates(),
        contexts=contexts,
    )
    servicer = AllocationServicer(rules=rules)
    register = partial(
        allocation_service_pb2_grpc.add_AllocationServiceServicer_to_server, servicer
    )
    async with serving(register, database=usage_database) as server:
        yield Desk(server, costs, recorder, tenant)


def used(name: str, amount: str, at: datetime, **attributes: str) -> UsageEvent:
    cost = Decimal(amount)
    what = Attributes("vm", "hour", "USD")._replace(**attributes)  # type: ignore[arg-type]
    costs = Costs(cost, cost, cost, cost)
    return UsageEvent("test", name, at, at, what, Decimal(2), (), costs)


def rule(name: str = "share", **fields: object) -> models.AllocationRule:
    values: dict[str, object] = {
        "allocation_rule_id": name,
        "source": [SHARED],
        "method": models.ALLOCATION_METHOD_PROPORTIONAL_TO_COST,
        "target_dimension": "department",
    }
    return models.AllocationRule(**(values | fields))  # type: ignore[arg-type]


async def create(desk: Desk, wanted: models.AllocationRule) -> models.AllocationRule:
    request = messages.CreateAllocationRuleRequest(allocation_rule=wanted)
    return (await desk.stub().CreateAllocationRule(request)).allocation_rule


async def record_month(desk: Desk) -> None:
    await desk.recorder.record(
        desk.tenant,
        [
            used("a", "10", MARCH, department="sales"),
            used("b", "20", MARCH + DAY, department="labs"),
            used("c", "0.000000000000000001", MARCH, department="ops", currency_code="EUR"),
            used("d", "100.000000000000000001", MARCH, project="platform"),
            used("e", "7", MARCH + 20 * DAY, project="platform", currency_code="EUR"),
        ],
    )


async def test_shared_cost_moves_without_losing_a_digit_and_usage_stays(desk: Desk) -> None:
    await record_month(desk)
    plain = await desk.groups(desk.question("department", is_allocated=False))
    await create(desk, rule())

    moved = await desk.groups(desk.question("department"))

    for code in ("USD", "EUR"):
        assert add_exactly(g.cost for k, g in moved.items() if k[1] == code) == add_exactly(
            g.cost for k, g in plain.items() if k[1] == code
        )
    assert {key: group.events for key, group in moved.items()} == {
        key: group.events for key, group in plain.items()
    }
    assert moved["", "USD"].cost == 0
    assert moved["", "USD"].quantity == 2
    assert moved["sales", "USD"].cost == Decimal("43.333333333333333334")
    assert moved["labs", "USD"].cost == Decimal("86.666666666666666667")
    assert moved["ops", "EUR"].cost == Decimal("7.000000000000000001")
    assert moved["sales", "USD"].rule_ids == ("share",)
    assert moved["", "USD"].rule_ids == ()


async def test_a_filter_sees_cost_where_it_ended(desk: Desk, usage_database: Database) -> None:
    async with usage_database.transaction(desk.tenant) as tx:
        for name, above in (("west", ""), ("sales", "west")):
            row = {"department_id": name, "parent_id": above, "display_name": name}
            await tx.execute(insert(department).values(tenant_id=desk.tenant, **row))
        for name, above in (("boss", ""), ("ada", "boss")):
            row = {"user_id": name, "manager_id": above, "display_name": name}
            await tx.execute(insert(directory_user).values(tenant_id=desk.tenant, **row))
    await record_month(desk)
    target = models.AllocationTarget(value="ada")
    direct = models.ALLOCATION_METHOD_DIRECT
    usd = models.AllocationCondition(dimension="provider", value="")
    await create(desk, rule("dept"))
    await create(
        desk,
        rule(
            "user",
            priority=200,
            source=[SHARED, usd],
            method=direct,
            target_dimension="user",
            targets=[target],
        ),
    )

    below = await desk.groups(desk.question("department", filter='department:"west"'))
    line = await desk.groups(desk.question("manager", filter='manager = "boss"'))
    everyone = await desk.costs.answer(desk.question("manager"))

    assert {key: group.cost for key, group in below.items()} == {
        ("sales", "USD"): Decimal("43.333333333333333334")
    }
    assert line["boss", "USD"].cost == Decimal("100.000000000000000001")
    assert line["boss", "USD"].rule_ids == ("dept", "user")
    assert [total.cost for total in everyone.totals if total.currency_code == "USD"] == [
        Decimal("130.000000000000000001")
    ]
    refusal = await refused(
        desk.stub().CreateAllocationRule(
            messages.CreateAllocationRuleRequest(allocation_rule=rule("dept"))
        )
    )
    assert refusal.reason == "ALLOCATION_RULE_EXISTS"


async def test_a_change_is_a_new_version_from_this_hour_and_the_past_keeps_the_old(
    desk: Desk,
) -> None:
    await record_month(desk)
    direct = models.ALLOCATION_METHOD_DIRECT
    old, new = (models.AllocationTarget(value=name) for name in ("old", "new"))
    await create(desk, rule(method=direct, targets=[old]))
    request = messages.UpdateAllocationRuleRequest(
        allocation_rule=rule(method=direct, targets=[new])
    )
    request.update_mask.paths.append("targets")

    changed = (await desk.stub().UpdateAllocationRule(request)).allocation_rule
    total = await desk.groups(desk.question("department"))
    daily = await desk.costs.answer(desk.question("department", granularity=Granularity.DAY))

    assert changed.version == 2
    assert changed.effective_start_time == from_instant(MARCH + 10 * DAY)
    assert total["old", "USD"].cost == Decimal("100.000000000000000001")
    assert total["new", "EUR"].cost == 7
    by_currency: dict[str, list[Decimal]] = defaultdict(list)
    for group in daily.groups:
        by_currency[group.currency_code].append(group.cost)
    assert add_exactly(by_currency["USD"]) == Decimal("130.000000000000000001")

    await desk.stub().DeleteAllocationRule(
        messages.DeleteAllocationRuleRequest(allocation_rule_id="share")
    )
    after = await desk.groups(desk.question("department"))
    assert after["old", "USD"].cost == Decimal("100.000000000000000001")
    assert after["", "EUR"].cost == 7
    kept = await desk.stub().ListAllocationRules(messages.ListAllocationRulesRequest())
    assert [
        (each.version, each.HasField("effective_end_time")) for each in kept.allocation_rules
    ] == [(1, True)]


async def test_a_preview_shows_lines_and_changes_nothing(desk: Desk) -> None:
    await record_month(desk)
    even = models.ALLOCATION_METHOD_EVEN
    targets = [models.AllocationTarget(value=name) for name in ("x", "y", "z")]
    request = messages.PreviewAllocationRequest(
        start="2026-03-01",
        end="2026-04-01",
        candidate=rule("try", method=even, targets=targets),
    )

    shown = await desk.stub().PreviewAllocation(request)
    untouched = await desk.groups(desk.question("department"))

    assert shown.totals_before == shown.totals_after
    assert {total.currency_code: total.amount for total in shown.totals_after} == {
        "EUR": "7.000000000000000001",
        "USD": "130.000000000000000001",
    }
    usd = [line for line in shown.lines if line.cost.currency_code == "USD"]
    assert {line.target for line in usd} == {"x", "y", "z"}
    assert add_exactly(Decimal(line.cost.amount) for line in usd) == Decimal(
        "100.000000000000000001"
    )
    assert untouched["", "USD"].cost == Decimal("100.000000000000000001")
    missing = await refused(
        desk.stub().GetAllocationRule(messages.GetAllocationRuleRequest(allocation_rule_id="try"))
    )
    assert missing.reason == "ALLOCATION_RULE_NOT_FOUND"
