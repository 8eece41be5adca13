"""Which periods of a subscription are invoiced, and when they are over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from services.billing.domain.subscription import Subscription
from services.billing.errors import NothingToInvoice, PeriodNotWhole
from services.kernel.period import Period, day_start, zone

_INSTANT = timedelta(microseconds=1)
_MONTHS = 12


def period_at(subscription: Subscription, instant: datetime) -> Period | None:
    """Returns the subscription's period that holds an instant, cut by its start and end."""
    return _clipped(subscription, subscription.calendar.period(instant))


def last_over(subscription: Subscription, now: datetime) -> Period:
    """Returns the newest period that is over. Raises NothingToInvoice before there is one."""
    ended_at = subscription.ended_at
    if ended_at is not None and ended_at <= now:
        last = period_at(subscription, ended_at - _INSTANT)
    else:
        running = subscription.calendar.period(now)
        last = period_at(subscription, running.start - _INSTANT)
    if last is None:
        raise NothingToInvoice(
            "no period of the subscription is over yet; preview the running one",
            subscription_id=subscription.subscription_id,
        )
    return last


def periods_of_month(subscription: Subscription, month: str) -> list[Period]:
    """Returns the periods that begin in a month, `YYYY-MM`, in the subscription's zone."""
    return list(_beginning_in(subscription, month_of(month, subscription.time_zone)))


def month_of(month: str, time_zone: str) -> Period:
    """Returns a calendar month, `YYYY-MM`, in a zone."""
    first = date(int(month[:4]), int(month[5:]), 1)
    following = date(first.year + first.month // _MONTHS, first.month % _MONTHS + 1, 1)
    tz = zone(time_zone)
    return Period(day_start(first, tz), day_start(following, tz))


def whole_period(subscription: Subscription, wanted: Period) -> Period:
    """Returns the period, if it is one of the subscription's. Raises PeriodNotWhole."""
    found = period_at(subscription, wanted.start)
    if found != wanted:
        raise PeriodNotWhole(
            start=wanted.start.astimezone(UTC).isoformat(),
            end=wanted.end.astimezone(UTC).isoformat(),
        )
    return wanted


def _beginning_in(subscription: Subscription, month: Period) -> Iterator[Period]:
    calendar = subscription.calendar.period(month.start)
    while calendar.start < month.end:
        period = _clipped(subscription, calendar)
        if period is not None and period.start in month:
            yield period
        calendar = subscription.calendar.period(calendar.end)


def _clipped(subscription: Subscription, calendar: Period) -> Period | None:
    start = max(calendar.start, subscription.started_at)
    ended_at = subscription.ended_at
    end = calendar.end if ended_at is None else min(calendar.end, ended_at)
    return Period(start, end) if start < end else None
