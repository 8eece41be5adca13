"""Leaves an account alone that does not answer: it is asked now and then, whatever waits for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from services.billing.domain.outage import ProviderOutage, pause_after
from services.billing.domain.webhook import EventState, WebhookEvent, retry_at
from services.billing.service.provider.port import (
    AnsweredBadly,
    NoAnswer,
    ProviderDown,
    ProviderFault,
    Throttled,
)
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.queue import OUTAGE_JOB, WEBHOOK_JOB, wake_inbox
from services.billing.store import outages as rows
from services.billing.store import webhook_events
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import Error
from services.kernel.jobs import Job, enqueue
from services.kernel.transaction import Transaction

# What says something of the account, and nothing of the object that was asked for.
ACCOUNT_FAULTS = (NoAnswer, Throttled, AnsweredBadly)
OVERDUE = timedelta(minutes=1)  # a probe that late has died with its worker
ERROR_LENGTH = 500

log = structlog.get_logger(__name__)


class Outages:
    """What is done while a provider does not answer, and when it answers again.

    Events that wait for it count no attempt and are never given up for it.
    """

    def __init__(
        self,
        database: Database,
        providers: Providers,
        *,
        clock: Clock,
        spread: Callable[[], float] = random.random,
    ) -> None:
        """spread: draws from [0, 1) for each pause."""
        self._database = database
        self._providers = providers
        self._clock = clock
        self._spread = spread

    async def await_end(self, event: WebhookEvent, fault: ProviderFault) -> EventState:
        """Lets an event, and all that are due at its account, wait; returns the event's state.

        fault: one of ACCOUNT_FAULTS. The event that meets an outage first has tried: should the
        account answer all others but not it, it is tried 8 times, as any that fails.
        """
        now, error = self._clock.now(), str(fault)[:ERROR_LENGTH]
        outage = ProviderOutage(
            tenant_id=event.tenant_id,
            began_at=now,
            probe_count=0,
            next_probe_at=now + pause_after(0, self._spread()),
            error=error,
        )
        async with self._database.system_transaction() as tx:
            is_new = await rows.begin(tx, outage)
            left = replace(event, state=EventState.WAITING, error=error)
            if is_new and not isinstance(fault, ProviderDown):
                left = _tried(left, now)
                if left.next_attempt_at is not None:
                    delay = left.next_attempt_at - now
                    await enqueue(tx, WEBHOOK_JOB, tenant_id=event.tenant_id, delay=delay)
            await webhook_events.save_event(tx, left)
            if is_new:
                await webhook_events.park(tx, [event.tenant_id], now)
                await self._queue(tx, event.tenant_id, outage.next_probe_at - now)
        if is_new:
            log.warning("provider does not answer", tenant=event.tenant_id, error=error)
        return left.state

    async def probe(self, job: Job) -> None:
        """Asks an account whether it answers again, and lets what waits for it go on if so."""
        tenant_id = job.payload.decode()
        async with self._database.system_transaction() as tx:
            outage = await rows.find(tx, tenant_id)
        if outage is None:
            return
        error = await self._asked(tenant_id)
        if error is None:
            await self._end(outage)
        else:
            await self._prolong(outage, error)

    async def sweep(self, tx: Transaction, now: datetime) -> None:
        """Queues the probes that died with their workers."""
        for tenant_id in await rows.overdue(tx, now - OVERDUE):
            await self._queue(tx, tenant_id, timedelta(0))

    async def _asked(self, tenant_id: str) -> str | None:
        """Returns what is wrong, None when the account answers."""
        try:
            opened = await self._providers.of(tenant_id)
            async with opened.turn(is_probe=True):
                await opened.provider.check()
        except ACCOUNT_FAULTS as fault:
            return str(fault)[:ERROR_LENGTH]
        except (ProviderFault, Error) as fault:
            # An answer all the same: each event will meet it, and has its own attempts.
            log.warning("provider answers badly", tenant=tenant_id, error=str(fault))
        return None

    async def _end(self, outage: ProviderOutage) -> None:
        async with self._database.system_transaction() as tx:
            await rows.end(tx, outage.tenant_id)
            count = await webhook_events.release(tx, outage.tenant_id)
            await wake_inbox(tx, outage.tenant_id)
        seconds = (self._clock.now() - outage.began_at).total_seconds()
        log.info(
            "provider answers again", tenant=outage.tenant_id, seconds=round(seconds), events=count
        )

    async def _prolong(self, outage: ProviderOutage, error: str) -> None:
        pause = pause_after(outage.probe_count + 1, self._spread())
        async with self._database.system_transaction() as tx:
            until = self._clock.now() + pause
            # One that was started twice goes on once.
            if await rows.prolong(tx, outage, next_probe_at=until, error=error):
                await self._queue(tx, outage.tenant_id, pause)

    async def _queue(self, tx: Transaction, tenant_id: str, delay: timedelta) -> None:
        await enqueue(tx, OUTAGE_JOB, tenant_id.encode(), tenant_id=tenant_id, delay=delay)


def _tried(event: WebhookEvent, now: datetime) -> WebhookEvent:
    count = event.attempt_count + 1
    following = retry_at(count, now)
    if following is None:
        return replace(
            event,
            state=EventState.DEAD,
            attempt_count=count,
            handled_at=now,
            next_attempt_at=None,
        )
    return replace(event, attempt_count=count, next_attempt_at=following)
