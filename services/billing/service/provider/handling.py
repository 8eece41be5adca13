"""Handles the inbox: an event is a hint, the object is fetched, and ours follows what it says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import structlog

from services.billing.domain.payment import PaymentMethod
from services.billing.domain.webhook import (
    EventState,
    ObjectKind,
    WebhookEvent,
    object_kind,
    retry_at,
)
from services.billing.errors import InvoiceNotFound
from services.billing.service.journal import Journal
from services.billing.service.provider.charges import ChargeEvents, NotYet
from services.billing.service.provider.following import Following
from services.billing.service.provider.inbox import Inbox
from services.billing.service.provider.metered import MeteredInvoices
from services.billing.service.provider.outages import ACCOUNT_FAULTS, Outages
from services.billing.service.provider.port import ProviderFault
from services.billing.service.provider.providers import Opened, Providers
from services.billing.service.provider.queue import WEBHOOK_JOB, wake_inbox
from services.billing.store import payment_methods
from services.billing.store import webhook_events as rows
from services.billing.tables.provider import SELLER_TENANT
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import Error
from services.kernel.jobs import Job, enqueue

BODY_DAYS = 90
LANES = 4  # objects at once, as many as requests are let through to one account
CLAIM = timedelta(minutes=10)  # a batch in those lanes, each request timing out
AT_ONCE = timedelta(milliseconds=1)
LAST_LOOK = b"last"
LAST_LOOK_AFTER = timedelta(seconds=1)  # by then what was being stored is, or was given up
log = structlog.get_logger(__name__)


class Handling:
    """What the worker does with events."""

    def __init__(
        self,
        database: Database,
        providers: Providers,
        following: Following,
        journal: Journal,
        *,
        metered: MeteredInvoices,
        inbox: Inbox,
        clock: Clock,
    ) -> None:
        """Takes what learns from fetched objects. inbox: has the right of way."""
        self._database = database
        self._providers = providers
        self._following = following
        self._charges = ChargeEvents(database, journal, clock=clock)
        self._metered = metered
        self._inbox = inbox
        self.outages = Outages(database, providers, clock=clock)
        self._clock = clock

    async def run(self, job: Job) -> None:
        """Handles what is due, oldest first, and comes back until nothing more comes.

        One object at a time, whoever else works: its events are claimed together.
        """
        now = self._clock.now()
        async with self._database.system_transaction() as tx:
            events = await rows.claim_events(tx, now, now + CLAIM)
        objects: dict[tuple[str, str], list[WebhookEvent]] = {}
        for event in events:
            objects.setdefault((event.tenant_id, event.object_id), []).append(event)
        waiting = iter(objects.values())
        down: set[str] = set()
        left: list[WebhookEvent] = []

        async def lane() -> None:
            for about_one in waiting:
                for event in about_one:
                    await self._inbox.calm()
                    if event.tenant_id in down:
                        left.append(event)
                    elif await self.handle(event) is EventState.WAITING:
                        down.add(event.tenant_id)

        await asyncio.gather(*(lane() for _ in range(LANES)))
        if not events and job.payload == LAST_LOOK:
            return
        # Whoever stores an event while a job waits wakes nobody, and may commit after that job has
        # looked. The row of the job is not held for that: a worker would pass over it in a burst.
        payload, delay = (b"", AT_ONCE) if events else (LAST_LOOK, LAST_LOOK_AFTER)
        async with self._database.system_transaction() as tx:
            await rows.unclaim(tx, left)
            await enqueue(tx, WEBHOOK_JOB, payload, tenant_id=SELLER_TENANT, delay=delay)

    async def sweep(self, _: Job) -> None:
        """Wakes the worker for events whose next try is due, and forgets old bodies."""
        now = self._clock.now()
        async with self._database.system_transaction() as tx:
            await wake_inbox(tx, SELLER_TENANT)
            await self.outages.sweep(tx, now)
            await rows.forget_bodies(tx, now - timedelta(days=BODY_DAYS))

    async def handle(self, event: WebhookEvent) -> EventState:
        """Handles one event, and stores what became of it: WAITING where the provider is down."""
        now = self._clock.now()
        count = event.attempt_count + 1
        kind = object_kind(event.event_type)
        error, following = "", None
        try:
            state = EventState.IGNORED if kind is None else await self._apply(event, kind)
        except ACCOUNT_FAULTS as fault:
            state = await self.outages.await_end(event, fault)
            if state is EventState.DEAD:
                _log_death(event)
            return state
        except (Error, ProviderFault, NotYet) as fault:
            # Whatever is wrong with one endpoint's keys holds the events of no other up.
            error = str(fault)[:500]
            following = retry_at(count, now)
            state = EventState.DEAD if following is None else EventState.RETRYING
        except Exception as crash:
            # Nor does what nobody foresaw; it is told apart in the log.
            log.exception("webhook not handled", provider_event=event.provider_event_id)
            error, following = f"an internal error: {type(crash).__name__}", retry_at(count, now)
            state = EventState.DEAD if following is None else EventState.RETRYING
        if state is EventState.DEAD:
            _log_death(event)
        handled = replace(
            event,
            state=state,
            attempt_count=count,
            error=error,
            handled_at=None if following is not None else now,
            next_attempt_at=following,
        )
        async with self._database.system_transaction() as tx:
            await rows.save_event(tx, handled)
        return state

    async def _apply(self, event: WebhookEvent, kind: ObjectKind) -> EventState:
        opened = await self._providers.of(event.tenant_id)
        if kind is ObjectKind.INVOICE:
            return await self._apply_invoice(event, opened)
        if kind is ObjectKind.PAYMENT_METHOD:
            return await self._apply_method(event, opened)
        if kind is ObjectKind.CHARGE:
            return await self._apply_charge(event, opened)
        if kind is ObjectKind.CREDIT_NOTE:
            return await self._apply_credit(event, opened)
        # Setups end in SetPaymentMethod, which the browser's page calls.
        return EventState.IGNORED

    async def _apply_charge(self, event: WebhookEvent, opened: Opened) -> EventState:
        async with opened.turn():
            charge = await opened.provider.fetch_charge(event.object_id)
        is_ours = charge is not None and await self._charges.follow(opened, charge)
        return EventState.HANDLED if is_ours else EventState.FOREIGN

    async def _apply_credit(self, event: WebhookEvent, opened: Opened) -> EventState:
        state = await self._apply_invoice(event, opened)
        if state is EventState.HANDLED:
            async with opened.turn():
                remote = await opened.provider.fetch_invoice(event.object_id)
                credits_there = await opened.provider.credits_of(event.object_id)
            if remote is not None:
                await self._charges.follow_credits(
                    remote.tenant_id, remote.invoice_id, credits_there
                )
        return state

    async def _apply_invoice(self, event: WebhookEvent, opened: Opened) -> EventState:
        async with opened.turn():
            remote = await opened.provider.fetch_invoice(event.object_id)
        if remote is not None and remote.provider_subscription_id:
            is_ours = await self._metered.follow(
                opened, remote.provider_subscription_id, event.object_id
            )
            return EventState.HANDLED if is_ours else EventState.FOREIGN
        if remote is None or not remote.invoice_id or not remote.tenant_id:
            return EventState.FOREIGN
        if event.tenant_id not in (SELLER_TENANT, remote.tenant_id):
            return EventState.FOREIGN
        async with self._database.read(remote.tenant_id) as tx:
            known = await payment_methods.provider_invoice(tx, remote.tenant_id, remote.invoice_id)
        if not known:
            # It may come before our own commit: later, not never.
            raise NotYet(f"invoice {remote.invoice_id} is not open here yet")
        try:
            await self._following.learn(remote.tenant_id, remote.invoice_id, opened, remote)
        except InvoiceNotFound:
            return EventState.FOREIGN
        return EventState.HANDLED

    async def _apply_method(self, event: WebhookEvent, opened: Opened) -> EventState:
        async with self._database.system_transaction() as tx:
            owner = await payment_methods.owner_of(tx, opened.name, event.object_id)
        if owner is None:
            return EventState.FOREIGN
        tenant_id, method = owner
        async with opened.turn():
            remote = await opened.provider.fetch_method(event.object_id)
        async with self._database.transaction(tenant_id) as tx:
            if remote is None or not remote.customer_id:
                await payment_methods.detach(tx, tenant_id, method.payment_method_id)
            else:
                await payment_methods.add_method(tx, tenant_id, _shown(method, remote))
        return EventState.HANDLED


def _log_death(event: WebhookEvent) -> None:
    log.error(
        "webhook is dead", provider_event=event.provider_event_id, event_type=event.event_type
    )


def _shown(method: PaymentMethod, remote: object) -> PaymentMethod:
    names = ("brand", "last4", "expire_month", "expire_year")
    return replace(method, **{name: getattr(remote, name) for name in names})
