"""Which days a completed change is judged by, when others changed the same usage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from services.kernel.money import EXACT, add_exactly
from services.kernel.period import Period
from services.optimizer.domain.counterfactual import (
    AFTER_DAYS_MIN,
    BEFORE_DAYS_MAX,
    BEFORE_DAYS_MIN,
    RealizedSaving,
)
from services.optimizer.domain.finding import Estimate, rounded

MEASURED_DAYS_MAX = 90  # a counterfactual of a quarter ago proves nothing any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A completed change. claim: what it was to save a month."""

    completed_at: datetime
    claim: Decimal

    @property
    def day(self) -> date:
        """The UTC day of the change, which belongs to neither side."""
        return self.completed_at.astimezone(UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The days learnt from, the days measured, and the changes that fall into both."""

    before: Period
    after: Period
    inseparable: Sequence[Change]


def comparison(change: Change, others: Iterable[Change], *, now: datetime) -> Comparison:
    """Returns the days that a change alone lies between, as far as they are enough to measure.

    others: completed changes of the same usage. What was learnt after an earlier one, or measured
    before a later one, is this change's alone; one that leaves too few days cannot be told from it.
    """
    start = change.day - timedelta(days=BEFORE_DAYS_MAX)
    first = change.day + timedelta(days=1)
    end = min(now.astimezone(UTC).date(), first + timedelta(days=MEASURED_DAYS_MAX))
    inseparable = []
    for other in others:
        apart = (change.day - other.day).days
        if apart > BEFORE_DAYS_MIN:
            start = max(start, other.day + timedelta(days=1))
        elif -apart > AFTER_DAYS_MIN:
            end = min(end, other.day)
        else:
            inseparable.append(other)
    return Comparison(
        before=Period(_midnight(start), _midnight(change.day)),
        after=Period(_midnight(first), _midnight(max(end, first + timedelta(days=1)))),
        inseparable=inseparable,
    )


def share_of(saving: RealizedSaving, change: Change, others: Sequence[Change]) -> RealizedSaving:
    """Returns a change's part of what it saved together with others, by what each claimed.

    Its counterfactual is what would have been paid without it, the others done.
    """
    together = add_exactly(one.claim for one in (change, *others))
    if not others or together <= 0:
        return saving
    share = EXACT.divide(change.claim, together)
    realized = Estimate(*(rounded(each * share) for each in saving.realized))
    return replace(
        saving,
        realized=realized,
        counterfactual=Estimate(*(each + saving.actual for each in realized)),
        model=f"{saving.model}; shared by claim with {len(others)} done at once",
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)
