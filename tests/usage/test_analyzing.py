"""Analyses: the same over roll-ups and what is above them, with every currency accounted for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.exchange import ExchangeRates
from services.kernel.filter import InvalidFilter
from services.usage.convert.analytics import from_analysis
from services.usage.domain.event import Attributes, Costs, Outcome, UsageEvent
from services.usage.service.analyzing import Analyses, AnalysisQuestion
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import rollups

MARCH = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)


@pytest.fixture
def analyses(usage_database: Database, contexts: TenantContexts) -> Analyses:
    clock = ManualClock(MARCH + timedelta(days=14, minutes=30))
    return Analyses(usage_database, contexts, clock=clock, rates=ExchangeRates())


def used(number: int, at: datetime, **changed: object) -> UsageEvent:
    cost = Decimal(2)
    plain = UsageEvent(
        source="test",
        event_id=f"e{number}",
        start_at=at,
        end_at=at,
        attributes=Attributes("vm", "hour", "USD"),
        quantity=Decimal(3),
        cost=Costs(cost, cost, cost, cost),
        utilization=0.5,
        capacity=Decimal(6),
    )
    return plain._replace(**changed)  # type: ignore[arg-type]


def month() -> list[UsageEvent]:
    events = [used(n, MARCH + n * HOUR) for n in range(14 * 24)]
    lost = Costs(Decimal(0), Decimal(0), Decimal(5), Decimal(0))
    at = MARCH + HOUR / 2
    events.append(
        used(1000, at, outcome=Outcome.FAILED, error_code="TIMEOUT", cost=lost, retries=3)
    )
    euro = Attributes("disk", "gb", "EUR")
    events.append(used(1001, at, attributes=euro, capacity=None, utilization=None))
    return events


async def test_an_analysis_is_the_same_before_and_after_a_merge(
    recorder: Recorder, analyses: Analyses, usage_database: Database, tenant: str
) -> None:
    question = AnalysisQuestion(tenant_id=tenant, start="2026-03-02", end="2026-03-16")
    await recorder.record(tenant, month())

    before = await analyses.analyze_usage(question)
    async with usage_database.system_transaction() as tx:
        await rollups.roll_up(tx, tenant)
    after = await analyses.analyze_usage(question)

    assert from_analysis(before) == from_analysis(after)
    assert (after.unit, after.currency_code, after.currencies_left_out) == ("hour", "USD", ["EUR"])
    assert after.totals.events == 14 * 24 + 2
    assert after.totals.quantity == 3 * (14 * 24 + 1)
    assert after.totals.billed_cost == 2 * 14 * 24
    assert after.errors.classes[0][:2] == ("TIMEOUT", 1)
    assert after.errors.list_cost == 5
    assert after.errors.retries == 3
    assert after.peaks[0].hour_at == MARCH
    assert after.peaks[0].quantity == 6
    assert after.pattern[0].mean_quantity == Decimal("4.5")
    assert after.pattern[1].mean_quantity == 3
    assert after.growth.quantity_change_ratio is None
    assert after.capacity_outlook is not None
    assert after.capacity_outlook.capacity == 6
    assert after.efficiency is not None
    assert {part.name for part in after.efficiency.parts} == {
        "success",
        "retries",
        "utilization",
        "smoothness",
    }


async def test_a_week_is_compared_with_the_one_before(
    recorder: Recorder, analyses: Analyses, tenant: str
) -> None:
    await recorder.record(tenant, month())

    week = await analyses.analyze_usage(
        AnalysisQuestion(tenant_id=tenant, start="2026-03-09", end="2026-03-16", unit="hour")
    )

    assert week.growth.quantity_change_ratio == pytest.approx(7 * 24 / (7 * 24 + 1) - 1)
    assert week.growth.cost_change_ratio == pytest.approx(0)
    assert week.unit_cost_per_success == 2


async def test_a_currency_that_is_asked_takes_in_every_cost(
    recorder: Recorder, analyses: Analyses, tenant: str
) -> None:
    await recorder.record(tenant, month())

    found = await analyses.analyze_usage(
        AnalysisQuestion(
            tenant_id=tenant,
            start="2026-03-02T00:10:00Z",
            end="2026-03-02T00:20:00Z",
            currency_code="EUR",
        )
    )

    assert found.period.start == MARCH
    assert found.period.end == MARCH + HOUR
    assert found.currencies_left_out == []
    rate = ExchangeRates().rate("USD", "EUR", MARCH.date())
    assert found.totals.billed_cost == 2 + rate.convert(Decimal(2))


async def test_a_filter_narrows_and_nothing_is_no_error(
    recorder: Recorder, analyses: Analyses, tenant: str
) -> None:
    await recorder.record(tenant, month())

    disks = await analyses.analyze_usage(
        AnalysisQuestion(tenant_id=tenant, filter='resource_type = "disk"')
    )
    nothing = await analyses.analyze_usage(
        AnalysisQuestion(tenant_id=tenant, filter='resource_type = "none"')
    )

    assert (disks.unit, disks.currency_code, disks.totals.events) == ("gb", "EUR", 1)
    assert (nothing.totals.events, nothing.efficiency, nothing.peaks) == (0, None, ())
    assert not from_analysis(nothing).HasField("efficiency")
    with pytest.raises(InvalidFilter):
        await analyses.analyze_usage(AnalysisQuestion(tenant_id=tenant, filter="oops ="))
