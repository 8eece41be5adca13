"""Subscriptions: begun, shown, paused, resumed, ended. Changes of terms are in changing.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from services.billing.domain.account import BillingAccount
from services.billing.domain.billing_period import BillingCalendar
from services.billing.domain.plan import Discount, PlanState, PricingPlan
from services.billing.domain.subscription import (
    PhaseMode,
    Subscription,
    SubscriptionEvent,
    SubscriptionState,
    TrialEndBehavior,
)
from services.billing.errors import (
    InvalidInstant,
    PlanNotFound,
    PlanNotOnSale,
    SubscriptionExists,
    SubscriptionNotFound,
    SubscriptionStateForbids,
)
from services.billing.service.accounts import require_etag
from services.billing.service.advancing import Advancing
from services.billing.service.credits import require_account
from services.billing.service.lifecycle import Lifecycle, with_coupons
from services.billing.service.plans import plan_on_sale
from services.billing.store import subscriptions as rows
from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id
from services.kernel.money import CurrencyMismatch
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period, zone

START_BEHIND = timedelta(days=366)  # a year to catch up with; older periods are closed books


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubscription:
    """What a caller asks for. Empty values take their defaults: account, plan or now."""

    plan_id: str
    account_id: str = ""
    plan_version: int = 0
    currency_code: str = ""
    quantity: Decimal = Decimal(1)
    start_at: datetime | None = None
    trial_end_at: datetime | None = None
    trial_end_behavior: TrialEndBehavior = TrialEndBehavior.PAUSE
    billing_day: int = 0
    cancel_at_period_end: bool = False
    discounts: tuple[Discount, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    coupon_code: str = ""


class Subscriptions:
    """The use cases of subscriptions, but for changes of their terms."""

    def __init__(
        self,
        database: Database,
        lifecycle: Lifecycle,
        advancing: Advancing,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """advancing: brings what is due up to now before anything else happens to it."""
        self._database = database
        self._lifecycle = lifecycle
        self._advancing = advancing
        self._tokens = tokens
        self._clock = clock

    async def create_subscription(self, tenant_id: str, wanted: NewSubscription) -> Subscription:
        """Subscribes an account to a plan, with a trial if the plan has one.

        Raises AccountNotFound, PlanNotFound, PlanNotOnSale, PlanCurrencyMissing, CurrencyMismatch,
        SubscriptionExists, CouponNotFound, CouponNotRedeemable, InvalidInstant.
        """
        now = self._clock.now().replace(microsecond=0)
        async with self._database.transaction(tenant_id) as tx:
            account = await require_account(tx, tenant_id, wanted.account_id)
            plan = await _require_plan(tx, wanted, now)
            made = _begin(wanted, account, plan, now)
            plan.rates_in(made.currency_code)
            if not await rows.add_subscription(tx, made):
                raise SubscriptionExists(account_id=account.account_id)
            await self._lifecycle.begin(tx, made)
            if wanted.coupon_code:
                made = await self._lifecycle.redeem(
                    tx, made, wanted.coupon_code, at=made.started_at
                )
            await self._charge_first(tx, made)
            made = await self._advancing.advance(tx, made, now)
            await self._audit(tx, made, "create")
        return made

    async def get_subscription(
        self, tenant_id: str, *, subscription_id: str = "", account_id: str = ""
    ) -> Subscription:
        """Returns a subscription, default the running or last one of an account.

        Raises SubscriptionNotFound, AccountNotFound.
        """
        async with self._database.read(tenant_id) as tx:
            if not subscription_id:
                account = await account_of(tx, tenant_id, account_id)
                account_id = account.account_id
            found = await rows.find_subscription(
                tx, tenant_id, subscription_id=subscription_id, account_id=account_id
            )
            if found is None:
                raise SubscriptionNotFound(subscription_id=subscription_id)
            return await with_coupons(tx, found)

    async def list_subscriptions(self, page: PageRequest) -> Page[Subscription]:
        """Returns a page of a tenant's subscriptions, ended ones included."""
        async with self._database.read(page.tenant_id) as tx:
            found = await rows.list_subscriptions(tx, page, self._tokens)
            items = [await with_coupons(tx, each) for each in found.items]
        return Page(items, found.next_page_token)

    async def list_subscription_events(
        self, page: PageRequest, subscription_id: str
    ) -> Page[SubscriptionEvent]:
        """Returns a page of the states a subscription went through."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_events(tx, page, self._tokens, subscription_id)

    async def pause_subscription(
        self,
        tenant_id: str,
        subscription_id: str,
        *,
        resume_at: datetime | None,
        reason: str,
        etag: str,
    ) -> Subscription:
        """Stops charging: the unused fee is credited, usage meanwhile is shown and not billed.

        Raises SubscriptionNotFound, SubscriptionStateForbids, InvalidInstant.
        """
        now = self._clock.now().replace(microsecond=0)
        if resume_at is not None and resume_at <= now:
            raise InvalidInstant("resume_time: it must be later than now", field="resume_time")
        async with self._database.transaction(tenant_id) as tx:
            before = await self.current(tx, tenant_id, subscription_id, etag=etag)
            paused = replace(
                before.moved(SubscriptionState.PAUSED, now), paused_at=now, resume_at=resume_at
            )
            after = await self._lifecycle.store(
                tx, before, paused, at=now, reason=reason, title="Subscription paused"
            )
            await self._credit_unused(tx, before, after, now)
            await self._audit(tx, after, "pause", before)
        return after

    async def resume_subscription(
        self, tenant_id: str, subscription_id: str, *, etag: str
    ) -> Subscription:
        """Goes on with a paused subscription, or takes back a cancellation at the period's end.

        Raises SubscriptionNotFound, SubscriptionStateForbids.
        """
        now = self._clock.now().replace(microsecond=0)
        async with self._database.transaction(tenant_id) as tx:
            before = await self.current(tx, tenant_id, subscription_id, etag=etag)
            if before.cancel_at_period_end:
                after = await self._lifecycle.store(
                    tx,
                    before,
                    replace(before, cancel_at_period_end=False),
                    at=now,
                    title="Cancellation taken back",
                )
            elif before.state is SubscriptionState.PAUSED:
                after = await self._advancing.go_on(tx, before, now)
            else:
                raise SubscriptionStateForbids(
                    f"A subscription that is {before.state.value} needs no resuming.",
                    subscription_id=before.subscription_id,
                    state=before.state.value,
                )
            await self._audit(tx, after, "resume", before)
        return after

    async def cancel_subscription(
        self,
        tenant_id: str,
        subscription_id: str,
        *,
        immediately: bool,
        reason: str,
        etag: str,
    ) -> Subscription:
        """Ends a subscription: now, with the unused fee credited, or with its period.

        Raises SubscriptionNotFound, SubscriptionStateForbids.
        """
        now = self._clock.now().replace(microsecond=0)
        async with self._database.transaction(tenant_id) as tx:
            before = await self.current(tx, tenant_id, subscription_id, etag=etag)
            ended = before.ended(now)
            if immediately:
                if before.period.start < now:
                    ended = replace(ended, period=Period(before.period.start, now))
                after = await self._lifecycle.store(
                    tx, before, ended, at=now, reason=reason, title="Subscription canceled"
                )
                await self._credit_unused(tx, before, after, now)
            else:
                after = await self._lifecycle.store(
                    tx,
                    before,
                    replace(before, cancel_at_period_end=True, next_terms=None),
                    at=now,
                    reason=reason,
                    title="Subscription ends with its period",
                )
            await self._audit(tx, after, "cancel", before)
        return after

    async def current(
        self, tx: Transaction, tenant_id: str, subscription_id: str, *, etag: str = ""
    ) -> Subscription:
        """Returns a subscription, locked and brought up to now, default the tenant's own.

        Raises SubscriptionNotFound, AccountNotFound, ResourceChanged.
        """
        account_id = ""
        if not subscription_id:
            account_id = (await account_of(tx, tenant_id, "")).account_id
        found = await self._lifecycle.load(
            tx, tenant_id, subscription_id=subscription_id, account_id=account_id
        )
        if found is None:
            raise SubscriptionNotFound(subscription_id=subscription_id)
        require_etag(etag, found.revision)
        return await self._advancing.advance(tx, found, self._clock.now())

    async def _charge_first(self, tx: Transaction, made: Subscription) -> None:
        if made.mode is not PhaseMode.BILLED:
            return
        terms = await self._lifecycle.terms(tx, made)
        if made.full_period.start == made.started_at:
            await self._lifecycle.charge_period(tx, made, terms, made.full_period)
        else:
            await self._lifecycle.charge_change(tx, made, None, terms, at=made.started_at)

    async def _credit_unused(
        self, tx: Transaction, before: Subscription, after: Subscription, at: datetime
    ) -> None:
        if before.mode is PhaseMode.BILLED:
            terms = await self._lifecycle.terms(tx, before)
            marked = replace(before, revision=after.revision)
            await self._lifecycle.charge_change(tx, marked, terms, None, at=at)

    async def _audit(
        self,
        tx: Transaction,
        after: Subscription,
        verb: str,
        before: Subscription | None = None,
    ) -> None:
        await audit.append(
            tx,
            action=f"subscriptions.{verb}",
            resource=f"subscriptions/{after.subscription_id}",
            before=None if before is None else audited_state(before),
            after=audited_state(after),
        )


async def account_of(tx: Transaction, tenant_id: str, account_id: str) -> BillingAccount:
    """Returns an account without its particulars. Raises AccountNotFound."""
    return await require_account(tx, tenant_id, account_id, is_locked=False)


def audited_state(subscription: Subscription) -> dict[str, object]:
    """Returns what the audit log shows of a subscription."""
    return {
        "state": subscription.state,
        "plan": f"{subscription.plan_id}:{subscription.plan_version}",
        "quantity": subscription.quantity,
        "period_end": subscription.period.end,
        "cancel_at_period_end": subscription.cancel_at_period_end,
    }


async def _require_plan(tx: Transaction, wanted: NewSubscription, now: datetime) -> PricingPlan:
    plan = await plan_on_sale(tx, wanted.plan_id, now, wanted.plan_version)
    if plan is None and not await plan_on_sale(tx, wanted.plan_id, now, 1):
        raise PlanNotFound(plan_id=wanted.plan_id)
    is_sold = plan is not None and plan.state is PlanState.ACTIVE
    if plan is None or not is_sold or (plan.restricted and not current_caller().may("plans.write")):
        raise PlanNotOnSale(plan_id=wanted.plan_id)
    return plan


def _begin(
    wanted: NewSubscription, account: BillingAccount, plan: PricingPlan, now: datetime
) -> Subscription:
    """Returns the subscription as it begins."""
    start = (wanted.start_at or now).replace(microsecond=0)
    if not now - START_BEHIND <= start <= now:
        raise InvalidInstant(
            "start_time: a subscription begins now, or at most a year ago", field="start_time"
        )
    currency_code = wanted.currency_code or account.currency_code
    if currency_code != account.currency_code:
        raise CurrencyMismatch(left=currency_code, right=account.currency_code)
    trial_end = wanted.trial_end_at
    if trial_end is None and plan.trial_days:
        trial_end = start + timedelta(days=plan.trial_days)
    is_trial = trial_end is not None and trial_end > start
    tz = zone(account.time_zone)
    anchor = (trial_end if is_trial and trial_end is not None else start).astimezone(tz).date()
    first = start.astimezone(tz).date()
    day = wanted.billing_day or anchor.day
    period = BillingCalendar(plan.interval, day, account.time_zone, first).period(start)
    return Subscription(
        tenant_id=account.tenant_id,
        subscription_id=new_id(),
        account_id=account.account_id,
        plan_id=plan.plan_id,
        plan_version=plan.version,
        currency_code=currency_code,
        state=SubscriptionState.TRIALING if is_trial else SubscriptionState.ACTIVE,
        started_at=start,
        interval=plan.interval,
        billing_day=day,
        time_zone=account.time_zone,
        anchored_on=first,
        period=Period(start, period.end),
        created_at=now,
        updated_at=now,
        quantity=wanted.quantity,
        trial_end_at=trial_end if is_trial else None,
        trial_end_behavior=wanted.trial_end_behavior,
        cancel_at_period_end=wanted.cancel_at_period_end,
        discounts=wanted.discounts,
        labels=wanted.labels,
    )
