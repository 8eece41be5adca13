"""Puts the parts of a dashboard together from answers about cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from services.kernel.money import add_exactly
from services.kernel.period import Granularity
from services.reporting.domain.costs import CostRow
from services.reporting.domain.dashboard.dashboard import (
    CostDriver,
    DayForecast,
    Outlook,
    RegionCost,
    TrendDay,
    per_unit,
    ratio,
)
from services.reporting.domain.dashboard.question import Frame
from services.reporting.domain.dashboard.regions import country_of
from services.reporting.domain.forecast.steps import next_step, steps_of

DAY_SECONDS: Final = 86_400
GEOGRAPHY_MAX: Final = 100  # regions; more than any one provider has
_ZERO = Decimal(0)


def daily_average(cost: Decimal, frame: Frame) -> Decimal:
    """Returns the cost an average day of the part of the period that is over."""
    elapsed = min(frame.period.end, max(frame.now, frame.period.start)) - frame.period.start
    seconds = Decimal(str(elapsed.total_seconds()))
    return per_unit(cost, seconds / DAY_SECONDS) if seconds else cost


def drivers_of(dimension: str, rows: Sequence[CostRow], *, whole: Decimal) -> list[CostDriver]:
    """Returns the groups of a dimension, costliest first; none where no usage names it.

    whole: cost of the period, of which each has its share.
    """
    found = [
        CostDriver(
            dimension, row.group[0], row.cost, row.previous_cost or _ZERO, ratio(row.cost, whole)
        )
        for row in rows
    ]
    if not any(driver.value for driver in found):
        return []
    return sorted(found, key=lambda driver: (-driver.cost, driver.value))


def movers_of(drivers: Sequence[CostDriver]) -> list[CostDriver]:
    """Returns those that changed, most first."""
    moved = [driver for driver in drivers if driver.change]
    return sorted(moved, key=lambda driver: (-abs(driver.change), driver.value))


def geography_of(rows: Sequence[CostRow], *, whole: Decimal) -> tuple[RegionCost, ...]:
    """Returns the cost by region, costliest first."""
    spent = sorted(
        (row for row in rows if row.cost or row.events), key=lambda row: (-row.cost, row.group)
    )
    return tuple(
        RegionCost(row.group[0], country_of(row.group[0]), row.cost, ratio(row.cost, whole))
        for row in spent[:GEOGRAPHY_MAX]
    )


def costs_by_day(rows: Iterable[CostRow]) -> dict[datetime, Decimal]:
    """Returns the cost of each day that has any, by its first instant."""
    return {row.start_at: row.cost for row in rows if row.start_at is not None}


def trend_of(
    frame: Frame,
    costs: Mapping[datetime, Decimal],
    previous: Mapping[datetime, Decimal],
    outlook: Outlook | None,
) -> tuple[TrendDay, ...]:
    """Returns the days of the period, each beside the one of its number in the previous period.

    Where the period reaches the present, the forecast goes on from today.
    """
    days = steps_of(frame.period, Granularity.DAY, frame.tz)
    before = steps_of(frame.previous, Granularity.DAY, frame.tz)
    ahead = dict(outlook.days) if outlook is not None and frame.reaches_now else {}
    trend = []
    for place, start in enumerate(days):
        day = _day_of(start, frame)
        is_over = start <= frame.now
        trend.append(
            TrendDay(
                day,
                costs.get(start, _ZERO) if is_over else None,
                previous.get(before[place], _ZERO) if place < len(before) else None,
                ahead.pop(day, None),
            )
        )
    return (*trend, *(TrendDay(day, None, None, one) for day, one in sorted(ahead.items())))


def _day_of(start: datetime, frame: Frame) -> date:
    return start.astimezone(frame.tz).date()


def expected_of_month(so_far: Decimal, outlook: Outlook, frame: Frame) -> Decimal:
    """Returns the cost at the end of the calendar month.

    so_far: of its days before today. A 31st day, which a forecast of 30 days made on the first does
    not reach, is taken to be as a week before.
    """
    ahead = dict(outlook.days)
    day = _day_of(frame.today, frame)
    end = _day_of(next_step(frame.month_start, Granularity.MONTH, frame.tz), frame)
    parts = [so_far]
    while day < end:
        known = ahead.get(day) or ahead.get(day - timedelta(days=7))
        parts.append(_ZERO if known is None else known.expected)
        day += timedelta(days=1)
    return add_exactly(parts)


def narrowed(low: Decimal, expected: Decimal, high: Decimal) -> DayForecast:
    """Returns an estimate whose bounds hold it."""
    return DayForecast(expected, min(low, expected), max(high, expected))
