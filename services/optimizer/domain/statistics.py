"""Usage statistics of one tenant: all that a detector sees.

Costs are exact decimals for each series; the shape of an hour-by-hour series is kept in floats,
which only ever weigh a decimal and never are money.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from services.kernel.money import EXACT, add_exactly
from services.kernel.period import Period
from services.optimizer.domain.catalogue import Catalogue
from services.optimizer.domain.emission import EmissionFactors
from services.optimizer.domain.percentile import grouped_percentile
from services.optimizer.domain.subject import Subject
from services.optimizer.domain.tariff import PeakSchedule, Tariff

Floats: TypeAlias = NDArray[np.float64]

MONTH_DAYS = Decimal("30.4375")  # an average month of the Gregorian calendar
HOURS_OF_WEEK = 168
GONE_HOURS = 72  # a resource without usage for so long is gone already
ALL_HOURS = 24
HOUR_UNITS = frozenset({"hour", "instance_hour", "vm_hour"})
SPARSE = 12  # usage in less than every twelfth hour is told by the day


class Measure(IntEnum):
    """What is kept of each hour."""

    COST = 0
    QUANTITY = 1
    EVENTS = 2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class UsageSeries:
    """The usage of one subject, hour by hour over the statistics' period.

    cost, quantity: exact sums. hours: shape (3, hours of the period), by Measure; shares of the
    exact sums, not amounts.
    """

    series_id: int
    subject: Subject
    cost: Decimal
    quantity: Decimal
    events: int
    failed_events: int
    hours: Floats

    @property
    def active_hours(self) -> tuple[int, int]:
        """First hour with usage and the one after the last; equal without any."""
        used = np.flatnonzero(self.hours[Measure.EVENTS])
        return (0, 0) if used.size == 0 else (int(used[0]), int(used[-1]) + 1)


class UtilizationSamples(NamedTuple):
    """Samples of one measure of one resource, oldest first.

    measure: `cpu`, `memory` or `gpu`. hours: of the period, fractions allowed. ratios: use over
    capacity; above 1 where a sample passed it. capacity: of the whole resource, None when unknown.
    """

    resource_id: str
    measure: str
    hours: Floats
    ratios: Floats
    capacity: Decimal | None = None
    unit: str = ""


class AttemptGroup(NamedTuple):
    """Events alike in all that matters about failure, counted.

    retries: attempts beyond the first. hour: of the period. cost: exact, of all their attempts.
    """

    series_id: int
    error_code: str
    is_failed: bool
    retries: int
    hour: int
    operations: int
    cost: Decimal


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One resource: its series, costliest first, and its utilization by measure."""

    resource_id: str
    series: Sequence[UsageSeries]
    utilization: Mapping[str, UtilizationSamples]
    cost: Decimal
    # What detectors compute of the samples, once for all of them.
    computed: dict[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> Subject:
        """Attributes of its costliest series."""
        return self.series[0].subject

    @property
    def running(self) -> Sequence[UsageSeries]:
        """Its series by the hour, which end when it stops: its disks do not; all without such."""
        return [one for one in self.series if one.subject.unit in HOUR_UNITS] or self.series

    @property
    def instance_type(self) -> str:
        """Type by tag, else what the bill calls its service; "" when unknown."""
        return self.subject.tag("instance_type") or self.subject.service


@dataclass(frozen=True, eq=False, kw_only=True)
class Statistics:
    """A tenant's usage over whole UTC days. tz: in which weeks and nights are told.

    exchange: by currency how much of the tenant's a unit is worth, those without a rate left out.
    """

    period: Period
    tz: ZoneInfo
    currency_code: str
    series: Sequence[UsageSeries]
    utilization: Sequence[UtilizationSamples] = ()
    attempts: Sequence[AttemptGroup] = ()
    tariffs: Sequence[Tariff] = ()
    schedules: Mapping[str, PeakSchedule] = field(default_factory=dict)
    catalogue: Catalogue = field(default_factory=Catalogue)
    factors: EmissionFactors = field(default_factory=EmissionFactors)
    exchange: Mapping[str, Decimal] = field(default_factory=dict)

    @cached_property
    def hour_count(self) -> int:
        """Hours of the period."""
        return int(self.period.duration / timedelta(hours=1))

    @cached_property
    def local_hours(self) -> NDArray[np.int64]:
        """By hour of the period, the hour of the week in the tenant's zone, Monday 00:00 is 0."""
        starts = [self.period.start + timedelta(hours=hour) for hour in range(self.hour_count)]
        return np.array([hour_of_week(start, self.tz) for start in starts], dtype=np.int64)

    @cached_property
    def by_id(self) -> Mapping[int, UsageSeries]:
        """The series by their ids."""
        return {one.series_id: one for one in self.series}

    @cached_property
    def resources(self) -> Sequence[Resource]:
        """Resources with an id that are still used, of each currency apart, costliest first."""
        groups: dict[tuple[str, str], list[UsageSeries]] = defaultdict(list)
        for one in self.series:
            if one.subject.resource_id and not self.is_gone(one):
                groups[one.subject.resource_id, one.subject.currency_code].append(one)
        samples: dict[str, dict[str, UtilizationSamples]] = defaultdict(dict)
        for found in self.utilization:
            samples[found.resource_id][found.measure] = found
        resources = [
            Resource(
                name,
                sorted(members, key=lambda one: -one.cost),
                samples.get(name, {}),
                add_exactly(one.cost for one in members),
            )
            for (name, _), members in groups.items()
        ]
        return sorted(resources, key=lambda one: (-one.cost, one.resource_id))

    def worth(self, amount: Decimal, currency_code: str) -> Decimal | None:
        """Returns an amount in the tenant's currency, None where no rate tells."""
        if currency_code == self.currency_code:
            return amount
        rate = self.exchange.get(currency_code)
        return None if rate is None else EXACT.multiply(amount, rate)

    def monthly(self, members: Sequence[UsageSeries]) -> Decimal:
        """Returns what series cost in an average month, from the days on which each was there."""
        return add_exactly(self.monthly_of(one) for one in members)

    @cached_property
    def horizon(self) -> int:
        """The hour after the last one with any usage: what is later has not been told yet."""
        return max((one.active_hours[1] for one in self.series), default=0)

    def monthly_of(self, one: UsageSeries) -> Decimal:
        """Returns what a series costs in an average month; zero when it is gone."""
        first, last = one.active_hours
        if last == 0 or self.is_gone(one):
            return Decimal(0)
        hours = max(self.horizon - first, ALL_HOURS)
        if self.is_daily(one):
            hours = -(-hours // ALL_HOURS) * ALL_HOURS  # told once a day: days count whole
        days = Decimal(hours) / ALL_HOURS
        return EXACT.divide(EXACT.multiply(one.cost, MONTH_DAYS), days)

    def is_daily(self, one: UsageSeries) -> bool:
        """Tells whether a series is told by the day, at some hour that says nothing."""
        hours = max(self.horizon - one.active_hours[0], ALL_HOURS)
        return int(np.count_nonzero(one.hours[Measure.EVENTS])) * SPARSE <= hours

    def clocked_cost(self, one: UsageSeries) -> Floats:
        """Returns cost by hour; what is told by the day is spread over its UTC day's hours."""
        cost: Floats = one.hours[Measure.COST]
        if not self.is_daily(one):
            return cost
        days: Floats = cost.reshape(-1, ALL_HOURS).sum(axis=1) / ALL_HOURS
        spread: Floats = np.repeat(days, ALL_HOURS)
        return spread

    def is_gone(self, one: UsageSeries) -> bool:
        """Tells whether a series has ended long before others have."""
        return self.horizon - one.active_hours[1] > GONE_HOURS

    def measured_lately(self) -> Sequence[UtilizationSamples]:
        """Returns the samples of measures that are still told.

        A resource whose CPU or GPU is no longer told has none but those of its memory: what it
        does now is unknown.
        """
        stale = {
            (one.resource_id, one.measure)
            for one in self.utilization
            if self.horizon - last_told(one) > GONE_HOURS
        }
        unknown = {resource_id for resource_id, measure in stale if measure != "memory"}
        return [
            one
            for one in self.utilization
            if (one.resource_id, one.measure) not in stale
            and (one.measure == "memory" or one.resource_id not in unknown)
        ]

    def profile(self, values: Floats, *, percentile: float) -> Floats:
        """Returns 168 percentiles of an hourly series by hour of the week, 0 without a value."""
        found = grouped_percentile(values, self.local_hours, HOURS_OF_WEEK, percentile)
        return np.nan_to_num(found)

    def instant(self, hour: float) -> datetime:
        """Returns the instant of an hour of the period."""
        return self.period.start + timedelta(hours=hour)


def last_told(samples: UtilizationSamples) -> float:
    """Returns the hour of the last sample that is a number, minus infinity without one."""
    known = samples.hours[~np.isnan(samples.ratios)]
    return float(known[-1]) if known.size else -np.inf


def hour_of_week(instant: datetime, tz: ZoneInfo) -> int:
    """Returns the local hour of the week, 0 for Monday 00:00 to 167."""
    local = instant.astimezone(tz)
    return local.weekday() * 24 + local.hour


def whole_days(start: datetime, end: datetime) -> Period:
    """Returns the period from the UTC day of `start` to the end of that of the last instant."""
    first = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    last = end.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Period(first, last if last == end and last > first else last + timedelta(days=1))
