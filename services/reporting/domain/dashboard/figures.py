"""Answers about cost that a dashboard stands on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.kernel.money import add_exactly
from services.kernel.period import Period
from services.reporting.domain.costs import CostAnswer, CostRow
from services.reporting.domain.dashboard.question import Frame


@dataclass(frozen=True, slots=True)
class DayCosts:
    """Cost by day of a period and of the one before.

    whole: all days that were asked, of which the current ones are a part. whole_of: from when on.
    """

    current: CostAnswer
    previous: CostAnswer
    whole: CostAnswer
    whole_of: Period

    @property
    def failed_events(self) -> int:
        """Failed events of the period."""
        return _failed(self.current)

    @property
    def successes(self) -> tuple[int, int]:
        """Successful events of the period and of the one before."""
        return _successes(self.current), _successes(self.previous)

    def month_to_date(self, frame: Frame) -> Decimal | None:
        """Returns the cost of the present month's days before today; None where it is not here."""
        if frame.period.start > frame.month_start or frame.period.end < frame.today:
            return None

        def is_meant(start: datetime | None) -> bool:
            return start is not None and frame.month_start <= start < frame.today

        return add_exactly(row.cost for row in self.current.rows if is_meant(row.start_at))


def _failed(answer: CostAnswer) -> int:
    return sum(row.failed_events for row in answer.rows)


def _successes(answer: CostAnswer) -> int:
    return sum(total.events for total in answer.totals) - _failed(answer)


@dataclass(frozen=True, slots=True)
class CostFigures:
    """What is known of the whole cost. wasted, month_to_date: None where they are not."""

    days: DayCosts
    wasted: Decimal | None
    month_to_date: Decimal | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Groups of one dimension, compared with the period before, the costliest where not whole.

    groups: how many there are in all.
    """

    rows: tuple[CostRow, ...]
    groups: int
    is_whole: bool
    sequence: str


@dataclass(frozen=True, slots=True)
class People:
    """The ranking of people, and how many of them caused cost; None when unknown."""

    ranking: Ranking
    active: int | None
