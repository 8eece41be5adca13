"""What every step of a subscription has in common: terms, row, phase, event, lines, journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction

from services.billing.domain.charges import flat_line
from services.billing.domain.coupon import Coupon
from services.billing.domain.invoice import ExactLine, LineKind
from services.billing.domain.journal import BillingFact, FactKind
from services.billing.domain.proration import Terms, change_lines
from services.billing.domain.subscription import (
    NextTerms,
    Phase,
    PhaseMode,
    Subscription,
    SubscriptionEvent,
)
from services.billing.errors import CouponNotFound, CouponNotRedeemable, PlanNotFound
from services.billing.service.journal import Journal
from services.billing.store import coupons as coupon_rows
from services.billing.store import pending_lines as line_rows
from services.billing.store import plans as plan_rows
from services.billing.store import subscriptions as rows
from services.kernel.caller import caller_or_none
from services.kernel.database import Transaction
from services.kernel.period import Period

SYSTEM = "system"


class Lifecycle:
    """Stores the steps of subscriptions, inside the transactions of others."""

    def __init__(self, journal: Journal) -> None:
        """Takes the journal, which tells of every step."""
        self._journal = journal

    async def terms(
        self, tx: Transaction, subscription: Subscription, other: NextTerms | None = None
    ) -> Terms:
        """Returns what a subscription pays in advance, or would under other terms.

        Raises PlanNotFound, PlanCurrencyMissing.
        """
        wanted = other or NextTerms(
            plan_id=subscription.plan_id,
            plan_version=subscription.plan_version,
            quantity=subscription.quantity,
        )
        plan = await plan_rows.find_plan(tx, wanted.plan_id, wanted.plan_version)
        if plan is None:
            raise PlanNotFound(plan_id=wanted.plan_id, version=wanted.plan_version)
        coupons = await coupon_rows.coupon_discounts(
            tx, subscription.tenant_id, subscription.subscription_id
        )
        return Terms(
            plan_id=plan.plan_id,
            plan_version=plan.version,
            display_name=plan.display_name,
            rates=plan.rates_in(subscription.currency_code),
            quantity=wanted.quantity,
            discounts=(*subscription.discounts, *coupons),
        )

    async def load(
        self, tx: Transaction, tenant_id: str, *, subscription_id: str = "", account_id: str = ""
    ) -> Subscription | None:
        """Returns a subscription, locked, with its coupons; None where there is none."""
        found = await rows.find_subscription(
            tx, tenant_id, subscription_id=subscription_id, account_id=account_id, is_locked=True
        )
        return None if found is None else await with_coupons(tx, found)

    async def store(
        self,
        tx: Transaction,
        before: Subscription,
        after: Subscription,
        *,
        at: datetime,
        reason: str = "",
        title: str = "",
    ) -> Subscription:
        """Stores a changed subscription, and returns it in its new revision.

        title: of the entry in the account's time line; "" where a step is no entry.
        """
        after = replace(after, revision=before.revision + 1, updated_at=at)
        await rows.update_subscription(tx, after)
        if _held(before) != _held(after):
            await self._begin_phase(tx, after, at)
        await self._tell(tx, before, after, at=at, reason=reason, title=title)
        return after

    async def begin(self, tx: Transaction, subscription: Subscription) -> None:
        """Tells of a subscription that was just added."""
        at = subscription.started_at
        await self._begin_phase(tx, subscription, at)
        await self._tell(
            tx, None, subscription, at=at, reason="", title=f"Subscribed to {subscription.plan_id}"
        )

    async def charge_period(
        self, tx: Transaction, subscription: Subscription, terms: Terms, period: Period
    ) -> None:
        """Adds the fee of a whole period, in advance, to the next invoice."""
        lines = fee_lines(terms, period)
        await self.charge(tx, subscription, lines, at=period.start, change="")

    async def charge_change(
        self,
        tx: Transaction,
        subscription: Subscription,
        old: Terms | None,
        new: Terms | None,
        *,
        at: datetime,
    ) -> list[ExactLine]:
        """Adds what a change in the running period credits and charges to the next invoice."""
        lines = change_lines(old, new, subscription.full_period, at)
        change = f"{subscription.subscription_id}:{subscription.revision}"
        await self.charge(tx, subscription, lines, at=at, change=change)
        return lines

    async def charge(
        self,
        tx: Transaction,
        subscription: Subscription,
        lines: Sequence[ExactLine],
        *,
        at: datetime,
        change: str,
    ) -> None:
        """Adds lines to the account's next invoice."""
        await line_rows.add_pending(
            tx,
            subscription.tenant_id,
            subscription.account_id,
            lines,
            currency_code=subscription.currency_code,
            at=at,
            subscription_id=subscription.subscription_id,
            change=change,
        )

    async def redeem(
        self, tx: Transaction, subscription: Subscription, code: str, *, at: datetime
    ) -> Subscription:
        """Redeems a coupon for a subscription. Raises CouponNotFound, CouponNotRedeemable."""
        coupon = await fitting_coupon(tx, subscription, code)
        ends_at = coupon_end(coupon, subscription)
        redeemed = await coupon_rows.redeem(tx, coupon, subscription.subscription_id, at, ends_at)
        if not redeemed:
            raise CouponNotRedeemable(code=coupon.code)
        return replace(subscription, coupon_codes=(*subscription.coupon_codes, coupon.code))

    async def _begin_phase(self, tx: Transaction, subscription: Subscription, at: datetime) -> None:
        phase = Phase(
            start_at=at,
            plan_id=subscription.plan_id,
            plan_version=subscription.plan_version,
            quantity=subscription.quantity,
            mode=subscription.mode,
        )
        await rows.begin_phase(
            tx,
            subscription.tenant_id,
            subscription.subscription_id,
            None if subscription.state.is_final else phase,
            at,
        )

    async def _tell(
        self,
        tx: Transaction,
        before: Subscription | None,
        after: Subscription,
        *,
        at: datetime,
        reason: str,
        title: str,
    ) -> None:
        caller = caller_or_none()
        event = SubscriptionEvent(
            from_state=None if before is None else before.state,
            to_state=after.state,
            actor=SYSTEM if caller is None else caller.subject,
            reason=reason,
            plan_id=after.plan_id,
            plan_version=after.plan_version,
            occurred_at=at,
        )
        if before is None or title or before.state is not after.state:
            await rows.add_event(tx, after.tenant_id, after.subscription_id, event)
        await self._journal.record(
            tx,
            BillingFact(
                kind=FactKind.SUBSCRIPTION,
                resource_id=after.subscription_id,
                account_id=after.account_id,
                subscription_id=after.subscription_id,
                from_state="" if before is None else before.state.value,
                to_state=after.state.value,
                title=title,
                occurred_at=at,
            ),
            tenant_id=after.tenant_id,
        )


