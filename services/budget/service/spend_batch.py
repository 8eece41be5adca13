"""One batch of calls in one transaction, decided in the order in which they came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Context, Decimal
from typing import TypeAlias

from services.budget.domain.budget import Budget, BudgetPeriod
from services.budget.domain.decision import Account, Asked, CoveringBudget, decide, hold
from services.budget.domain.estimate import bucket_of
from services.budget.domain.ledger_entry import LedgerEntryKind, Movement
from services.budget.domain.settlement import (
    Conversion,
    Ending,
    Hold,
    OpenAuthorization,
    release,
    settle,
)
from services.budget.domain.spend import (
    AuthorizationState,
    SpendAuthorization,
    SpendDecision,
)
from services.budget.domain.spend_errors import AuthorizationNotFound, SpendRequestIdReused
from services.budget.domain.terms import Enforcement, UnpricedPolicy
from services.budget.service.budget_index import BudgetIndex, Covering
from services.budget.service.spend_request import Ask, Operation, Release, Settle
from services.budget.store.accounts import AccountKey, LockedAccount
from services.budget.store.authorizations import (
    Answered,
    NewAuthorization,
    StoredAuthorization,
)
from services.budget.store.cost_history import CostSample
from services.kernel.errors import Error
from services.kernel.exchange import ExchangeRates
from services.kernel.ids import new_id
from services.kernel.money import EXACT, Money

Answer: TypeAlias = SpendAuthorization | Error
_Triple: TypeAlias = tuple[CoveringBudget, Account, Asked]
_ZERO = Decimal(0)
_SHOWN = Context(prec=28)  # as the usage service shows rates
_NEVER_CLAIMED = (AuthorizationState.RELEASED, AuthorizationState.DENIED)


@dataclass(frozen=True, slots=True)
class BatchView:
    """What a batch decides on. answered, ended: by (tenant_id, request_id) of earlier calls."""

    now: datetime
    indexes: Mapping[str, BudgetIndex]
    covering: Sequence[Sequence[Covering]]
    accounts: Mapping[AccountKey, LockedAccount]
    targets: dict[tuple[str, str], StoredAuthorization]
    answered: dict[tuple[str, str], Answered]
    ended: dict[tuple[str, str], StoredAuthorization]


class SpendBatch:
    """Decides the operations of a batch on locked figures and collects what to write."""

    def __init__(self, view: BatchView, rates: ExchangeRates) -> None:
        """Takes the locked figures, which the batch moves as it decides."""
        self.view = view
        self._rates = rates
        self.news: list[NewAuthorization] = []
        self.endings: dict[tuple[str, str], OpenAuthorization] = {}
        self.movements: list[Movement] = []
        self.denied: Counter[AccountKey] = Counter()
        self.throttled: dict[AccountKey, datetime] = {}
        self.samples: Counter[CostSample] = Counter()

    def answer(self, place: int, operation: Operation) -> Answer:
        """Decides one operation; an error of it leaves the others alone."""
        try:
            if isinstance(operation, Ask):
                return self._ask(place, operation)
            return self._end(operation)
        except Error as error:
            return error

    def _ask(self, place: int, ask: Ask) -> SpendAuthorization:
        key = (ask.tenant_id, ask.request_id)
        before = self.view.answered.get(key) if ask.request_id else None
        if before is not None:
            if before.digest != ask.digest:
                raise SpendRequestIdReused(request_id=ask.request_id)
            return before.authorization
        covering = self._triples(ask, self.view.covering[place])
        decision = decide(ask.estimate, [triple for _, triple in covering], self.view.now)
        authorization = self._authorization(ask, decision)
        if ask.is_trial:
            return authorization
        holds: tuple[Hold, ...] = ()
        if decision.outcome.is_allowed:
            holds = self._hold(ask, covering, authorization.authorization_id)
        else:
            blocking = {check.budget_id for check in decision.checks if check.is_blocking}
            self.denied.update(key for key, _ in covering if key.budget_id in blocking)
        is_claimed = bool(ask.usage_event_id) and decision.outcome.is_allowed
        new = NewAuthorization(
            authorization, holds, ask.digest, self.view.now if is_claimed else None
        )
        self.news.append(new)
        if ask.request_id and decision.outcome.is_allowed:
            # A refusal had no effect, so a repetition of it is decided anew.
            self.view.answered[key] = Answered(authorization, ask.digest)
        return authorization

    def _hold(
        self, ask: Ask, covering: Sequence[tuple[AccountKey, _Triple]], authorization_id: str
    ) -> tuple[Hold, ...]:
        """Takes the amount into the locked figures, and returns what each budget holds of it."""
        hold([triple for _, triple in covering], self.view.now)
        holds = []
        for key, (budget, account, asked) in covering:
            if budget.throttle is not None and account.throttled_until is not None:
                self.throttled[key] = account.throttled_until
            holds.append(Hold(key.budget_id, key.period_start, budget.currency_code, asked.amount))
            if not asked.amount:
                continue
            is_converted = asked.rate is not None
            self.movements.append(
                Movement(
                    *key,
                    LedgerEntryKind.HOLD,
                    budget.currency_code,
                    held_change=asked.amount,
                    source_currency=ask.estimate.amount.currency_code if is_converted else "",
                    source_amount=ask.estimate.amount.amount if is_converted else None,
                    rate=asked.rate,
                    rate_date=asked.rate_date,
                    authorization_id=authorization_id,
                    usage_event_id=ask.usage_event_id,
                )
            )
        return tuple(holds)

    def _triples(self, ask: Ask, covering: Sequence[Covering]) -> list[tuple[AccountKey, _Triple]]:
        found = []
        for one in covering:
            key = AccountKey(ask.tenant_id, one.budget.budget_id, one.period.start)
            locked = self.view.accounts.get(key)
            if locked is None:
                continue
            converted = self.convert(ask.estimate.amount, one.budget.currency_code)
            asked = Asked(converted.amount, converted.rate, converted.rate_date)
            if locked.budget is None:
                locked.budget = covering_budget(one.budget, locked.row, self.view.now)
            found.append((key, (locked.budget, locked.account, asked)))
        return found

    def _authorization(self, ask: Ask, decision: SpendDecision) -> SpendAuthorization:
        now = self.view.now
        is_allowed = decision.outcome.is_allowed
        asked = ask.estimate.amount
        return SpendAuthorization(
            ask.tenant_id,
            "" if ask.is_trial else new_id(),
            AuthorizationState.HELD if is_allowed else AuthorizationState.DENIED,
            ask.subject,
            decision,
            asked if is_allowed else Money(asked.currency_code, _ZERO),
            now,
            now + ask.hold_for,
            ask.request_id,
            ask.usage_source,
            ask.usage_event_id,
            ended_at=None if is_allowed else now,
        )

    def _end(self, operation: Settle | Release) -> SpendAuthorization:
        request = (operation.tenant_id, _end_request(operation))
        before = self.view.ended.get(request) if operation.request_id else None
        if before is not None:
            if before.open.end_digest != operation.digest:
                raise SpendRequestIdReused(request_id=operation.request_id)
            return before.authorization
        key = (operation.tenant_id, operation.authorization_id)
        target = self.view.targets.get(key)
        if target is None:
            raise AuthorizationNotFound(authorization_id=operation.authorization_id)
        ending = self._ending(target.open, operation)
        opened = ending.authorization
        if operation.request_id:
            opened = opened._replace(end_request_id=request[1], end_digest=operation.digest)
        ended = self.end(target, replace_authorization(ending, opened))
        if operation.request_id:
            self.view.ended[request] = ended
        if isinstance(operation, Settle):
            self._sample(ended.authorization, operation)
        return ended.authorization

    def end(self, target: StoredAuthorization, ending: Ending) -> StoredAuthorization:
        """Takes an ending into the locked figures and notes it for writing."""
        opened = ending.authorization
        key = (opened.tenant_id, opened.authorization_id)
        for movement in ending.movements:
            account = self.view.accounts[AccountKey(*movement[:3])].account
            account.spent = EXACT.add(account.spent, movement.spent_change)
            account.held = EXACT.add(account.held, movement.held_change)
        self.movements += ending.movements
        self.endings[key] = opened
        stored = target._replace(authorization=told(target.authorization, opened), open=opened)
        self.view.targets[key] = stored
        return stored

    def _sample(self, authorization: SpendAuthorization, settle: Settle) -> None:
        """Learns what such work costs, for later estimates."""
        subject, cost = authorization.subject, settle.cost
        upper = bucket_of(cost.amount)
        for resource_id in {subject.resource_id, ""}:
            sample = CostSample(
                settle.tenant_id, subject.resource_type, resource_id, cost.currency_code, upper
            )
            self.samples[sample] += 1

    def _ending(self, opened: OpenAuthorization, operation: Settle | Release) -> Ending:
        if isinstance(operation, Release):
            return release(opened, self.view.now, operation.release_reason)
        return settle(
            opened,
            operation.cost,
            self.view.now,
            self.convert,
            usage_source=operation.usage_source,
            usage_event_id=operation.usage_event_id,
        )

    def convert(self, money: Money, currency_code: str) -> Conversion:
        """Returns an amount in a budget's currency by today's rate. Raises MissingRate."""
        if money.currency_code == currency_code or not money.amount:
            return Conversion(money.amount)
        rate = self._rates.rate(money.currency_code, currency_code, self.view.now.date())
        return Conversion(
            rate.convert(money.amount), _SHOWN.plus(rate.rate), rate.rate_date.isoformat()
        )

    def claims(self) -> list[tuple[OpenAuthorization, datetime | None]]:
        """Returns what ended, each with the instant from which its usage event is looked for."""
        return [(opened, claim_at(opened, self.view.now)) for opened in self.endings.values()]


def replace_authorization(ending: Ending, opened: OpenAuthorization) -> Ending:
    """Returns the ending with another authorization after it."""
    return replace(ending, authorization=opened)


def claim_at(opened: OpenAuthorization, now: datetime) -> datetime | None:
    """Returns when to look for the usage event of an authorization, None for never."""
    is_awaited = opened.usage_event_id and not opened.is_replaced
    return now if is_awaited and opened.state not in _NEVER_CLAIMED else None


def told(authorization: SpendAuthorization, opened: OpenAuthorization) -> SpendAuthorization:
    """Returns the authorization as it is after its ending."""
    return authorization._replace(
        state=opened.state,
        settled=opened.settled,
        excess=opened.excess,
        is_settled_late=opened.is_settled_late,
        usage_source=opened.usage_source,
        usage_event_id=opened.usage_event_id,
        ended_at=opened.ended_at,
    )


def end_requests(operations: Sequence[Operation]) -> list[tuple[str, str]]:
    """Returns the (tenant_id, request) of the settlements and releases that have one."""
    return [
        (each.tenant_id, _end_request(each))
        for each in operations
        if not isinstance(each, Ask) and each.request_id
    ]


def _end_request(operation: Settle | Release) -> str:
    """Returns the request id as it is stored: each method has ids of its own."""
    kind = "settle" if isinstance(operation, Settle) else "release"
    return f"{kind}:{operation.request_id}"


def covering_budget(budget: Budget, row: BudgetPeriod, now: datetime) -> CoveringBudget:
    """Returns what a decision has to know of a budget, until the row's `limit_until`."""
    terms = budget.terms_of(row.period, now)
    following = budget.following(row.period)
    return CoveringBudget(
        budget_id=budget.budget_id,
        display_name=terms.display_name,
        version=row.version,
        enforcement=terms.enforcement,
        currency_code=row.currency_code,
        period=row.period,
        reset_at=None if following is None else following.start,
        denies_unpriced=terms.unpriced_policy is UnpricedPolicy.DENY,
        throttle=terms.throttle if terms.enforcement is Enforcement.THROTTLE else None,
    )
