"""A budget through time: its versions, temporary increases, periods and limits.

Which version counts is a question of the instant asked about, never of what is stored last: a
change takes effect at an instant of the running or a later period, so that no closed period is
ever read with other terms than it ran under.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum

from services.budget.domain.terms import BudgetTerms
from services.kernel.money import EXACT, add_exactly
from services.kernel.period import Period

_TICK = timedelta(microseconds=1)


class BudgetState(Enum):
    """Where a budget is in its life."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    ACTIVE = "active"
    ENDED = "ended"


class IncreaseState(Enum):
    """Where a temporary increase is in its life."""

    SCHEDULED = "scheduled"
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class BudgetVersion:
    """What the budget is from `effective_at` until the next version's. note: why it was made."""

    number: int
    terms: BudgetTerms
    effective_at: datetime
    author: str
    created_at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True)
class BudgetIncrease:
    """An amount on top of the limit in `[start_at, end_at)`; revoking moves its end."""

    increase_id: str
    budget_id: str
    amount: Decimal
    start_at: datetime
    end_at: datetime
    reason: str
    author: str
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def ends_at(self) -> datetime:
        """The first instant at which it no longer counts."""
        return self.end_at if self.revoked_at is None else min(self.end_at, self.revoked_at)

    def counts_at(self, at: datetime) -> bool:
        """Tells whether it raises the limit at an instant."""
        return self.start_at <= at < self.ends_at

    def state_at(self, now: datetime) -> IncreaseState:
        """Returns where it is in its life."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return IncreaseState.REVOKED if self.revoked_at < self.end_at else IncreaseState.EXPIRED
        if now < self.start_at:
            return IncreaseState.SCHEDULED
        return IncreaseState.ACTIVE if now < self.end_at else IncreaseState.EXPIRED


@dataclass(frozen=True, slots=True)
class LimitParts:
    """What the version and the increases give at an instant, and until when it stays so.

    until: at latest the end of the period. Rollover is no part: it is the period's own row's.
    """

    version: int
    amount: Decimal
    increased: Decimal
    until: datetime


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget with all its versions, oldest effect first, and all its increases.

    started_at: first instant that counts; None for a draft that names none. ended_at: when it was
    deleted. revision: counts every change, for etags.
    """

    tenant_id: str
    budget_id: str
    versions: tuple[BudgetVersion, ...]
    created_by: str
    created_at: datetime
    is_draft: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    increases: tuple[BudgetIncrease, ...] = ()
    revision: int = 1

    @property
    def newest(self) -> BudgetVersion:
        """The version that was made last, in force or not."""
        return max(self.versions, key=lambda version: version.number)

    @property
    def etag(self) -> str:
        """Changes with every change of the budget."""
        return f"{self.budget_id}-{self.revision}"

    @property
    def currency_code(self) -> str:
        """The one currency of all versions."""
        return self.versions[0].terms.amount.currency_code

    @property
    def counts_until(self) -> datetime | None:
        """The first instant that no longer counts, None for none."""
        ends = [end for end in (self.newest.terms.end_at, self.ended_at) if end is not None]
        return min(ends, default=None)

    def version_at(self, at: datetime) -> BudgetVersion:
        """Returns the version in force; the first one for instants before it."""
        index = bisect_right(self.versions, at, key=lambda version: version.effective_at)
        return self.versions[max(index - 1, 0)]

    def state_at(self, now: datetime) -> BudgetState:
        """Returns where the budget is in its life."""
        until = self.counts_until
        if self.ended_at is not None or (until is not None and until <= now and not self.is_draft):
            return BudgetState.ENDED
        if self.is_draft:
            return BudgetState.DRAFT
        if self.started_at is not None and now < self.started_at:
            return BudgetState.SCHEDULED
        return BudgetState.ACTIVE

    def counts_at(self, at: datetime) -> bool:
        """Tells whether cost of an instant counts, the instant of a closed period included."""
        if self.is_draft or self.started_at is None or at < self.started_at:
            return False
        until = self.counts_until
        return until is None or at < until

    def period_at(self, at: datetime) -> Period | None:
        """Returns the period that holds an instant; None where no cost counts.

        It is cut where the budget begins or ends, and where a version with another rule begins.
        """
        if not self.counts_at(at) or self.started_at is None:
            return None
        period = self.version_at(at).terms.rule.period_at(at)
        if period is None:
            return None
        start, end = self._stretch(at)
        start = max(start, period.start)
        if end is None or period.end <= end:
            return period if start == period.start else Period(start, period.end)
        return Period(start, end)

    def _stretch(self, at: datetime) -> tuple[datetime, datetime | None]:
        """Returns from when to when the rule in force at an instant is in force."""
        position = self.versions.index(self.version_at(at))
        rule = self.versions[position].terms.rule
        first = position
        while first and self.versions[first - 1].terms.rule == rule:
            first -= 1
        last = position
        while last + 1 < len(self.versions) and self.versions[last + 1].terms.rule == rule:
            last += 1
        start = self.started_at or self.created_at
        if first:
            start = max(start, self.versions[first].effective_at)
        ends = [self.counts_until] if self.counts_until is not None else []
        if last + 1 < len(self.versions):
            ends.append(self.versions[last + 1].effective_at)
        return start, min(ends, default=None)

    def following(self, period: Period) -> Period | None:
        """Returns the period after one; None after the last."""
        return self.period_at(period.end)

    def preceding(self, period: Period) -> Period | None:
        """Returns the period before one; None before the first."""
        return self.period_at(period.start - _TICK)

    def periods_from(self, period: Period, until: datetime) -> Iterator[Period]:
        """Yields a period and those after it that begin at or before an instant."""
        current: Period | None = period
        while current is not None and current.start <= until:
            yield current
            current = self.following(current)

    def terms_of(self, period: Period, at: datetime) -> BudgetTerms:
        """Returns the terms of a period as of an instant, those of its end once it is over."""
        return self.version_at(_inside(period, at)).terms

    def limit_parts(self, period: Period, at: datetime) -> LimitParts:
        """Returns amount and increases of a period as of an instant, or of its last one."""
        inside = _inside(period, at)
        version = self.version_at(inside)
        turns = [each.effective_at for each in self.versions if each.effective_at > inside]
        for increase in self.increases:
            turns += [edge for edge in (increase.start_at, increase.ends_at) if edge > inside]
        counting = (each.amount for each in self.increases if each.counts_at(inside))
        return LimitParts(
            version.number,
            version.terms.amount.amount,
            add_exactly(counting),
            min([*turns, period.end]),
        )

    def rolled_out(self, row: BudgetPeriod) -> Decimal:
        """Returns what a period leaves to the next one; what it still holds counts as spent."""
        terms = self.version_at(row.period.end - _TICK).terms
        return terms.rollover.carried(row.totals.amount, row.totals.remaining)


