"""Compares the totals of budget periods with thresholds, in the transaction that changed them.

Whoever changes `budget_period` has it evaluated afterwards, while the rows are still locked: so
each threshold of a period fires once, however many replicas count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.budget.domain.alert import (
    RESOLVE_RATIO,
    THRESHOLD_KINDS,
    AlertCause,
    AlertKind,
    threshold_message,
)
from services.budget.domain.budget import Budget, BudgetPeriod
from services.budget.domain.ledger_entry import Movement
from services.budget.domain.threshold import Basis, Severity
from services.budget.service.alert_life import AlertLife, Fired
from services.budget.store import alert_candidates, alerts
from services.budget.store.alert_candidates import PeriodKey
from services.kernel.clock import Clock
from services.kernel.database import Transaction
from services.kernel.money import EXACT, Money, add_exactly
from services.kernel.period import Period


@dataclass(frozen=True, slots=True)
class MovedPeriod:
    """A locked period before and after a transaction's movements."""

    tenant_id: str
    budget: Budget
    before: BudgetPeriod
    after: BudgetPeriod

    @property
    def key(self) -> PeriodKey:
        """Which period it is."""
        return PeriodKey(self.tenant_id, self.after.budget_id, self.after.period.start)

    def crosses(self, now: datetime) -> bool:
        """Tells whether the totals are on another side of a threshold, or of where it resolves."""
        terms = self.budget.terms_of(self.after.period, now)
        limit = self.after.totals.limit
        amounts = [
            (each.basis, EXACT.multiply(each.ratio, limit))
            for each in terms.thresholds
            if each.basis is not Basis.FORECAST
        ]
        return any(
            _side(self.before, basis, amount) != _side(self.after, basis, amount)
            for basis, amount in amounts
        )

    def incidents(self) -> Iterator[tuple[AlertKind, Severity, str]]:
        """Yields what happened; of each kind only the first of the period becomes an alert."""
        before, after, name = self.before, self.after, self.budget.newest.terms.display_name
        if after.denied_count and not before.denied_count:
            text = f"{name} refused work that would have passed its limit."
            yield AlertKind.LIMIT_DENIAL, Severity.CRITICAL, text
        if after.totals.excess > before.totals.excess and after.totals.remaining < 0:
            text = f"Work covered by {name} cost more than was held for it, and passed the limit."
            yield AlertKind.SETTLEMENT_EXCESS, Severity.WARNING, text
        if after.totals.unpriced_events and not before.totals.unpriced_events:
            text = f"Usage covered by {name} has no price yet, and does not count until it has."
            yield AlertKind.UNPRICED_USAGE, Severity.WARNING, text


def _side(row: BudgetPeriod, basis: Basis, amount: Decimal) -> tuple[bool, bool]:
    totals = row.totals
    seen = totals.spent if basis is Basis.ACTUAL else EXACT.add(totals.spent, totals.held)
    return seen >= amount, seen < EXACT.multiply(amount, RESOLVE_RATIO)


def quiet_until(budget: Budget, row: BudgetPeriod, now: datetime) -> Decimal:
    """Returns the committed amount at which holds next reach a threshold of the row's period.

    It stands until the row's `limit_until`. Infinity when there is none above what is committed.
    """
    limit = row.totals.limit
    committed = EXACT.add(row.totals.spent, row.totals.held)
    amounts = [
        EXACT.multiply(each.ratio, limit)
        for each in budget.terms_of(row.period, now).thresholds
        if each.basis is Basis.COMMITTED
    ]
    edges = [*amounts, *(EXACT.multiply(amount, RESOLVE_RATIO) for amount in amounts)]
    return min((edge for edge in edges if edge > committed), default=Decimal("Infinity"))


