"""Subscriptions: their states, their periods, and what a change does to the running one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from types import MappingProxyType

from services.billing.domain.billing_period import BillingCalendar
from services.billing.domain.plan import BillingInterval, Discount
from services.billing.errors import SubscriptionStateForbids
from services.kernel.period import Period


class SubscriptionState(Enum):
    """Where a subscription is in its life; the names are Stripe's."""

    INCOMPLETE = "incomplete"
    INCOMPLETE_EXPIRED = "incomplete_expired"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    PAUSED = "paused"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows it."""
        return not TRANSITIONS[self]


_S = SubscriptionState
TRANSITIONS: Mapping[SubscriptionState, frozenset[SubscriptionState]] = MappingProxyType(
    {
        _S.INCOMPLETE: frozenset({_S.INCOMPLETE_EXPIRED, _S.TRIALING, _S.ACTIVE, _S.CANCELED}),
        _S.TRIALING: frozenset({_S.ACTIVE, _S.PAST_DUE, _S.PAUSED, _S.CANCELED}),
        _S.ACTIVE: frozenset({_S.PAST_DUE, _S.PAUSED, _S.CANCELED}),
        _S.PAST_DUE: frozenset({_S.ACTIVE, _S.UNPAID, _S.PAUSED, _S.CANCELED}),
        _S.PAUSED: frozenset({_S.ACTIVE, _S.TRIALING, _S.CANCELED}),
        _S.UNPAID: frozenset({_S.ACTIVE, _S.CANCELED}),
        _S.CANCELED: frozenset(),
        _S.INCOMPLETE_EXPIRED: frozenset(),
    }
)


class TrialEndBehavior(Enum):
    """What happens at a trial's end without payment method."""

    PAUSE = "pause"
    CANCEL = "cancel"
    INVOICE = "invoice"


class PhaseMode(Enum):
    """What becomes of usage: BILLED is charged; of TRIAL and PAUSED it is shown only."""

    BILLED = "billed"
    TRIAL = "trial"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Which plan, quantity and mode held when. end_at: None while it lasts."""

    start_at: datetime
    plan_id: str
    plan_version: int
    quantity: Decimal
    mode: PhaseMode
    end_at: datetime | None = None

    def within(self, period: Period) -> Period | None:
        """Returns the part of a period that it held in, None for none of it."""
        start = max(self.start_at, period.start)
        end = period.end if self.end_at is None else min(self.end_at, period.end)
        return Period(start, end) if start < end else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTerms:
    """What waits for the next period."""

    plan_id: str
    plan_version: int
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """An account's use of a plan.

    anchored_on: the local day from whose month intervals count. period: the running one, which
    begins later than its calendar period where the subscription does. provider_subscription_id:
    what prices its metered charges there, "" where nothing does; changed by the worker alone.
    """

    tenant_id: str
    subscription_id: str
    account_id: str
    plan_id: str
    plan_version: int
    currency_code: str
    state: SubscriptionState
    started_at: datetime
    interval: BillingInterval
    billing_day: int
    time_zone: str
    anchored_on: date
    period: Period
    created_at: datetime
    updated_at: datetime
    quantity: Decimal = Decimal(1)
    trial_end_at: datetime | None = None
    trial_end_behavior: TrialEndBehavior = TrialEndBehavior.PAUSE
    cancel_at_period_end: bool = False
    discounts: tuple[Discount, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    coupon_codes: tuple[str, ...] = ()
    paused_at: datetime | None = None
    resume_at: datetime | None = None
    ended_at: datetime | None = None
    next_terms: NextTerms | None = None
    provider_subscription_id: str = ""
    revision: int = 1

    @property
    def calendar(self) -> BillingCalendar:
        """When its periods begin."""
        return BillingCalendar(self.interval, self.billing_day, self.time_zone, self.anchored_on)

    @property
    def full_period(self) -> Period:
        """The whole calendar period of the running one, which is shorter at the beginning."""
        return self.calendar.period(self.period.start)

    @property
    def mode(self) -> PhaseMode:
        """What becomes of its usage."""
        if self.state is SubscriptionState.TRIALING:
            return PhaseMode.TRIAL
        is_charged = self.state in (
            SubscriptionState.ACTIVE,
            SubscriptionState.PAST_DUE,
            SubscriptionState.UNPAID,
        )
        return PhaseMode.BILLED if is_charged else PhaseMode.PAUSED

    def moved(self, to: SubscriptionState, at: datetime) -> Subscription:
        """Returns the subscription in another state. Raises SubscriptionStateForbids."""
        if to not in TRANSITIONS[self.state]:
            raise SubscriptionStateForbids(
                f"A subscription that is {self.state.value} cannot become {to.value}.",
                subscription_id=self.subscription_id,
                state=self.state.value,
            )
        return replace(self, state=to, updated_at=at)

    def ended(self, at: datetime) -> Subscription:
        """Returns the subscription as it is after its end."""
        return replace(
            self.moved(SubscriptionState.CANCELED, at),
            ended_at=at,
            cancel_at_period_end=False,
            next_terms=None,
            resume_at=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionEvent:
    """One step in the life of a subscription. from_state: None at the beginning."""

    from_state: SubscriptionState | None
    to_state: SubscriptionState
    actor: str
    reason: str
    plan_id: str
    plan_version: int
    occurred_at: datetime
