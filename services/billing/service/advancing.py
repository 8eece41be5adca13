"""Periods, trials and pauses that end: what time alone does to subscriptions."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import structlog

from services.billing.domain.account import CollectionMethod
from services.billing.domain.subscription import (
    TRANSITIONS,
    PhaseMode,
    Subscription,
    SubscriptionState,
    TrialEndBehavior,
)
from services.billing.service.lifecycle import Lifecycle
from services.billing.store import accounts as account_rows
from services.billing.store import plans as plan_rows
from services.billing.store import subscriptions as rows
from services.billing.store.arrears import Arrears, arrears
from services.billing.store.collectability import has_payment_method
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Error
from services.kernel.jobs import Job
from services.kernel.period import Period, zone

JOB = "advance_subscriptions"
ARREARS_JOB = "follow_invoices"
BATCH = 500  # due subscriptions looked up at once; each is its own transaction

_ACTIVE = SubscriptionState.ACTIVE

log = structlog.get_logger(__name__)


class Advancing:
    """Brings subscriptions up to an instant, each step at the instant it was due."""

    def __init__(self, database: Database, lifecycle: Lifecycle, *, clock: Clock) -> None:
        """Takes the clock that says what is due."""
        self._database = database
        self._lifecycle = lifecycle
        self._clock = clock

    async def run(self, _: Job) -> None:
        """Advances what is due, of all tenants; one that fails stops no other."""
        async with self._database.system_transaction() as tx:
            due = await rows.due_subscriptions(tx, self._clock.now(), BATCH)
        for tenant_id, subscription_id in due:
            try:
                await self._advance_one(tenant_id, subscription_id)
            except Error as error:
                log.exception(
                    "subscription not advanced",
                    subscription=subscription_id,
                    reason=error.reason,
                )

    async def follow_invoices(self, _: Job) -> None:
        """Moves subscriptions to where their unpaid invoices put them; one failure stops no other.

        Past due while dunning runs; unpaid, or canceled, when it ended; active once all is paid.
        """
        async with self._database.system_transaction() as tx:
            found = await arrears(tx, self._clock.now(), BATCH)
        for each in found:
            try:
                await self._follow(each)
            except Error as error:
                log.exception(
                    "subscription not moved",
                    subscription=each.subscription_id,
                    reason=error.reason,
                )

    async def _follow(self, each: Arrears) -> None:
        now = self._clock.now().replace(microsecond=0)
        async with self._database.transaction(each.tenant_id) as tx:
            found = await self._lifecycle.load(
                tx, each.tenant_id, subscription_id=each.subscription_id
            )
            if found is None or found.state is not each.state:
                return  # it moved meanwhile; the next look decides
            steps = [each.wanted]
            if each.wanted not in TRANSITIONS[found.state]:
                steps = [SubscriptionState.PAST_DUE, each.wanted]
            for step in steps:
                is_end = step is SubscriptionState.CANCELED
                after = found.ended(now) if is_end else found.moved(step, now)
                title = f"Subscription {step.value.replace('_', ' ')}"
                reason = "its invoices are paid" if after.state is _ACTIVE else "unpaid invoices"
                found = await self._lifecycle.store(
                    tx, found, after, at=now, reason=reason, title=title
                )

    async def _advance_one(self, tenant_id: str, subscription_id: str) -> None:
        async with self._database.transaction(tenant_id) as tx:
            found = await self._lifecycle.load(tx, tenant_id, subscription_id=subscription_id)
            if found is not None:
                await self.advance(tx, found, self._clock.now())

    async def advance(
        self, tx: Transaction, subscription: Subscription, now: datetime
    ) -> Subscription:
        """Returns a locked subscription after everything that was due by now, in order."""
        while not subscription.state.is_final:
            trial_at, resume_at = _trial_end(subscription), _resume(subscription)
            due = min(at for at in (subscription.period.end, trial_at, resume_at) if at is not None)
            if due > now:
                break
            if due == trial_at:
                subscription = await self._end_trial(tx, subscription, due)
            elif due == resume_at:
                subscription = await self.go_on(tx, subscription, due)
            else:
                subscription = await self._roll(tx, subscription, due)
        return subscription

    async def go_on(
        self, tx: Transaction, subscription: Subscription, at: datetime, *, reason: str = ""
    ) -> Subscription:
        """Ends a pause: the rest of the running period is charged."""
        is_trial = subscription.trial_end_at is not None and at < subscription.trial_end_at
        state = SubscriptionState.TRIALING if is_trial else SubscriptionState.ACTIVE
        after = replace(subscription.moved(state, at), paused_at=None, resume_at=None)
        after = await self._lifecycle.store(
            tx, subscription, after, at=at, reason=reason, title="Subscription resumed"
        )
        if after.mode is PhaseMode.BILLED:
            terms = await self._lifecycle.terms(tx, after)
            await self._lifecycle.charge_change(tx, after, None, terms, at=at)
        return after

    async def _end_trial(
        self, tx: Transaction, subscription: Subscription, at: datetime
    ) -> Subscription:
        if subscription.cancel_at_period_end:
            return await self._end(tx, subscription, at)
        behavior = subscription.trial_end_behavior
        if behavior is not TrialEndBehavior.INVOICE and not await _can_collect(
            tx, subscription, at
        ):
            if behavior is TrialEndBehavior.CANCEL:
                return await self._end(tx, subscription, at)
            paused = replace(subscription.moved(SubscriptionState.PAUSED, at), paused_at=at)
            return await self._lifecycle.store(
                tx,
                subscription,
                paused,
                at=at,
                reason="the trial ended without a payment method",
                title="Trial ended, subscription paused",
            )
        after = subscription.moved(SubscriptionState.ACTIVE, at)
        after = await self._lifecycle.store(
            tx, subscription, after, at=at, reason="the trial ended", title="Trial ended"
        )
        terms = await self._lifecycle.terms(tx, after)
        await self._lifecycle.charge_change(tx, after, None, terms, at=at)
        return after

    async def _roll(
        self, tx: Transaction, subscription: Subscription, at: datetime
    ) -> Subscription:
        """Begins the next period: ends what was to end, changes what waited, charges the fee."""
        if subscription.cancel_at_period_end:
            return await self._end(tx, subscription, at)
        after = await _next_terms(tx, subscription, at)
        period = after.calendar.period(at)
        after = replace(after, period=Period(at, period.end))
        is_changed = (after.plan_id, after.plan_version, after.quantity) != (
            subscription.plan_id,
            subscription.plan_version,
            subscription.quantity,
        )
        after = await self._lifecycle.store(
            tx,
            subscription,
            after,
            at=at,
            reason="the next period began" if is_changed else "",
            title=f"Changed to {after.plan_id}" if is_changed else "",
        )
        if after.mode is PhaseMode.BILLED:
            terms = await self._lifecycle.terms(tx, after)
            if period.start == at:
                await self._lifecycle.charge_period(tx, after, terms, period)
            else:
                await self._lifecycle.charge_change(tx, after, None, terms, at=at)
        return after

    async def _end(self, tx: Transaction, subscription: Subscription, at: datetime) -> Subscription:
        after = subscription.ended(at)
        if subscription.period.start < at:
            after = replace(after, period=Period(subscription.period.start, at))
        return await self._lifecycle.store(
            tx, subscription, after, at=at, reason="it was to end", title="Subscription ended"
        )


def _trial_end(subscription: Subscription) -> datetime | None:
    is_trial = subscription.state is SubscriptionState.TRIALING
    return subscription.trial_end_at if is_trial else None


def _resume(subscription: Subscription) -> datetime | None:
    return subscription.resume_at if subscription.state is SubscriptionState.PAUSED else None


async def _next_terms(tx: Transaction, subscription: Subscription, at: datetime) -> Subscription:
    waiting = subscription.next_terms
    if waiting is None:
        return subscription
    plan = await plan_rows.find_plan(tx, waiting.plan_id, waiting.plan_version)
    interval = subscription.interval if plan is None else plan.interval
    is_same = interval is subscription.interval
    local = at.astimezone(zone(subscription.time_zone)).date()
    return replace(
        subscription,
        plan_id=waiting.plan_id,
        plan_version=waiting.plan_version,
        quantity=waiting.quantity,
        interval=interval,
        anchored_on=subscription.anchored_on if is_same else local,
        next_terms=None,
    )


async def _can_collect(tx: Transaction, subscription: Subscription, at: datetime) -> bool:
    """Tells whether invoices can be collected: they are sent, or there is something to charge."""
    stored = await account_rows.find_account(tx, subscription.tenant_id, subscription.account_id)
    if stored is not None and stored.account.collection_method is CollectionMethod.SEND_INVOICE:
        return True
    return await has_payment_method(tx, subscription.tenant_id, subscription.account_id, at=at)