class Evaluator:
    """Fires, reopens and resolves alerts of thresholds."""

    def __init__(self, life: AlertLife, *, clock: Clock) -> None:
        """Takes what fires alerts."""
        self._life = life
        self._clock = clock

    async def evaluate(
        self, tx: Transaction, moved: Sequence[MovedPeriod], movements: Sequence[Movement]
    ) -> None:
        """Evaluates periods whose totals moved; without a query while no threshold is crossed.

        movements: in the order in which they counted; the one that reaches a threshold is named in
        the alert.
        """
        now = self._clock.now()
        crossing = {each.key for each in moved if each.crosses(now)}
        if crossing:
            by_period: dict[PeriodKey, list[Movement]] = defaultdict(list)
            for movement in movements:
                key = PeriodKey(movement.tenant_id, movement.budget_id, movement.period_start)
                by_period[key].append(movement)
            await self._evaluate(tx, dict.fromkeys(sorted(crossing)), by_period)
        for each in moved:
            for kind, severity, message in each.incidents():
                await self.report(tx, each.key, kind, message, severity=severity)

    async def evaluate_rows(
        self, tx: Transaction, tenant_id: str, rows: Sequence[BudgetPeriod]
    ) -> None:
        """Evaluates locked periods whose limit or thresholds changed, or that were filled."""
        keys = [PeriodKey(tenant_id, row.budget_id, row.period.start) for row in rows]
        await self._evaluate(tx, dict.fromkeys(keys), {})

    async def evaluate_forecasts(
        self, tx: Transaction, forecasts: Mapping[PeriodKey, Decimal | None]
    ) -> None:
        """Evaluates periods whose forecast changed.

        forecasts: what is expected at a period's end, in the budget's currency.
        """
        await self._evaluate(tx, forecasts, {})

    async def report(
        self,
        tx: Transaction,
        key: PeriodKey,
        kind: AlertKind,
        message: str,
        *,
        severity: Severity = Severity.WARNING,
        observed: Decimal | None = None,
    ) -> None:
        """Fires an alert about something else than a threshold, once in the budget's period.

        kind: LIMIT_DENIAL, SETTLEMENT_EXCESS, UNPRICED_USAGE or LEDGER_DRIFT. message: a sentence.
        """
        row = await alert_candidates.about_period(tx, key)
        if row is None:
            return
        code = row["currency_code"]
        cause = AlertCause(
            budget_id=key.budget_id,
            display_name=row["display_name"],
            kind=kind,
            severity=severity,
            message=message,
            period=Period(key.period_start, row["period_end"]),
            observed=Money(code, row["spent"] if observed is None else observed),
            limit=Money(code, row["limit_amount"]),
            department_id=row["department_id"],
        )
        await self._life.fire(tx, [_fired(key.tenant_id, cause, row)], at=self._clock.now())

    async def _evaluate(
        self,
        tx: Transaction,
        forecasts: Mapping[PeriodKey, Decimal | None],
        movements: Mapping[PeriodKey, Sequence[Movement]],
    ) -> None:
        now = self._clock.now()
        fired: list[tuple[str, Fired]] = []
        for row in await alert_candidates.candidates(tx, forecasts):
            key = PeriodKey(row["tenant_id"], row["budget_id"], row["period_start"])
            cause = _cause(row, movements.get(key, ()))
            if row["alert_id"] is None:
                fired.append((cause.feed_sequence, _fired(key.tenant_id, cause, row)))
                continue
            stored = await alerts.lock_alert(tx, key.tenant_id, row["alert_id"])
            if stored is None or stored.alert.state.value != row["state"]:
                continue
            if stored.alert.state.is_closed:
                await self._life.reopen(tx, stored, cause, at=now)
            else:
                await self._life.auto_resolve(tx, stored, at=now)
        # By the event that reached each; rows come by threshold, which a stable sort keeps.
        fired.sort(key=lambda pair: pair[0])
        await self._life.fire(tx, [each for _, each in fired], at=now)


def _fired(tenant_id: str, cause: AlertCause, row: Any) -> Fired:
    own = row.get("channel_ids", [])
    return Fired(
        tenant_id,
        cause,
        channel_ids=tuple(own or row["budget_channels"]),
        recipients=tuple(row["recipients"]),
        escalation_policy_id=row["escalation_policy_id"],
    )


def _cause(row: Any, movements: Sequence[Movement]) -> AlertCause:
    basis, ratio = Basis(row["basis"]), row["ratio"]
    limit = Money(row["currency_code"], row["limit_amount"])
    observed = row["observed"]
    event = _crossing(movements, basis, observed, EXACT.multiply(ratio, limit.amount))
    seen = Money(row["currency_code"], observed)
    return AlertCause(
        budget_id=row["budget_id"],
        display_name=row["display_name"],
        kind=THRESHOLD_KINDS[basis],
        severity=Severity(row["severity"]),
        message=threshold_message(
            row["display_name"], basis=basis, ratio=ratio, observed=seen, limit=limit
        ),
        period=Period(row["period_start"], row["period_end"]),
        threshold_ratio=ratio,
        basis=basis,
        observed=seen,
        limit=limit,
        usage_event_id="" if event is None else event.usage_event_id,
        feed_sequence="" if event is None else event.feed_sequence,
        department_id=row["department_id"],
    )


def _crossing(
    movements: Sequence[Movement], basis: Basis, total: Decimal, amount: Decimal
) -> Movement | None:
    """Returns the movement with which a total reached an amount; None when none of them did.

    total: after all movements.
    """
    if basis is Basis.FORECAST or not movements:
        return None
    changes = [
        each.spent_change
        if basis is Basis.ACTUAL
        else EXACT.add(each.spent_change, each.held_change)
        for each in movements
    ]
    reached = EXACT.subtract(total, add_exactly(changes))
    for movement, change in zip(movements, changes, strict=True):
        before, reached = reached, EXACT.add(reached, change)
        if before < amount <= reached:
            return movement
    return None
