"""How usage behaves over a period: its weekly pattern, its peaks, its errors and unit cost.

Everything here is computed from one row an hour. Hours without usage have no row; the period says
which hours there were. Money and quantities stay exact; ratios and scores are floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from heapq import nsmallest
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.kernel.money import EXACT, add_exactly
from services.kernel.period import Granularity, Period, floor
from services.usage.domain.rate_plan import ZERO, round_cost

CELLS_A_WEEK = 7 * 24
PEAKS_MAX = 10
ERROR_CLASSES_MAX = 20


class HourlyUsage(NamedTuple):
    """Sums over the events of one hour, in one unit and one currency.

    hour_at: first instant of the hour, as the tenant's zone cuts it. latency_ms_sum: over the
    events that have one. failed_cost: what failed events were worth at list price.
    utilization_sum: of shares in [0, 1]. capacity_sum: in the unit. A later row for the same hour
    adds to it.
    """

    hour_at: datetime
    events: int = 0
    failed_events: int = 0
    retries: int = 0
    latency_ms_sum: int = 0
    quantity: Decimal = ZERO
    billed_cost: Decimal = ZERO
    list_cost: Decimal = ZERO
    failed_cost: Decimal = ZERO
    utilization_sum: float = 0.0
    utilization_samples: int = 0
    capacity_sum: Decimal = ZERO
    capacity_samples: int = 0


class UsageTotals(NamedTuple):
    """Sums over a period."""

    events: int
    failed_events: int
    retries: int
    quantity: Decimal
    billed_cost: Decimal
    list_cost: Decimal
    failed_cost: Decimal


class PatternCell(NamedTuple):
    """One hour of the week. weekday: 1 for Monday to 7 for Sunday. hour: 0 to 23, local.

    mean_quantity, mean_cost: over all such hours of the period, empty ones included, rounded to 18
    digits; 0 where the period has no such hour.
    """

    weekday: int
    hour: int
    mean_quantity: Decimal
    mean_cost: Decimal
    events: int


class UsagePeak(NamedTuple):
    """One busy hour. ratio_to_mean: times the mean over all hours of the period."""

    hour_at: datetime
    quantity: Decimal
    ratio_to_mean: float


class ErrorClass(NamedTuple):
    """Failed events of one error code ("" where they carry none) and what they cost."""

    error_code: str
    failed_events: int
    billed_cost: Decimal
    list_cost: Decimal


@dataclass(frozen=True, slots=True)
class ErrorCost:
    """Errors and retries and what they cost.

    error_rate: failed events over all, 0 without events. billed_cost, list_cost: of failed events.
    retry_cost: the share of what was billed that repeated attempts had, an estimate: every attempt
    is taken to cost the same. classes: most costly at list price first, at most 20.
    """

    failed_events: int
    error_rate: float
    retries: int
    billed_cost: Decimal
    list_cost: Decimal
    retry_cost: Decimal
    classes: tuple[ErrorClass, ...]


def usage_totals(rows: Iterable[HourlyUsage]) -> UsageTotals:
    """Returns the exact sums over the rows."""
    held = list(rows)
    return UsageTotals(
        events=sum(row.events for row in held),
        failed_events=sum(row.failed_events for row in held),
        retries=sum(row.retries for row in held),
        quantity=add_exactly(row.quantity for row in held),
        billed_cost=add_exactly(row.billed_cost for row in held),
        list_cost=add_exactly(row.list_cost for row in held),
        failed_cost=add_exactly(row.failed_cost for row in held),
    )


def hours_of(period: Period, tz: ZoneInfo) -> Iterator[datetime]:
    """Yields the first instant of every local hour that begins before the period's end.

    The first one holds the period's start. An hour that a clock change repeats comes twice.
    """
    at = floor(period.start, Granularity.HOUR, tz)
    while at < period.end:
        yield at
        following = at + timedelta(hours=1)
        # Zones that move by half an hour cut their hours anew after the change.
        at = max(floor(following, Granularity.HOUR, tz), at + timedelta(minutes=30))


def weekly_pattern(
    rows: Iterable[HourlyUsage], period: Period, tz: ZoneInfo
) -> tuple[PatternCell, ...]:
    """Returns 168 cells, Monday 00:00 first, of an hour's mean usage by local weekday and hour."""
    counts = [0] * CELLS_A_WEEK
    for hour_at in hours_of(period, tz):
        counts[_cell(hour_at, tz)] += 1
    quantities, costs = [ZERO] * CELLS_A_WEEK, [ZERO] * CELLS_A_WEEK
    events = [0] * CELLS_A_WEEK
    for row in rows:
        cell = _cell(row.hour_at, tz)
        quantities[cell] = EXACT.add(quantities[cell], row.quantity)
        costs[cell] = EXACT.add(costs[cell], row.billed_cost)
        events[cell] += row.events
    return tuple(
        PatternCell(
            weekday=cell // 24 + 1,
            hour=cell % 24,
            mean_quantity=_mean(quantities[cell], counts[cell]),
            mean_cost=_mean(costs[cell], counts[cell]),
            events=events[cell],
        )
        for cell in range(CELLS_A_WEEK)
    )


