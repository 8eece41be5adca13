"""Which dashboard is asked for, and the time it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Final
from zoneinfo import ZoneInfo

from services.kernel.filter import And, Comparator, Expression, Not, Or, parse_filter
from services.kernel.period import Granularity, Period, day_start, floor
from services.reporting.domain.forecast.steps import read_instant

TOP_COUNT: Final = 10


class Part(Enum):
    """A part of the dashboard that is another service's or resource's to tell.

    The value is the permission that it takes beside `dashboards.read`.
    """

    BUDGETS = "budgets.read"
    ALERTS = "alerts.read"
    ANOMALIES = "anomalies.read"
    RECOMMENDATIONS = "recommendations.read"
    FORECAST = "forecasts.read"


@dataclass(frozen=True, slots=True)
class DashboardQuestion:
    """What is asked for. start, end: as the caller wrote them, empty for the default.

    currency_code: empty is the tenant's. top_count: entries of each ranking. parts: those that the
    caller may read.
    """

    tenant_id: str
    start: str = ""
    end: str = ""
    filter: str = ""
    cost_type: str = "billed"
    currency_code: str = ""
    top_count: int = TOP_COUNT
    parts: frozenset[Part] = frozenset(Part)

    def shows(self, part: Part, fields: frozenset[str]) -> bool:
        """Tells whether a part is shown: it may be read, and the filter reaches it.

        fields: what its list can be filtered by with the meaning that cost questions have.
        Raises InvalidFilter.
        """
        return part in self.parts and reaches(self.filter, fields)


@dataclass(frozen=True, slots=True)
class Frame:
    """The time a dashboard is about, as the tenant's calendar has it."""

    period: Period
    previous: Period
    now: datetime
    tz: ZoneInfo
    currency_code: str

    @property
    def reaches_now(self) -> bool:
        """Whether the period ends in the present, so that a forecast goes on from it."""
        return self.period.end >= self.now

    @property
    def month_start(self) -> datetime:
        """First instant of the present calendar month."""
        return floor(self.now, Granularity.MONTH, self.tz)

    @property
    def today(self) -> datetime:
        """First instant of the present day."""
        return floor(self.now, Granularity.DAY, self.tz)


def frame_of(question: DashboardQuestion, now: datetime, tz: ZoneInfo, currency_code: str) -> Frame:
    """Fills in the defaults. currency_code: the tenant's.

    Raises InvalidForecastInstant, InvalidPeriod.
    """
    end = read_instant(question.end, tz) if question.end else now
    # The month that holds the last instant before the end: an end of month is its own month's.
    last = end - timedelta(microseconds=1)
    start = (
        read_instant(question.start, tz) if question.start else floor(last, Granularity.MONTH, tz)
    )
    period = Period(start, end)
    return Frame(
        period, previous_period(period, tz), now, tz, question.currency_code or currency_code
    )


def widest(frame: Frame, history: Period | None) -> Period:
    """Returns the longest period from whose days a dashboard can be told without one read in vain.

    history: what a forecast is made from; None without a forecast.
    """
    current, previous = frame.period, frame.previous
    wishes: list[tuple[Period, ...]] = [(current, previous)]
    if history is not None:
        wishes = [(current, previous, history), (current, history), *wishes]
    found = (joined(periods, frame.tz) for periods in wishes)
    return next((whole for whole in found if whole is not None), current)


def is_told_by(whole: Period, part: Period, tz: ZoneInfo) -> bool:
    """Tells whether the days of a period are all that a part of it takes."""
    return joined((whole, part), tz) == whole


def joined(periods: Sequence[Period], tz: ZoneInfo) -> Period | None:
    """Returns the period that all of them make up, if its days tell each of them, else None."""
    ordered = sorted(periods, key=lambda period: period.start)
    whole = ordered[0]
    for period in ordered[1:]:
        if period.start > whole.end:
            return None
        whole = Period(whole.start, max(whole.end, period.end))
    edges = {edge for period in periods for edge in (period.start, period.end)}
    inner = edges - {whole.start, whole.end}
    return whole if all(_is_day_edge(edge, tz) for edge in inner) else None


def previous_period(period: Period, tz: ZoneInfo) -> Period:
    """Returns the period of the same length before, as cost questions compare.

    Whole months go back as many months and whole days as many days, however long they are;
    anything else goes back its absolute length.
    """
    start, end = period.start.astimezone(tz), period.end.astimezone(tz)
    if not (_is_day_edge(period.start, tz) and _is_day_edge(period.end, tz)):
        return period.previous()
    if start.day == 1 and end.day == 1:
        months = (end.year - start.year) * 12 + end.month - start.month
        month = start.year * 12 + start.month - 1 - months
        return Period(day_start(date(month // 12, month % 12 + 1, 1), tz), period.start)
    days = (end.date() - start.date()).days
    return Period(day_start(start.date() - timedelta(days=days), tz), period.start)


def _is_day_edge(instant: datetime, tz: ZoneInfo) -> bool:
    return day_start(instant.astimezone(tz).date(), tz) == instant


def reaches(text: str, fields: frozenset[str]) -> bool:
    """Tells whether a filter over costs means the same in a list that has only these fields.

    `:` does not, for each list gives it a meaning of its own. Raises InvalidFilter.
    """
    return _reaches(parse_filter(text), fields)


def _reaches(expression: Expression, fields: frozenset[str]) -> bool:
    match expression:
        case Not(term):
            return _reaches(term, fields)
        case And(terms) | Or(terms):
            return all(_reaches(term, fields) for term in terms)
        case _:
            is_known = len(expression.path) == 1 and expression.path[0] in fields
            return is_known and expression.comparator is not Comparator.HAS
