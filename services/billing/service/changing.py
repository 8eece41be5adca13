"""Changes of a subscription's terms: shown exactly before they happen, then made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction

from services.billing.domain.invoice import ComputedInvoice, ExactLine, InvoiceTerms
from services.billing.domain.invoicing import invoice_of
from services.billing.domain.plan import PlanState
from services.billing.domain.proration import Terms, change_lines, unused_share
from services.billing.domain.subscription import NextTerms, PhaseMode, Subscription
from services.billing.errors import (
    IntervalWaits,
    InvalidInstant,
    PlanNotFound,
    PlanNotOnSale,
    PreviewOutdated,
    SubscriptionStateForbids,
)
from services.billing.service import prorating
from services.billing.service.accounts import Accounts
from services.billing.service.catalogue import taxes_of
from services.billing.service.lifecycle import (
    Lifecycle,
    coupon_end,
    fee_lines,
    fitting_coupon,
)
from services.billing.service.plans import plan_on_sale
from services.billing.service.subscriptions import Subscriptions, audited_state
from services.billing.store import coupons as coupon_rows
from services.billing.store import pending_lines as line_rows
from services.billing.store import subscriptions as rows
from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id
from services.kernel.jobs import enqueue

PREVIEW_LASTS = timedelta(minutes=15)


class ProrationPolicy(Enum):
    """What a change does to the running period."""

    PRORATE = "prorate"
    PRORATE_NOW = "prorate_now"
    NEXT_PERIOD = "next_period"


class ChangeKind(Enum):
    """What would be done to a subscription."""

    UPDATE = "update"
    PAUSE = "pause"
    CANCEL_NOW = "cancel_now"
    CANCEL_AT_PERIOD_END = "cancel_at_period_end"


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsChange:
    """What an update changes; None and "" leave a value. apply: the rest, which prices nothing."""

    plan_id: str = ""
    plan_version: int = 0
    quantity: Decimal | None = None
    coupon_code: str = ""
    policy: ProrationPolicy = ProrationPolicy.PRORATE
    apply: Callable[[Subscription], Subscription] | None = None

    def request(self, kind: ChangeKind) -> dict[str, str]:
        """Returns what a preview is of; an update that names it asks for the same."""
        return {
            "kind": kind.value,
            "plan_id": self.plan_id,
            "quantity": "" if self.quantity is None else f"{self.quantity.normalize():f}",
            "coupon_code": self.coupon_code.upper(),
            "policy": self.policy.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePreview:
    """What a change charges and credits.

    computed: its lines and tax, which may be below zero. next_invoice: fees and prorations that
    the next invoice would have, without usage.
    """

    preview_id: str
    subscription: Subscription
    computed: ComputedInvoice
    unused_ratio: Fraction
    due_now: Decimal
    next_invoice: ComputedInvoice
    expire_at: datetime


class SubscriptionChanges:
    """The use cases of changes."""

    def __init__(
        self,
        database: Database,
        lifecycle: Lifecycle,
        subscriptions: Subscriptions,
        accounts: Accounts,
        *,
        clock: Clock,
    ) -> None:
        """accounts: whose place says which tax is on a change."""
        self._database = database
        self._lifecycle = lifecycle
        self._subscriptions = subscriptions
        self._accounts = accounts
        self._clock = clock

    async def update_subscription(
        self,
        tenant_id: str,
        subscription_id: str,
        change: TermsChange,
        *,
        preview_id: str = "",
        etag: str = "",
    ) -> Subscription:
        """Changes plan, quantity, coupon or end, with the proration that the preview shows.

        Raises SubscriptionNotFound, ResourceChanged, PreviewOutdated, IntervalWaits,
        PlanNotFound, PlanNotOnSale, PlanCurrencyMissing, CouponNotFound, CouponNotRedeemable,
        SubscriptionStateForbids.
        """
        now = self._clock.now().replace(microsecond=0)
        async with self._database.transaction(tenant_id) as tx:
            before = await self._subscriptions.current(tx, tenant_id, subscription_id, etag=etag)
            _require_running(before)
            at = now
            if preview_id:
                at = await self._agreed(tx, before, change, preview_id)
            after, old, new = await self._changed(tx, before, change, at)
            after = await self._lifecycle.store(
                tx, before, after, at=at, title=_title(before, after)
            )
            if old is not None and new is not None:
                marked = replace(before, revision=after.revision)
                await self._lifecycle.charge_change(tx, marked, old, new, at=at)
            if change.policy is ProrationPolicy.PRORATE_NOW:
                await enqueue(tx, prorating.JOB, after.account_id.encode())
            await audit.append(
                tx,
                action="subscriptions.update",
                resource=f"subscriptions/{after.subscription_id}",
                before=audited_state(before),
                after=audited_state(after),
            )
        return after

    async def preview_subscription_change(
        self,
        tenant_id: str,
        subscription_id: str,
        kind: ChangeKind,
        change: TermsChange,
        *,
        effective_at: datetime | None = None,
    ) -> ChangePreview:
        """Computes what a change charges and credits; changes nothing but the list of previews.

        Raises what `update_subscription` does, InvalidInstant outside of the running period.
        """
        now = self._clock.now().replace(microsecond=0)
        async with self._database.transaction(tenant_id) as tx:
            before = await self._subscriptions.current(tx, tenant_id, subscription_id)
            _require_running(before)
            at = (effective_at or now).replace(microsecond=0)
            if at not in before.period:
                raise InvalidInstant(
                    "effective_time: it must lie in the running period", field="effective_time"
                )
            after, lines = await self._lines(tx, before, kind, change, at)
            preview = await self._preview(tx, before, after, lines, change=change, at=at)
            stored = rows.StoredPreview(
                preview_id=preview.preview_id,
                subscription_id=before.subscription_id,
                revision=before.revision,
                request=change.request(kind),
                total=preview.computed.total,
                effective_at=at,
                expire_at=preview.expire_at,
            )
            await rows.add_preview(tx, tenant_id, stored)
        return preview

    async def _lines(
        self,
        tx: Transaction,
        before: Subscription,
        kind: ChangeKind,
        change: TermsChange,
        at: datetime,
    ) -> tuple[Subscription, list[ExactLine]]:
        """Returns the subscription after a change, and what that charges and credits."""
        period = before.full_period
        if kind is ChangeKind.UPDATE:
            after, old, new = await self._changed(tx, before, change, at, is_preview=True)
            lines = change_lines(old, new, period, at) if old is not None else []
            return after, lines
        if kind is ChangeKind.CANCEL_AT_PERIOD_END:
            return replace(before, cancel_at_period_end=True, next_terms=None), []
        is_pause = kind is ChangeKind.PAUSE
        after = replace(before, paused_at=at) if is_pause else before.ended(at)
        if before.mode is not PhaseMode.BILLED:
            return after, []
        return after, change_lines(await self._lifecycle.terms(tx, before), None, period, at)

    async def _changed(
        self,
        tx: Transaction,
        before: Subscription,
        change: TermsChange,
        at: datetime,
        *,
        is_preview: bool = False,
    ) -> tuple[Subscription, Terms | None, Terms | None]:
        """Returns the subscription after an update, and the terms to prorate; None for nothing."""
        old = await self._lifecycle.terms(tx, before)
        after = before if change.apply is None else change.apply(before)
        wanted = await self._wanted(tx, before, change, at)
        if change.policy is ProrationPolicy.NEXT_PERIOD:
            if wanted is not None:
                after = replace(after, next_terms=wanted)
            if change.coupon_code:
                after = await self._redeemed(tx, after, change, at, is_preview=is_preview)
            return after, None, None
        if wanted is not None:
            after = replace(
                after,
                plan_id=wanted.plan_id,
                plan_version=wanted.plan_version,
                quantity=wanted.quantity,
                next_terms=None,
            )
        if change.coupon_code:
            after = await self._redeemed(tx, after, change, at, is_preview=is_preview)
        new = await self._lifecycle.terms(tx, after)
        if is_preview and change.coupon_code:
            new = await self._with_coupon(tx, after, new, change.coupon_code)
        is_charged = before.mode is PhaseMode.BILLED and old != new
        return (after, old, new) if is_charged else (after, None, None)

    async def _redeemed(
        self,
        tx: Transaction,
        after: Subscription,
        change: TermsChange,
        at: datetime,
        *,
        is_preview: bool,
    ) -> Subscription:
        if is_preview:
            return replace(after, coupon_codes=(*after.coupon_codes, change.coupon_code.upper()))
        return await self._lifecycle.redeem(tx, after, change.coupon_code, at=at)

    async def _with_coupon(
        self, tx: Transaction, after: Subscription, terms: Terms, code: str
    ) -> Terms:
        coupon = await fitting_coupon(tx, after, code)
        discount = coupon.discount(coupon_end(coupon, after))
        return replace(terms, discounts=(*terms.discounts, discount))

    async def _wanted(
        self, tx: Transaction, before: Subscription, change: TermsChange, at: datetime
    ) -> NextTerms | None:
        """Returns the plan and quantity that are asked for, None where neither is."""
        if not change.plan_id and change.quantity is None and not change.plan_version:
            return None
        quantity = before.quantity if change.quantity is None else change.quantity
        plan_id = change.plan_id or before.plan_id
        if plan_id == before.plan_id and not change.plan_version:
            return NextTerms(plan_id=plan_id, plan_version=before.plan_version, quantity=quantity)
        plan = await plan_on_sale(tx, plan_id, at, change.plan_version)
        if plan is None:
            raise PlanNotFound(plan_id=plan_id)
        is_closed = plan.restricted and not current_caller().may("plans.write")
        if plan.state is not PlanState.ACTIVE or is_closed:
            raise PlanNotOnSale(plan_id=plan_id)
        plan.rates_in(before.currency_code)
        is_later = change.policy is ProrationPolicy.NEXT_PERIOD
        if plan.interval is not before.interval and not is_later:
            raise IntervalWaits(plan_id=plan_id, interval=plan.interval.value)
        return NextTerms(plan_id=plan.plan_id, plan_version=plan.version, quantity=quantity)

    async def _agreed(
        self, tx: Transaction, before: Subscription, change: TermsChange, preview_id: str
    ) -> datetime:
        """Returns the instant of the preview, so that its amounts are charged to the cent."""
        shown = await rows.find_preview(tx, before.tenant_id, preview_id)
        is_same = (
            shown is not None
            and shown.subscription_id == before.subscription_id
            and shown.revision == before.revision
            and shown.request == change.request(ChangeKind.UPDATE)
            and self._clock.now() < shown.expire_at
        )
        if shown is None or not is_same:
            raise PreviewOutdated(preview_id=preview_id)
        return shown.effective_at

    async def _preview(
        self,
        tx: Transaction,
        before: Subscription,
        after: Subscription,
        lines: list[ExactLine],
        *,
        change: TermsChange,
        at: datetime,
    ) -> ChangePreview:
        account = await self._accounts.load(tx, before.tenant_id, before.account_id)
        terms = InvoiceTerms(
            currency_code=before.currency_code,
            rounding=account.rounding_mode,
            taxes=await taxes_of(tx, account, at.date()),
            moves_excess=False,
        )
        computed = invoice_of(lines, terms)
        is_now = change.policy is ProrationPolicy.PRORATE_NOW
        waiting = await line_rows.pending_lines(
            tx, before.tenant_id, before.account_id, until=before.period.end
        )
        following = [*waiting, *([] if is_now else lines)]
        if not (after.state.is_final or after.cancel_at_period_end or after.paused_at):
            following += await self._coming_fees(tx, after)
        discounts = await coupon_rows.coupon_discounts(tx, before.tenant_id, before.subscription_id)
        next_terms = replace(terms, discounts=(*before.discounts, *discounts), moves_excess=True)
        return ChangePreview(
            preview_id=new_id(),
            subscription=after,
            computed=computed,
            unused_ratio=unused_share(before.full_period, at),
            due_now=max(computed.total, Decimal(0)) if is_now else Decimal(0),
            next_invoice=invoice_of(following, next_terms),
            expire_at=self._clock.now() + PREVIEW_LASTS,
        )

    async def _coming_fees(self, tx: Transaction, after: Subscription) -> list[ExactLine]:
        """Returns the fee in advance of the next period, and that of what a trial leaves of this.

        None where the trial goes on beyond the running period.
        """
        end = after.period.end
        terms = await self._lifecycle.terms(tx, after, after.next_terms)
        fees = fee_lines(terms, after.calendar.period(end))
        if after.mode is not PhaseMode.TRIAL or after.trial_end_at is None:
            return fees
        if after.trial_end_at > end:
            return []
        now = await self._lifecycle.terms(tx, after)
        return [*change_lines(None, now, after.full_period, after.trial_end_at), *fees]


def _title(before: Subscription, after: Subscription) -> str:
    if (before.plan_id, before.plan_version) != (after.plan_id, after.plan_version):
        return f"Changed to {after.plan_id}"
    if before.quantity != after.quantity:
        return f"Quantity changed to {after.quantity.normalize():f}"
    return "Subscription changed"


def _require_running(subscription: Subscription) -> None:
    if subscription.state.is_final:
        raise SubscriptionStateForbids(
            f"A subscription that is {subscription.state.value} has ended and takes no change;"
            " create a new one.",
            subscription_id=subscription.subscription_id,
            state=subscription.state.value,
        )
