"""Questions about cost: which period, cut how, grouped by what, and from which storage."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from services.kernel.errors import InvalidArgument
from services.kernel.period import Granularity, InvalidPeriod, Period, day_start, floor

GROUPS_BY_MAX = 6
DEFAULT_DAYS = 30
DIMENSIONS = (
    "tenant",
    "department",
    "project",
    "user",
    "manager",
    "resource_type",
    "resource_id",
    "service",
    "service_category",
    "provider",
    "region",
    "sub_account",
    "charge_category",
    "unit",
)
TAG_PREFIX = "tag:"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class UnknownDimension(InvalidArgument):
    """Cost is grouped by a dimension of QueryCosts or by tag:KEY."""

    reason = "UNKNOWN_DIMENSION"


class InvalidInstant(InvalidArgument):
    """A time is RFC 3339 such as 2026-03-01T00:00:00Z, or a date such as 2026-03-01."""

    reason = "INVALID_INSTANT"


class CostType(Enum):
    """Which of FOCUS's costs is summed; the value is the column."""

    BILLED = "billed_cost"
    EFFECTIVE = "effective_cost"
    LIST = "list_cost"
    CONTRACTED = "contracted_cost"


def require_dimension(name: str) -> str:
    """Returns the dimension unchanged. Raises UnknownDimension."""
    if name in DIMENSIONS or (name.startswith(TAG_PREFIX) and len(name) > len(TAG_PREFIX)):
        return name
    raise UnknownDimension(
        f"there is no dimension {name[:80]!r}; there are {', '.join(DIMENSIONS)} and tag:KEY",
        dimension=name[:80],
    )


@dataclass(frozen=True, slots=True)
class CostQuestion:
    """One question about a tenant's cost.

    group_by: at most 6 dimensions. filter: AIP-160 text. currency_code: "" keeps currencies apart.
    Raises UnknownDimension.
    """

    tenant_id: str
    period: Period
    tz: ZoneInfo
    group_by: tuple[str, ...] = ()
    granularity: Granularity = Granularity.TOTAL
    filter: str = ""
    cost_type: CostType = CostType.BILLED
    currency_code: str = ""
    has_previous: bool = False
    is_allocated: bool = False

    def __post_init__(self) -> None:
        for name in self.group_by:
            require_dimension(name)

    @property
    def reading(self) -> CostQuestion | None:
        """What the question has in common with others that one reading of the usage answers.

        None where it is read for itself: buckets and days of conversion leave little to share,
        managers' groups overlap, and allocation looks at all dimensions.
        """
        is_plain = self.granularity is Granularity.TOTAL and not self.currency_code
        if not is_plain or self.is_allocated or {"manager", "tenant"}.intersection(self.group_by):
            return None
        return replace(self, group_by=(), has_previous=False)


def read_instant(text: str, tz: ZoneInfo) -> datetime:
    """Returns the instant of an RFC 3339 time, or the first one of a local date.

    Raises InvalidInstant.
    """
    try:
        if _DATE.fullmatch(text):
            return day_start(date.fromisoformat(text), tz)
        instant = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise InvalidInstant(f"{text[:40]!r} is neither a time nor a date", value=text[:40]) from (
            error
        )
    if instant.tzinfo is None:
        raise InvalidInstant(f"{text[:40]!r} names no time zone; add Z", value=text[:40])
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInstant(f"{text[:40]!r} is out of range", value=text[:40]) from error


def read_period(start: str, end: str, tz: ZoneInfo, *, now: datetime) -> Period:
    """Returns the period asked for.

    end: default the end of the current hour. start: default the 30th day before `end`.
    Raises InvalidInstant, InvalidPeriod.
    """
    this_hour = floor(now, Granularity.HOUR, tz)
    end_at = read_instant(end, tz) if end else this_hour + timedelta(hours=1)
    if start:
        return Period(read_instant(start, tz), end_at)
    try:
        first_day = (end_at.astimezone(tz) - timedelta(days=DEFAULT_DAYS)).date()
        return Period(day_start(first_day, tz), end_at)
    except OverflowError as error:
        raise InvalidPeriod("the period reaches beyond the calendar") from error


