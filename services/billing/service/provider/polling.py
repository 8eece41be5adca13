"""Reads what happened at each account, for events that no webhook told: once an account."""

from __future__ import annotations

from datetime import timedelta

import structlog

from services.billing.service.provider import inbox
from services.billing.service.provider.port import ProviderFault
from services.billing.service.provider.providers import Opened, Providers
from services.billing.store import events_read, provider_settings, webhook_events
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import Error
from services.kernel.jobs import Job
from services.kernel.period import Period

EVENTS_JOB = "provider_events"
OVERLAP = timedelta(hours=1)  # with what was read before, for what was on its way
FIRST_WINDOW = timedelta(days=29)  # Stripe keeps events for 30 days
log = structlog.get_logger(__name__)


class Polling:
    """Takes in what the provider says has happened, however many tenants an account bills."""

    def __init__(self, database: Database, providers: Providers, *, clock: Clock) -> None:
        """Takes the database, the providers and the clock."""
        self._database = database
        self._providers = providers
        self._clock = clock

    async def run(self, _: Job) -> None:
        """Reads every account since it was read last; one that fails holds no other up."""
        async with self._database.system_transaction() as tx:
            owners = await provider_settings.stripe_owners(tx)
        for owner in owners:
            try:
                await self.read_account(owner)
            except (ProviderFault, Error) as fault:
                log.warning("events not read", tenant=owner, error=str(fault))
            except Exception:
                log.exception("events not read", tenant=owner)

    async def read_account(self, owner: str) -> int:
        """Reads an account since it was read last; returns how many events were missed.

        Raises ProviderFault.
        """
        now = self._clock.now()
        opened = await self._providers.of(owner)
        async with self._database.system_transaction() as tx:
            last = await events_read.read_until(tx, owner)
        since = now - FIRST_WINDOW if last is None else max(last - OVERLAP, now - FIRST_WINDOW)
        missed = await self.take_in(opened, Period(since, now))
        async with self._database.system_transaction() as tx:
            await events_read.set_read_until(tx, owner, now)
        if missed:
            log.info("missed events taken in", tenant=owner, events=missed)
        return missed

    async def take_in(self, opened: Opened, window: Period) -> int:
        """Adds events since a window's start to the inbox; returns how many were missed."""
        owner, missed = opened.settings.tenant_id, 0
        async for remote in opened.provider.events_since(window.start):
            async with self._database.system_transaction() as tx:
                if not await webhook_events.known_event(tx, owner, remote.event_id):
                    missed += await inbox.add(tx, owner, remote, now=self._clock.now())
        return missed