def fee_lines(terms: Terms, period: Period) -> list[ExactLine]:
    """Returns the flat fee of a whole period and the discounts by ratio that hold at its start.

    They are fixed here: what is changed later changes no fee that was charged.
    """
    lines = flat_line(
        terms.rates, terms.quantity, period, name=terms.display_name, plan_id=terms.plan_id
    )
    if not lines:
        return []
    flat = replace(lines[0], is_net=True)
    made, left = [flat], flat.exact
    for discount in (*terms.rates.discounts, *terms.discounts):
        if discount.ratio is None or not discount.covers("", period.start):
            continue
        part = left * Fraction(discount.ratio)
        left -= part
        line = ExactLine(
            key=f"discount:{discount.source_id}:{flat.key}",
            kind=LineKind.DISCOUNT,
            description=f"{discount.display_name}: {terms.display_name}",
            exact=-part,
            period=period,
            is_discountable=False,
            reduces=flat.key,
        )
        made.append(line)
    return made


async def with_coupons(tx: Transaction, subscription: Subscription) -> Subscription:
    """Returns the subscription with the codes of its coupons that still run."""
    found = await coupon_rows.redeemed(tx, subscription.tenant_id, subscription.subscription_id)
    codes = tuple(
        coupon.code
        for coupon, ends_at in found
        if ends_at is None or subscription.period.start < ends_at
    )
    return replace(subscription, coupon_codes=codes)


async def fitting_coupon(tx: Transaction, subscription: Subscription, code: str) -> Coupon:
    """Returns the coupon of a code.

    Raises CouponNotFound, CouponNotRedeemable for one of other plans or another currency.
    """
    coupon = await coupon_rows.find_coupon(tx, code=code)
    if coupon is None:
        raise CouponNotFound(code=code)
    is_other_plan = bool(coupon.plan_ids) and subscription.plan_id not in coupon.plan_ids
    amount = coupon.amount
    is_other_money = amount is not None and amount.currency_code != subscription.currency_code
    if is_other_plan or is_other_money:
        raise CouponNotRedeemable(code=coupon.code, plan_id=subscription.plan_id)
    return coupon


def coupon_end(coupon: Coupon, subscription: Subscription) -> datetime | None:
    """Returns when a coupon that is redeemed now ends, None for never."""
    if not coupon.duration_periods:
        return None
    end = subscription.period.end
    for _ in range(coupon.duration_periods - 1):
        end = subscription.calendar.period(end).end
    return end


def _held(subscription: Subscription) -> tuple[object, ...]:
    """What a phase is made of; another of it begins a new phase."""
    mode = PhaseMode.PAUSED if subscription.state.is_final else subscription.mode
    return (
        subscription.plan_id,
        subscription.plan_version,
        subscription.quantity,
        mode,
        subscription.state.is_final,
    )
