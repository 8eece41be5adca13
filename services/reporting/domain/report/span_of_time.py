"""The calendar periods that reports are about."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.kernel.period import Granularity, Period, day_start, floor

PERIOD_KINDS = ("day", "week", "month", "quarter", "year")
_HALF_DAY = timedelta(hours=12)
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def last_full(kind: str, now: datetime, tz: ZoneInfo) -> Period:
    """Returns the last whole period of a kind that is over, in a zone.

    kind: `day`, `week` (from Monday), `month`, `quarter` or `year`.
    """
    if kind in ("day", "week"):
        size = Granularity(kind)
        end = floor(now, size, tz)
        return Period(floor(before(end), size, tz), end)
    months = _MONTHS[kind]
    today = now.astimezone(tz).date()
    index = today.year * 12 + today.month - 1
    last = index - index % months
    return Period(_month_start(last - months, tz), _month_start(last, tz))


def previous_period(period: Period, tz: ZoneInfo) -> Period:
    """Returns the period of the same length before, as cost questions compare with.

    Whole months go back as many months and whole days as many days, however long they are.
    """
    start, end = period.start.astimezone(tz), period.end.astimezone(tz)
    if not is_whole_days(period, tz):
        return period.previous()
    if start.day == 1 and end.day == 1:
        months = (end.year - start.year) * 12 + end.month - start.month
        return Period(_month_start(start.year * 12 + start.month - 1 - months, tz), period.start)
    days = (end.date() - start.date()).days
    return Period(day_start(start.date() - timedelta(days=days), tz), period.start)


def month_edges(now: datetime, count: int, tz: ZoneInfo) -> list[datetime]:
    """Returns the first instants of the last whole months, and the last one's end: count + 1."""
    today = now.astimezone(tz).date()
    index = today.year * 12 + today.month - 1
    return [_month_start(index - count + place, tz) for place in range(count + 1)]


def before(instant: datetime) -> datetime:
    """Returns an instant in the local day before the one that begins at `instant`."""
    # No local day is shorter than this, whatever clocks do.
    return instant - _HALF_DAY


def is_whole_days(period: Period, tz: ZoneInfo) -> bool:
    """Tells whether a period begins and ends with local days."""
    return all(
        day_start(edge.astimezone(tz).date(), tz) == edge for edge in (period.start, period.end)
    )


def period_label(period: Period, tz: ZoneInfo) -> str:
    """Returns a name that people know: `2026-05`, `Q2 2026`, `2026`, else first and last day."""
    start = period.start.astimezone(tz).date()
    last = before(period.end).astimezone(tz).date()
    if not is_whole_days(period, tz):
        first, end = period.start.astimezone(tz), period.end.astimezone(tz)
        return f"{first:%Y-%m-%d %H:%M} - {end:%Y-%m-%d %H:%M}"
    if start.day == 1 and _after(last).day == 1:
        months = (last.year - start.year) * 12 + last.month - start.month + 1
        if months == 1:
            return f"{start:%Y-%m}"
        if months == _MONTHS["quarter"] and start.month % 3 == 1:
            return f"Q{start.month // 3 + 1} {start.year}"
        if months == _MONTHS["year"] and start.month == 1:
            return f"{start.year}"
    return f"{start}" if start == last else f"{start} - {last}"


def step_of(period: Period) -> Granularity:
    """Returns the step in which a period's course is shown: 12 to 60 points where possible."""
    days = period.duration.total_seconds() / 86_400
    if days <= 3:  # noqa: PLR2004 - the table of steps is here
        return Granularity.HOUR
    if days <= 100:  # noqa: PLR2004
        return Granularity.DAY
    return Granularity.WEEK if days <= 380 else Granularity.MONTH  # noqa: PLR2004


def _month_start(index: int, tz: ZoneInfo) -> datetime:
    return day_start(date(index // 12, index % 12 + 1, 1), tz)


def _after(day: date) -> date:
    return date.fromordinal(day.toordinal() + 1)
