"""Half-open periods of aware time, and calendar edges in an IANA zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.kernel.errors import InvalidArgument


class InvalidPeriod(InvalidArgument):
    """A period has an aware start and a later aware end."""

    reason = "INVALID_PERIOD"


class UnknownTimeZone(InvalidArgument):
    """A time zone is an IANA name such as Europe/Berlin."""

    reason = "UNKNOWN_TIME_ZONE"


class Granularity(Enum):
    """Size of the calendar buckets that a series is cut into."""

    TOTAL = "total"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Period:
    """The instants from `start` up to, and not including, `end`, both kept in UTC.

    Raises InvalidPeriod for a naive instant, or an end that is not later than the start.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise InvalidPeriod("start and end must name a time zone")
        # Two instants of one zone compare by the clock on the wall, which a change sets back.
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))
        if self.start >= self.end:
            raise InvalidPeriod(
                "end must be later than start",
                start=self.start.isoformat(),
                end=self.end.isoformat(),
            )

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    @property
    def duration(self) -> timedelta:
        """Length in absolute time, daylight-saving changes included."""
        return self.end - self.start

    def previous(self) -> Period:
        """Returns the period of the same length that ends where this one starts."""
        return Period(self.start - self.duration, self.start)


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Returns the IANA zone. Raises UnknownTimeZone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownTimeZone(f"{name!r} is not an IANA time zone", time_zone=name) from error


def day_start(day: date, tz: ZoneInfo) -> datetime:
    """Returns the first instant of a local day, in UTC.

    Where a clock change skips midnight, that is the first instant that exists; where it skips the
    whole day, as in Apia on 2011-12-30, the first of the next one.
    """
    return local_instant(datetime.combine(day, time.min), tz)


def local_instant(local: datetime, tz: ZoneInfo) -> datetime:
    """Returns the instant, in UTC, at which the clocks of a zone show a time.

    local: naive; its `fold` says which instant is meant where clocks show a time twice. A time that
    a clock change skips is the first instant after the gap.
    """
    instant = local.replace(tzinfo=tz).astimezone(UTC)
    if instant.astimezone(tz).replace(tzinfo=None) == local:
        return instant
    # Inside a gap the conversion goes on counting with the offset before, and so beyond the change.
    beyond = local.replace(tzinfo=tz, fold=0).astimezone(UTC)
    return _first_instant_of_offset(beyond, tz)


def floor(instant: datetime, granularity: Granularity, tz: ZoneInfo) -> datetime:
    """Returns the first instant of the bucket that holds `instant`, in UTC.

    Weeks begin on Monday. An hour repeated by a clock change is two buckets, and where the clock
    changes within an hour, as by 30 minutes on Lord Howe Island, the change begins a bucket.
    Raises InvalidPeriod for TOTAL, which has no buckets.
    """
    local = instant.astimezone(tz)
    match granularity:
        case Granularity.HOUR:
            past = timedelta(
                minutes=local.minute, seconds=local.second, microseconds=local.microsecond
            )
            start = instant.astimezone(UTC) - past
            if start.astimezone(tz).utcoffset() == local.utcoffset():
                return start
            return _first_instant_of_offset(instant.astimezone(UTC), tz)
        case Granularity.DAY:
            return day_start(local.date(), tz)
        case Granularity.WEEK:
            return day_start(local.date() - timedelta(days=local.weekday()), tz)
        case Granularity.MONTH:
            return day_start(local.date().replace(day=1), tz)
        case Granularity.TOTAL:
            raise InvalidPeriod("a total has no buckets")


def _first_instant_of_offset(instant: datetime, tz: ZoneInfo) -> datetime:
    """Returns the clock change, at most two days ago, since which the zone's offset holds.

    Bisects by whole seconds, because zoneinfo does not tell when its changes are.
    """
    offset = instant.astimezone(tz).utcoffset()
    after = instant.replace(microsecond=0)
    before = after - timedelta(days=2)
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if middle.astimezone(tz).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