def usage_peaks(
    rows: Iterable[HourlyUsage], period: Period, tz: ZoneInfo, *, count: int = PEAKS_MAX
) -> tuple[UsagePeak, ...]:
    """Returns the hours with most quantity, busiest first, of equal ones the earlier first."""
    by_hour = quantity_by_hour(rows)
    hours = sum(1 for _ in hours_of(period, tz))
    total = add_exactly(by_hour.values())
    busiest = nsmallest(count, by_hour.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        UsagePeak(hour_at, quantity, share_of(quantity * hours, total))
        for hour_at, quantity in busiest
        if quantity > 0 and total > 0
    )


def quantity_by_hour(rows: Iterable[HourlyUsage]) -> dict[datetime, Decimal]:
    """Returns the exact quantity of each hour that has a row."""
    sums: dict[datetime, Decimal] = {}
    for row in rows:
        sums[row.hour_at] = EXACT.add(sums.get(row.hour_at, ZERO), row.quantity)
    return sums


def unit_cost_per_success(totals: UsageTotals) -> Decimal | None:
    """Returns the billed cost of one succeeded event, failures and retries included, or None."""
    succeeded = totals.events - totals.failed_events
    return _mean(totals.billed_cost, succeeded) if succeeded > 0 else None


def error_cost(totals: UsageTotals, classes: Sequence[ErrorClass]) -> ErrorCost:
    """Returns what errors and retries cost. classes: every error code of the period, once."""
    attempts = totals.events + totals.retries
    retried = EXACT.multiply(totals.billed_cost, Decimal(totals.retries))
    return ErrorCost(
        failed_events=totals.failed_events,
        error_rate=totals.failed_events / totals.events if totals.events else 0.0,
        retries=totals.retries,
        billed_cost=add_exactly(each.billed_cost for each in classes),
        list_cost=totals.failed_cost,
        retry_cost=_mean(retried, attempts),
        classes=tuple(
            nsmallest(
                ERROR_CLASSES_MAX,
                classes,
                key=lambda each: (-each.list_cost, -each.failed_events, each.error_code),
            )
        ),
    )


def share_of(part: Decimal, whole: Decimal) -> float:
    """Returns the ratio of two amounts of one kind, which is a plain number. whole: not 0."""
    return float(EXACT.divide(part, whole))


def _cell(instant: datetime, tz: ZoneInfo) -> int:
    local = instant.astimezone(tz)
    return local.weekday() * 24 + local.hour


def _mean(total: Decimal, count: int) -> Decimal:
    return round_cost(EXACT.divide(total, Decimal(count))) if count else ZERO
