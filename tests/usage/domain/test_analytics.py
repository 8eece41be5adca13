"""Patterns, peaks and the cost of errors are exact and know the local clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.period import Period, zone
from services.usage.domain.analytics import (
    ErrorClass,
    HourlyUsage,
    error_cost,
    hours_of,
    unit_cost_per_success,
    usage_peaks,
    usage_totals,
    weekly_pattern,
)

MONDAY = datetime(2025, 6, 2, tzinfo=UTC)
UTC_ZONE = zone("UTC")
TWO_WEEKS = Period(MONDAY, MONDAY + timedelta(days=14))


def row(hours: int, quantity: str = "0", **fields: object) -> HourlyUsage:
    usage = HourlyUsage(MONDAY + timedelta(hours=hours), quantity=Decimal(quantity))
    return usage._replace(**fields)  # type: ignore[arg-type]


def test_the_pattern_averages_over_every_such_hour_of_the_period() -> None:
    rows = [
        row(9, "10", billed_cost=Decimal(3), events=4),
        row(9 + 168, "5", billed_cost=Decimal(1), events=1),
        row(33, "1"),
    ]

    cells = weekly_pattern(rows, TWO_WEEKS, UTC_ZONE)

    assert [(cell.weekday, cell.hour) for cell in cells[:25]][-1] == (2, 0)
    assert len(cells) == 168
    assert cells[9].mean_quantity == Decimal("7.5")
    assert cells[9].mean_cost == 2
    assert cells[9].events == 5
    assert cells[33].mean_quantity == Decimal("0.5")
    assert cells[0].mean_quantity == 0


def test_the_pattern_follows_the_tenants_clock() -> None:
    berlin = zone("Europe/Berlin")

    cells = weekly_pattern([row(22, "8", events=1)], TWO_WEEKS, berlin)

    # 22:00 UTC on Monday is midnight of Tuesday in Berlin.
    assert cells[24].mean_quantity == 4


@pytest.mark.parametrize(
    ("name", "day", "expected"),
    [
        ("America/New_York", (2025, 3, 9), 23),
        ("America/New_York", (2025, 11, 2), 25),
        ("Asia/Kolkata", (2025, 3, 9), 24),
    ],
)
def test_a_day_has_the_hours_that_its_clock_shows(
    name: str, day: tuple[int, int, int], expected: int
) -> None:
    tz = zone(name)
    start = datetime(*day, tzinfo=tz)
    end = (start + timedelta(days=1)).astimezone(UTC)

    hours = list(hours_of(Period(start.astimezone(UTC), end), tz))

    assert len(hours) == expected
    assert hours[0] == start


@pytest.mark.parametrize("day", [(2025, 4, 5), (2025, 10, 4)])
def test_hours_go_on_where_the_clock_moves_by_half_an_hour(day: tuple[int, int, int]) -> None:
    start = datetime(*day, tzinfo=UTC)
    lord_howe = zone("Australia/Lord_Howe")

    hours = list(hours_of(Period(start, start + timedelta(days=2)), lord_howe))

    assert hours == sorted(set(hours))
    assert 48 <= len(hours) <= 50


def test_peaks_are_the_busiest_hours_against_the_mean_of_all() -> None:
    rows = [row(1, "4"), row(2, "10"), row(3, "10"), row(4, "0"), row(2, "2")]

    peaks = usage_peaks(rows, TWO_WEEKS, UTC_ZONE, count=2)

    assert [(peak.hour_at, peak.quantity) for peak in peaks] == [
        (MONDAY + timedelta(hours=2), Decimal(12)),
        (MONDAY + timedelta(hours=3), Decimal(10)),
    ]
    assert [peak.ratio_to_mean for peak in peaks] == pytest.approx([12 * 336 / 26, 10 * 336 / 26])
    assert usage_peaks([row(1)], TWO_WEEKS, UTC_ZONE) == ()


def test_failures_make_each_success_cost_more() -> None:
    totals = usage_totals([row(0, events=4, failed_events=1, billed_cost=Decimal(1))])

    assert unit_cost_per_success(totals) == Decimal("0.333333333333333333")
    assert unit_cost_per_success(usage_totals([row(0, events=1, failed_events=1)])) is None
    assert unit_cost_per_success(usage_totals([])) is None


def test_errors_and_retries_are_counted_and_priced() -> None:
    totals = usage_totals(
        [
            row(
                0,
                events=8,
                failed_events=2,
                retries=2,
                billed_cost=Decimal(10),
                failed_cost=Decimal(3),
            )
        ]
    )
    classes = [
        ErrorClass("TIMEOUT", 1, Decimal(0), Decimal(1)),
        ErrorClass("RATE_LIMITED", 1, Decimal("0.5"), Decimal(2)),
    ]

    cost = error_cost(totals, classes)

    assert cost.error_rate == 0.25
    assert cost.billed_cost == Decimal("0.5")
    assert cost.list_cost == 3
    assert cost.retry_cost == 2
    assert [each.error_code for each in cost.classes] == ["RATE_LIMITED", "TIMEOUT"]
    assert error_cost(usage_totals([]), []).error_rate == 0


def test_at_most_twenty_error_classes_are_named_but_all_are_counted() -> None:
    classes = [ErrorClass(f"E{number:02}", 1, Decimal(1), Decimal(1)) for number in range(25)]

    cost = error_cost(usage_totals([row(0, events=25, failed_events=25)]), classes)

    assert [each.error_code for each in cost.classes] == [f"E{n:02}" for n in range(20)]
    assert cost.billed_cost == 25


ROWS = st.lists(
    st.builds(
        lambda hour, quantity, cost, events: row(
            hour, str(quantity), billed_cost=cost, events=events
        ),
        st.integers(0, 14 * 24 - 1),
        st.decimals(0, 10**6, places=6),
        st.decimals(0, 10**6, places=18),
        st.integers(0, 1000),
    ),
    max_size=30,
)


@given(ROWS, st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]))
def test_the_pattern_holds_all_usage(rows: list[HourlyUsage], name: str) -> None:
    cells = weekly_pattern(rows, TWO_WEEKS, zone(name))

    totals = usage_totals(rows)
    quantity = sum((cell.mean_quantity * 2 for cell in cells), Decimal(0))
    assert sum(cell.events for cell in cells) == totals.events
    # Two weeks hold every hour of the week twice or, where the zone cuts the first hour, thrice.
    # Each mean is rounded to the 18th decimal, up or down.
    rounding = Decimal("1E-15")
    assert quantity >= totals.quantity * 2 / 3 - rounding
    assert quantity <= totals.quantity + rounding


@given(ROWS, st.data())
def test_the_order_of_rows_does_not_matter(rows: list[HourlyUsage], data: st.DataObject) -> None:
    other = data.draw(st.permutations(rows))

    assert weekly_pattern(rows, TWO_WEEKS, UTC_ZONE) == weekly_pattern(other, TWO_WEEKS, UTC_ZONE)
    assert usage_peaks(rows, TWO_WEEKS, UTC_ZONE) == usage_peaks(other, TWO_WEEKS, UTC_ZONE)
    assert usage_totals(rows) == usage_totals(other)
