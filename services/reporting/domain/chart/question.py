"""Which chart is asked for, and the time it is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from services.kernel.errors import FieldViolations
from services.kernel.period import Granularity, Period, floor
from services.reporting.domain.chart.catalog import ChartKind
from services.reporting.domain.forecast.steps import read_instant

DAYS: Final = 30
# More marks than a picture has pixels are not told apart.
STEPS_MAX: Final = 2_000
HEATMAP_DAYS_MAX: Final = 400
WIDTH_MIN: Final = 320
HEIGHT_MIN: Final = 160
# Up to so many days a step of this size can be read; beyond the last, a month is.
_READABLE: Final = ((3, Granularity.HOUR), (120, Granularity.DAY), (730, Granularity.WEEK))
_STEP: Final = {
    Granularity.HOUR: timedelta(hours=1),
    Granularity.DAY: timedelta(days=1),
    Granularity.WEEK: timedelta(days=7),
    Granularity.MONTH: timedelta(days=28),
}


@dataclass(frozen=True, slots=True)
class ChartQuestion:
    """What is asked for, as the caller wrote it; empty for the default."""

    tenant_id: str
    chart: str
    start: str = ""
    end: str = ""
    group_by: tuple[str, ...] = ()
    granularity: str = ""
    filter: str = ""
    budget_id: str = ""
    currency_code: str = ""

    def require_taken(self, kind: ChartKind) -> None:
        """Raises FieldViolations for arguments that the chart does not take.

        Left out in silence, they would make a picture of something else than was asked.
        """
        given = {
            "start": self.start,
            "end": self.end,
            "group_by": self.group_by,
            "granularity": self.granularity,
            "filter": self.filter,
            "budget_id": self.budget_id,
            "currency": self.currency_code,
        }
        wrong = [name for name, value in given.items() if value and name not in kind.parameters]
        if wrong:
            taken = ", ".join(kind.parameters)
            text = f"is not an argument of {kind.name}, which takes {taken}"
            raise FieldViolations([(name, text) for name in wrong])


@dataclass(frozen=True, slots=True)
class ChartFrame:
    """The time a chart is about, in the tenant's zone."""

    period: Period
    granularity: Granularity
    now: datetime
    tz: ZoneInfo
    currency_code: str

    @property
    def dates(self) -> str:
        """The period as it is read."""
        first = self.period.start.astimezone(self.tz)
        last = (self.period.end - timedelta(microseconds=1)).astimezone(self.tz)
        end = f"{last.day} {last:%B} {last.year}"
        if first.date() == last.date():
            return end
        if first.year != last.year:
            return f"{first.day} {first:%B} {first.year} to {end}"
        if first.month != last.month:
            return f"{first.day} {first:%B} to {end}"
        return f"{first.day} to {end}"


def frame_of(
    question: ChartQuestion, now: datetime, tz: ZoneInfo, currency_code: str
) -> ChartFrame:
    """Fills in the defaults. currency_code: the tenant's.

    Raises InvalidForecastInstant, InvalidPeriod, FieldViolations.
    """
    end = read_instant(question.end, tz) if question.end else now
    if question.start:
        start = read_instant(question.start, tz)
    else:
        start = floor(end - timedelta(days=DAYS), Granularity.DAY, tz)
    period = Period(start, end)
    if question.granularity:
        step = Granularity(question.granularity)
        if period.duration > _STEP[step] * STEPS_MAX:
            text = f"cuts the period into more than {STEPS_MAX:,} steps; take a longer one"
            raise FieldViolations([("granularity", text)])
    else:
        step = next(
            (step for days, step in _READABLE if period.duration <= timedelta(days=days)),
            Granularity.MONTH,
        )
    return ChartFrame(period, step, now, tz, question.currency_code or currency_code)
