"""The efficiency score follows its documented formula and stays between 0 and 100."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.period import Period, zone
from services.usage.domain.analytics import HourlyUsage
from services.usage.domain.efficiency import Efficiency, efficiency

START = datetime(2025, 6, 2, tzinfo=UTC)
DAY = Period(START, START + timedelta(days=1))
UTC_ZONE = zone("UTC")


def hourly(hour: int, **fields: object) -> HourlyUsage:
    return HourlyUsage(START + timedelta(hours=hour))._replace(**fields)  # type: ignore[arg-type]


def scored(*rows: HourlyUsage, period: Period = DAY) -> Efficiency:
    result = efficiency(rows, period, UTC_ZONE)
    assert result is not None
    return result


def parts(result: Efficiency) -> dict[str, Any]:
    return {part.name: pytest.approx(part.score) for part in result.parts}


def test_flawless_even_well_used_work_scores_a_hundred() -> None:
    rows = [
        hourly(
            hour,
            events=1,
            quantity=Decimal(5),
            utilization_sum=1.7,
            utilization_samples=2,
            list_cost=Decimal(1),
        )
        for hour in range(24)
    ]

    result = scored(*rows)

    assert result.score == pytest.approx(100)
    assert parts(result) == {"success": 100, "retries": 100, "utilization": 100, "smoothness": 100}
    assert [part.weight for part in result.parts] == pytest.approx([0.40, 0.20, 0.25, 0.15])


def test_each_part_is_computed_as_documented() -> None:
    busy = hourly(
        3,
        events=6,
        failed_events=1,
        retries=2,
        quantity=Decimal(24),
        list_cost=Decimal(10),
        failed_cost=Decimal(2),
        utilization_sum=1.2,
        utilization_samples=3,
    )

    result = scored(busy)

    # All usage in one hour of 24: the 95th percentile is empty, so the peak is the busy hour.
    assert parts(result) == {
        "success": 80,
        "retries": 75,
        "utilization": 50,
        "smoothness": 100 / 24,
    }
    assert result.score == pytest.approx(0.4 * 80 + 0.2 * 75 + 0.25 * 50 + 0.15 * 100 / 24)
    assert result.parts[0].explanation == "20.0 % of the list cost went into events that failed"
    assert result.parts[1].explanation == "2 of 8 attempts repeated an earlier one"


def test_parts_without_samples_leave_their_weight_to_the_others() -> None:
    short = Period(START, START + timedelta(hours=2))

    result = scored(hourly(0, events=4, failed_events=1), period=short)

    assert parts(result) == {"success": 75, "retries": 100}
    assert [part.weight for part in result.parts] == pytest.approx([2 / 3, 1 / 3])
    assert result.parts[0].explanation == "25.0 % of 4 events failed"


def test_usage_without_quantity_has_no_smoothness() -> None:
    assert "smoothness" not in parts(scored(hourly(0, events=1)))


def test_a_period_without_events_has_no_score() -> None:
    assert efficiency([], DAY, UTC_ZONE) is None
    assert efficiency([hourly(0)], DAY, UTC_ZONE) is None


@st.composite
def rows(draw: st.DrawFn) -> HourlyUsage:
    events = draw(st.integers(0, 50))
    samples = draw(st.integers(0, 5))
    return hourly(
        draw(st.integers(0, 23)),
        events=events,
        failed_events=draw(st.integers(0, events)),
        retries=draw(st.integers(0, 100)),
        quantity=draw(st.decimals(-5, 10**6, places=3)),
        list_cost=draw(st.decimals(-5, 100, places=3)),
        failed_cost=draw(st.decimals(-5, 100, places=3)),
        utilization_samples=samples,
        utilization_sum=draw(st.floats(0, samples)),
    )


@given(st.lists(rows(), max_size=10))
def test_the_score_and_its_parts_stay_in_range(drawn: list[HourlyUsage]) -> None:
    result = efficiency(drawn, DAY, UTC_ZONE)

    if result is None:
        assert not any(row.events for row in drawn)
        return
    assert sum(part.weight for part in result.parts) == pytest.approx(1)
    for score in (result.score, *(part.score for part in result.parts)):
        assert -1e-9 <= score <= 100 + 1e-9
