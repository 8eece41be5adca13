"""Where the periods of a budget begin and end, in the budget's own zone.

Edges are wall-clock times. A time that a clock change skips is the first instant after the gap, and
a day that a zone skips, as Apia did with 2011-12-30, has no period.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum

from services.kernel.errors import FieldViolations
from services.kernel.period import Period, day_start, local_instant, zone

CUSTOM_DAYS_MAX = 3660


class Cadence(Enum):
    """Length of a period; the value is the months of those that have months, else 0."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"
    CUSTOM = "custom"


_MONTHS = {Cadence.MONTHLY: 1, Cadence.QUARTERLY: 3, Cadence.YEARLY: 12}


@dataclass(frozen=True, slots=True)
class PeriodRule:
    """How a cadence is laid on the calendar.

    anchor_at: an instant at which one period begins, None for calendar alignment.
    first_weekday: of calendar weeks, 0 is Monday. first_month: of calendar quarters and years.
    custom_days, custom_period: one of them for CUSTOM, else 0 and None.
    Raises FieldViolations, UnknownTimeZone.
    """

    cadence: Cadence
    time_zone: str = "UTC"
    anchor_at: datetime | None = None
    first_weekday: int = 0
    first_month: int = 1
    custom_days: int = 0
    custom_period: Period | None = None

    def __post_init__(self) -> None:
        zone(self.time_zone)
        is_custom = self.cadence is Cadence.CUSTOM
        given = bool(self.custom_days) + (self.custom_period is not None)
        if is_custom and given != 1:
            raise FieldViolations(
                [("budget.period_rule", "CUSTOM needs either custom_days or custom_period")]
            )
        if not is_custom and given:
            raise FieldViolations(
                [("budget.period_rule", "custom_days and custom_period are for CUSTOM only")]
            )
        if self.custom_days and self.anchor_at is None:
            raise FieldViolations(
                [("budget.period_rule.anchor_time", "custom_days are counted from an anchor")]
            )
        if self.anchor_at is not None:
            if self.custom_period is not None:
                raise FieldViolations(
                    [("budget.period_rule.anchor_time", "custom_period says when it begins")]
                )
            object.__setattr__(self, "anchor_at", self.anchor_at.astimezone(UTC))

    def period_at(self, at: datetime) -> Period | None:
        """Returns the period that holds an instant; None outside of the only `custom_period`."""
        if self.custom_period is not None:
            return self.custom_period if at in self.custom_period else None
        if self.anchor_at is not None:
            return self._anchored(at, self.anchor_at)
        first = self._first_day(at.astimezone(zone(self.time_zone)).date())
        tz = zone(self.time_zone)
        return Period(day_start(first, tz), day_start(self._following(first), tz))

    def _first_day(self, day: date) -> date:
        """Returns the first local day of the calendar period that holds a day."""
        match self.cadence:
            case Cadence.WEEKLY:
                return day - timedelta(days=(day.weekday() - self.first_weekday) % 7)
            case Cadence.MONTHLY | Cadence.QUARTERLY | Cadence.YEARLY:
                behind = (day.month - self.first_month) % _MONTHS[self.cadence]
                return _add_months(day.replace(day=1), -behind)
            case _:
                return day

    def _following(self, first: date) -> date:
        """Returns the first local day of the next calendar period."""
        match self.cadence:
            case Cadence.WEEKLY:
                return first + timedelta(days=7)
            case Cadence.MONTHLY | Cadence.QUARTERLY | Cadence.YEARLY:
                return _add_months(first, _MONTHS[self.cadence])
            case _:
                return first + timedelta(days=1)

    def _anchored(self, at: datetime, anchor_at: datetime) -> Period:
        """Finds the last edge that is not after the instant; the guess is off by one at most."""
        local = anchor_at.astimezone(zone(self.time_zone))
        day = at.astimezone(zone(self.time_zone)).date()
        if self.cadence in _MONTHS:
            months = (day.year - local.year) * 12 + day.month - local.month
            step = months // _MONTHS[self.cadence]
        else:
            step = (day - local.date()).days // self._days()
        while self._edge(local, step) > at:
            step -= 1
        while (end := self._edge(local, step + 1)) <= at:
            step += 1
        return Period(self._edge(local, step), end)

    def _days(self) -> int:
        return {Cadence.DAILY: 1, Cadence.WEEKLY: 7}.get(self.cadence, self.custom_days)

    def _edge(self, anchor: datetime, step: int) -> datetime:
        """Returns the first instant of the period that is so many steps after the anchor's."""
        if self.cadence in _MONTHS:
            day = _add_months(anchor.date(), step * _MONTHS[self.cadence])
        else:
            day = anchor.date() + timedelta(days=step * self._days())
        wall = datetime.combine(day, anchor.time())
        return local_instant(wall.replace(fold=anchor.fold), zone(self.time_zone))


def midnight_before(at: datetime, time_zone: str) -> datetime:
    """Returns the first instant of the local day that holds an instant."""
    tz = zone(time_zone)
    return local_instant(datetime.combine(at.astimezone(tz).date(), time.min), tz)


def _add_months(day: date, months: int) -> date:
    """Returns the day so many months on; the last of the month where it is shorter."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(day.day, last))
