"""Steps of a series in a tenant's own zone, and times as callers write them."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.kernel.period import Granularity, Period, day_start, floor
from services.reporting.errors import InvalidForecastInstant

# A step beyond the longest step's length lies inside the next one.
_BEYOND = {
    Granularity.HOUR: timedelta(hours=1),
    Granularity.DAY: timedelta(days=1),
    Granularity.WEEK: timedelta(days=7),
    Granularity.MONTH: timedelta(days=31),
}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def read_instant(text: str, tz: ZoneInfo) -> datetime:
    """Reads an instant, or a date as the first instant of that local day."""
    try:
        if _DATE.fullmatch(text):
            return day_start(date.fromisoformat(text), tz)
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidForecastInstant(text=text[:40]) from error
    if instant.tzinfo is None:
        raise InvalidForecastInstant(text=text[:40])
    return instant


def next_step(start: datetime, granularity: Granularity, tz: ZoneInfo) -> datetime:
    """Returns the first instant of the step after the one that begins at `start`."""
    if granularity is Granularity.HOUR:
        return floor(start + _BEYOND[granularity], granularity, tz)
    beyond = day_start(start.astimezone(tz).date() + _BEYOND[granularity], tz)
    return beyond if granularity is Granularity.DAY else floor(beyond, granularity, tz)


def steps_of(period: Period, granularity: Granularity, tz: ZoneInfo) -> list[datetime]:
    """Returns the first instants of the steps that the period touches."""
    starts = []
    at = floor(period.start, granularity, tz)
    while at < period.end:
        starts.append(at)
        at = next_step(at, granularity, tz)
    return starts


def days_later(start: datetime, days: int, tz: ZoneInfo) -> datetime:
    """Returns the same local time so many days later, whatever the clocks do."""
    local = start.astimezone(tz)
    return day_start(local.date() + timedelta(days=days), tz) + (
        start - day_start(local.date(), tz)
    )
