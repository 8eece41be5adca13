"""What a comparison with the usage service finds or counts alerts like any other cost."""

from __future__ import annotations

import pytest
from finops.budget.v1 import alert_model_pb2 as model
from structlog.testing import capture_logs

from services.budget import bootstrap
from services.budget.convert.usage_reader import StubUsageReader
from services.budget.domain.terms import BudgetTerms
from services.budget.errors import UsageRefused
from services.budget.service.allocated import AllocatedCosts
from services.budget.service.reconciling import Reconciler
from services.budget.service.usage import SpendAnswer
from services.budget.settings import BudgetSettings
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.period import Period
from tests.budget.alerts.alerting import Alerting
from tests.budget.alerts.test_firing import half, ratios
from tests.budget.conftest import RunningUsage
from tests.budget.making import create
from tests.budget.test_cost_ledger import become, reconciled
from tests.support.server import service_token_of
from tests.support.waiting import eventually


class SomeRefused(StubUsageReader):
    """The usage service, which refuses questions of some tenants."""

    refused: frozenset[str] = frozenset()

    async def spend(self, tenant_id: str, terms: BudgetTerms, period: Period) -> SpendAnswer:
        if tenant_id in self.refused:
            raise UsageRefused(tenant=tenant_id)
        return await super().spend(tenant_id, terms, period)


@pytest.fixture
def usage(usage_server: RunningUsage) -> SomeRefused:
    """The real usage service, which refuses nothing yet."""
    return SomeRefused(usage_server.server.channel_with(service_token_of("budget", tenant="")))


@pytest.fixture
def reconciler(
    budget_database: Database, usage: SomeRefused, settings: BudgetSettings, clock: ManualClock
) -> Reconciler:
    """What compares, for a test to call by itself."""
    alerts = bootstrap.alert_base(budget_database, clock=clock)
    base = bootstrap.foundation_of(budget_database, usage, alerts, settings, clock=clock)
    return Reconciler(
        budget_database,
        usage=usage,
        periods=base.periods,
        feed=base.feed,
        evaluator=base.evaluator,
        tokens=base.tokens,
        clock=clock,
    )


@pytest.fixture
def allocated(
    budget_database: Database, reconciler: Reconciler, clock: ManualClock
) -> AllocatedCosts:
    """What asks for allocated cost, for a test to call by itself."""
    return AllocatedCosts(budget_database, reconciler, clock=clock)


@pytest.mark.usefixtures("working")
async def test_a_budget_that_counts_allocated_cost_alerts_within_seconds(
    alerting: Alerting,
) -> None:
    await create(alerting.caller, thresholds=[half()], include_allocated=True)
    await alerting.caller.record("60")

    async def fired() -> list[model.Alert]:
        return await alerting.listed()

    assert ratios(await eventually(fired, seconds=10)) == ["0.5"]


async def test_allocated_cost_is_asked_for_again_only_when_it_may_have_changed(
    alerting: Alerting, allocated: AllocatedCosts
) -> None:
    await allocated.count()
    await create(alerting.caller, include_allocated=True)

    asked = [await allocated.count() for _ in range(2)]

    assert asked == [1, 0]


async def test_a_budget_whose_cost_is_refused_holds_no_other_up(
    alerting: Alerting, allocated: AllocatedCosts, usage: SomeRefused
) -> None:
    budget = await create(alerting.caller, include_allocated=True)
    usage.refused = frozenset({alerting.caller.tenant_id})

    with capture_logs() as logs:
        await allocated.count()

    assert budget.budget_id in {each.get("budget") for each in logs}


@pytest.mark.usefixtures("working")
async def test_a_drift_is_an_alert_and_its_repair_crosses_thresholds(
    alerting: Alerting, budget_database: Database
) -> None:
    budget = await create(alerting.caller, thresholds=[half()])
    await alerting.caller.record("40")
    await become(alerting.caller, ("40", "0"))
    async with budget_database.system_transaction() as tx:
        await tx.driver.execute(
            "UPDATE budget.budget_period SET spent = spent - 30 WHERE budget_id = $1",
            budget.budget_id,
        )
    await alerting.caller.record("20")
    await become(alerting.caller, ("30", "0"))

    before = await alerting.listed()
    await reconciled(alerting.caller, repair=True)
    await reconciled(alerting.caller, repair=True)

    assert before == []
    (drift,) = await alerting.listed("kind = LEDGER_DRIFT")
    assert drift.message == "Research and stored usage differ by 30 USD. It is repaired."
    (threshold,) = await alerting.listed("kind = ACTUAL_THRESHOLD")
    assert threshold.observed.amount == "60"