def _inside(period: Period, at: datetime) -> datetime:
    return min(max(at, period.start), period.end - _TICK)


@dataclass(frozen=True, slots=True)
class PeriodTotals:
    """Figures of a budget in one period, all in its currency.

    limit = amount + rolled_over + increased; remaining = limit - spent - held.
    """

    amount: Decimal = Decimal(0)
    rolled_over: Decimal = Decimal(0)
    increased: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    excess: Decimal = Decimal(0)
    unpriced_events: int = 0

    @property
    def limit(self) -> Decimal:
        """The limit that counts."""
        return add_exactly((self.amount, self.rolled_over, self.increased))

    @property
    def remaining(self) -> Decimal:
        """What may still be authorized; negative after an overspend."""
        return add_exactly((self.limit, -self.spent, -self.held))

    @property
    def utilization(self) -> Decimal | None:
        """Spent / limit; None where carried overspend left no limit."""
        return EXACT.divide(self.spent, self.limit) if self.limit > 0 else None


@dataclass(frozen=True, slots=True)
class BudgetPeriod:
    """One period of one budget as it is stored.

    version: in force at the last change. limit_until: amount and increases hold before it only.
    filled_sequence: changes of the cost feed up to it are in `spent` already. closed_at: None while
    it is the running one; late usage still changes a closed one, never its limit.
    """

    budget_id: str
    period: Period
    version: int
    currency_code: str
    totals: PeriodTotals
    limit_until: datetime
    filled_sequence: str = ""
    closed_at: datetime | None = None
    denied_count: int = 0
    revision: int = 1