def previous_period(period: Period, tz: ZoneInfo) -> Period:
    """Returns the period of the same length before.

    Whole months go back as many months and whole days as many days, however long they are;
    anything else goes back its absolute length.
    """
    start, end = period.start.astimezone(tz), period.end.astimezone(tz)
    if _is_day_edge(period.start, tz) and _is_day_edge(period.end, tz):
        if start.day == 1 and end.day == 1:
            months = (end.year - start.year) * 12 + end.month - start.month
            month = start.year * 12 + start.month - 1 - months
            return Period(day_start(date(month // 12, month % 12 + 1, 1), tz), period.start)
        days = (end.date() - start.date()).days
        return Period(day_start(start.date() - timedelta(days=days), tz), period.start)
    return period.previous()


def _is_day_edge(instant: datetime, tz: ZoneInfo) -> bool:
    return day_start(instant.astimezone(tz).date(), tz) == instant


@dataclass(frozen=True, slots=True)
class Slices:
    """A period cut into what each kind of storage holds whole; together exactly the period.

    days: local dates, half-open, or None. hours: whole local hours beside them. raw: what is left
    at the edges, below an hour. whole: all but `raw`.
    """

    days: tuple[date, date] | None
    hours: tuple[Period, ...]
    raw: tuple[Period, ...]
    whole: Period | None


def slice_period(period: Period, tz: ZoneInfo, *, use_days: bool) -> Slices:
    """Cuts a period along local hours, and along local days where `use_days`."""
    first_hour = _ceiling(period.start, Granularity.HOUR, tz)
    last_hour = floor(period.end, Granularity.HOUR, tz)
    if first_hour > last_hour:
        return Slices(None, (), (period,), None)
    raw = _periods((period.start, first_hour), (last_hour, period.end))
    if first_hour == last_hour:
        return Slices(None, (), raw, None)
    whole = Period(first_hour, last_hour)
    first_day = _ceiling(first_hour, Granularity.DAY, tz)
    last_day = floor(last_hour, Granularity.DAY, tz)
    if not use_days or first_day >= last_day:
        return Slices(None, (whole,), raw, whole)
    days = (first_day.astimezone(tz).date(), last_day.astimezone(tz).date())
    return Slices(days, _periods((first_hour, first_day), (last_day, last_hour)), raw, whole)


def _ceiling(instant: datetime, granularity: Granularity, tz: ZoneInfo) -> datetime:
    begin = floor(instant, granularity, tz)
    if begin == instant:
        return begin
    if granularity is Granularity.HOUR:
        return begin + timedelta(hours=1)
    return day_start(instant.astimezone(tz).date() + timedelta(days=1), tz)


def _periods(*edges: tuple[datetime, datetime]) -> tuple[Period, ...]:
    return tuple(Period(start, end) for start, end in edges if start < end)


def bucket_starts(period: Period, granularity: Granularity, tz: ZoneInfo) -> list[datetime]:
    """Returns the first instant of every bucket that the period touches; none for a total."""
    starts: list[datetime] = []
    if granularity is Granularity.TOTAL:
        return starts
    at = floor(period.start, granularity, tz)
    while at < period.end:
        starts.append(at)
        at = _next_bucket(at, granularity, tz)
    return starts


def _next_bucket(at: datetime, granularity: Granularity, tz: ZoneInfo) -> datetime:
    if granularity is Granularity.HOUR:
        return floor(at + timedelta(hours=1), granularity, tz)
    # One step beyond the longest bucket's length lands inside the next one, never beyond it.
    days = {Granularity.DAY: 1, Granularity.WEEK: 7, Granularity.MONTH: 31}[granularity]
    beyond = at.astimezone(tz).date() + timedelta(days=days)
    return floor(day_start(beyond, tz), granularity, tz)
