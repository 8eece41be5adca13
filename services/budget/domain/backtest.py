"""What a budget would have done over past usage: alerts, blocks, and how each period ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from services.budget.domain.budget import PeriodTotals
from services.budget.domain.calendar import midnight_before
from services.budget.domain.forecast import HISTORY_DAYS_MAX, forecast
from services.budget.domain.status import DAY
from services.budget.domain.terms import BudgetTerms, Enforcement
from services.budget.domain.threshold import Basis, Threshold
from services.kernel.money import EXACT
from services.kernel.period import Period

BLOCKS_MAX: Final = 1000  # told one by one; the totals count all
_ZERO: Final = Decimal(0)
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class ReplayedEvent:
    """One usage event in scope. cost: in the budget's currency."""

    event_id: str
    at: datetime
    cost: Decimal
    is_unpriced: bool = False


@dataclass(frozen=True, slots=True)
class ReplayedAlert:
    """An alert that would have fired. event_id: "" for a forecast."""

    threshold: Threshold
    period: Period
    at: datetime
    spent: Decimal
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class ReplayedBlock:
    """Work that would have been stopped. remaining: what the budget had left then."""

    period: Period
    event: ReplayedEvent
    remaining: Decimal


@dataclass(frozen=True, slots=True)
class ReplayedPeriod:
    """How a period would have ended. rolled_out: carried into the next one."""

    period: Period
    totals: PeriodTotals
    rolled_out: Decimal
    alert_count: int
    blocked_count: int


@dataclass(slots=True)
class Backtest:
    """What was found so far; `spent` is the cost of all events, the stopped ones included."""

    event_count: int = 0
    spent: Decimal = _ZERO
    blocked_count: int = 0
    blocked_cost: Decimal = _ZERO
    alerts: list[ReplayedAlert] = field(default_factory=list)
    blocks: list[ReplayedBlock] = field(default_factory=list)
    periods: list[ReplayedPeriod] = field(default_factory=list)


class Replay:
    """Replays events, oldest first, under the same terms from beginning to end.

    Work that a hard limit or a throttle stops costs nothing: it would not have been done. Nothing
    is held, so committed spend is actual spend. Forecasts are made at each local midnight.
    """

    def __init__(self, terms: BudgetTerms) -> None:
        """Takes what is tried."""
        self.found = Backtest()
        self._terms = terms
        self._period: Period | None = None
        self._rolled_over = _ZERO
        self._spent = _ZERO
        self._unpriced = 0
        self._blocked = 0
        self._fired: set[Threshold] = set()
        self._days: list[Decimal] = []
        self._today: datetime | None = None
        self._tokens = Decimal(1)
        self._refilled_at: datetime | None = None
        self._forecasts = [each for each in terms.thresholds if each.basis is Basis.FORECAST]

    def add(self, event: ReplayedEvent) -> None:
        """Replays the next event; those outside of all periods do not count."""
        period = self._terms.rule.period_at(event.at)
        if period is None:
            return
        if self._period is None or event.at >= self._period.end:
            self._turn(period)
        self._pass_days(event.at)
        self.found.event_count += 1
        self.found.spent = EXACT.add(self.found.spent, event.cost)
        self._unpriced += event.is_unpriced
        if self._is_stopped(event):
            self._stop(period, event)
            return
        self._spent = EXACT.add(self._spent, event.cost)
        self._days[-1] = EXACT.add(self._days[-1], event.cost)
        for threshold in self._terms.thresholds:
            if threshold.basis is not Basis.FORECAST:
                self._fire(threshold, self._spent, event.at, event.event_id)

    def finish(self, end: datetime) -> Backtest:
        """Ends the replay at an instant and returns what was found."""
        if self._period is not None:
            self._pass_days(min(end, self._period.end) - timedelta(microseconds=1))
            self._end_period()
        return self.found

    @property
    def _limit(self) -> Decimal:
        return EXACT.add(self._terms.amount.amount, self._rolled_over)

    def _turn(self, period: Period) -> None:
        """Ends the running period, and those after it without an event, up to the one given."""
        while self._period is not None and self._period.end < period.start:
            following = self._terms.rule.period_at(self._period.end)
            if following is None:
                break
            self._begin(following)
        self._begin(period)

    def _begin(self, period: Period) -> None:
        if self._period is not None:
            self._pass_days(self._period.end - timedelta(microseconds=1))
            self._rolled_over = self._end_period()
        self._period = period
        self._spent, self._unpriced, self._blocked = _ZERO, 0, 0
        self._fired = set()

    def _end_period(self) -> Decimal:
        if self._period is None:
            return _ZERO
        totals = PeriodTotals(
            amount=self._terms.amount.amount,
            rolled_over=self._rolled_over,
            spent=self._spent,
            unpriced_events=self._unpriced,
        )
        rolled_out = self._terms.rollover.carried(totals.amount, totals.remaining)
        ended = ReplayedPeriod(self._period, totals, rolled_out, len(self._fired), self._blocked)
        self.found.periods.append(ended)
        return rolled_out

    def _pass_days(self, at: datetime) -> None:
        """Begins each local day up to an instant, with a forecast at its midnight."""
        zone = self._terms.rule.time_zone
        if self._today is None:
            self._today = midnight_before(at, zone)
            self._days.append(_ZERO)
        while (tomorrow := midnight_before(self._today + 1.5 * DAY, zone)) <= at:
            self._today = tomorrow
            if self._forecasts and self._period is not None and tomorrow < self._period.end:
                self._foresee(tomorrow, self._period)
            self._days.append(_ZERO)
            del self._days[: -HISTORY_DAYS_MAX - 1]

    def _foresee(self, at: datetime, period: Period) -> None:
        waiting = [each for each in self._forecasts if each not in self._fired]
        if not waiting or at < period.start:
            return
        expected = forecast(self._days, spent=self._spent, days_left=(period.end - at) / DAY)
        for threshold in waiting:
            self._fire(threshold, expected.expected, at, "")

    def _fire(self, threshold: Threshold, observed: Decimal, at: datetime, event_id: str) -> None:
        reached = observed >= EXACT.multiply(self._limit, threshold.ratio)
        if threshold in self._fired or not reached or self._period is None:
            return
        self._fired.add(threshold)
        self.found.alerts.append(ReplayedAlert(threshold, self._period, at, self._spent, event_id))

    def _is_stopped(self, event: ReplayedEvent) -> bool:
        match self._terms.enforcement:
            case Enforcement.HARD:
                return event.cost > 0 and EXACT.add(self._spent, event.cost) > self._limit
            case Enforcement.THROTTLE:
                return self._is_throttled(event)
            case Enforcement.ALERT:
                return False

    def _is_throttled(self, event: ReplayedEvent) -> bool:
        """Takes a token of the throttle's bucket; beyond its start there is one a while."""
        throttle = self._terms.throttle
        if self._spent < EXACT.multiply(self._limit, throttle.start_ratio):
            return False
        rate = throttle.authorizations_per_second
        if self._refilled_at is not None:
            passed = Decimal((event.at - self._refilled_at) / _SECOND)
            self._tokens = min(self._tokens + passed * rate, max(rate, Decimal(1)))
        self._refilled_at = event.at
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return False

    def _stop(self, period: Period, event: ReplayedEvent) -> None:
        self._blocked += 1
        self.found.blocked_count += 1
        self.found.blocked_cost = EXACT.add(self.found.blocked_cost, event.cost)
        if len(self.found.blocks) < BLOCKS_MAX:
            left = EXACT.subtract(self._limit, self._spent)
            self.found.blocks.append(ReplayedBlock(period, event, left))
