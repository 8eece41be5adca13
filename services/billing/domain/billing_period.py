"""Billing periods: calendar months from a day of the month on, in an account's zone."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from services.billing.domain.plan import BillingInterval
from services.kernel.period import Period, day_start, zone

_MONTHS = 12


@dataclass(frozen=True, slots=True)
class BillingCalendar:
    """When periods begin.

    day: 1 to 31; a shorter month's last day where it has no such day, and the day itself again in
    the next. first: the local date of the subscription's start, from whose month the intervals
    count. Raises UnknownTimeZone.
    """

    interval: BillingInterval
    day: int
    time_zone: str
    first: date

    def period(self, instant: datetime) -> Period:
        """Returns the whole period that holds an instant."""
        local = instant.astimezone(self._tz).date()
        months = self._months(local) // self.interval.months * self.interval.months
        # The instant may lie before the day in its month, or in a month that a period goes on in.
        while self._start(months) > instant:
            months -= self.interval.months
        while self._start(months + self.interval.months) <= instant:
            months += self.interval.months
        return Period(self._start(months), self._start(months + self.interval.months))

    @property
    def _tz(self) -> ZoneInfo:
        return zone(self.time_zone)

    def _months(self, day: date) -> int:
        """Counts calendar months since the first."""
        return (day.year - self.first.year) * _MONTHS + day.month - self.first.month

    def _start(self, months: int) -> datetime:
        """Returns when a period begins, so many months after the first month."""
        month = self.first.year * _MONTHS + self.first.month - 1 + months
        return day_start(day_in_month(month // _MONTHS, month % _MONTHS + 1, self.day), self._tz)


def day_in_month(year: int, month: int, day: int) -> date:
    """Returns a day of a month, or the month's last where it is shorter."""
    return date(year, month, min(day, monthrange(year, month)[1]))


def next_billing_time(now: datetime, day: int, time_zone: str) -> datetime:
    """Returns the next first instant of a billing day after now."""
    calendar = BillingCalendar(
        BillingInterval.MONTH, day, time_zone, now.astimezone(zone(time_zone)).date()
    )
    return calendar.period(now).end
