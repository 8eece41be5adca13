"""Finds the usage events that authorizations name, so that none counts beside its settlement.

The cost feed sums events and names none, so an event that an authorization names by its id is asked
for. Until it is found the settlement counts beside it, which holds back work and never admits too
much; where usage carries the tag `finops_authorization_id` there is no such time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from services.budget.domain.settlement import OpenAuthorization, replace_by_usage
from services.budget.errors import UsageRefused
from services.budget.service.budget_index import BudgetIndexes
from services.budget.service.spend_ledger import SpendLedger, following
from services.budget.store import accounts, authorizations, counted
from services.budget.store.accounts import AccountKey
from services.budget.store.authorizations import Claim
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Error
from services.kernel.money import Money

INTERVAL_SECONDS: Final = 0.5
BATCH: Final = 100  # claims looked up at once
CALLS: Final = 8  # look-ups in flight
FIRST_WAIT: Final = timedelta(seconds=1)
LONGEST_WAIT: Final = timedelta(hours=1)
PATIENCE: Final = timedelta(days=35)  # as long as the cost feed is kept

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """A stored usage event. recorded_at: of the transaction that stored it last."""

    cost: Money
    recorded_at: datetime


class UsageEvents(Protocol):
    """Asks the usage service; never inside a transaction."""

    async def find(self, tenant_id: str, source: str, event_id: str) -> FoundEvent | None:
        """Returns a priced event, of any source where none is named; None where there is none.

        Raises PeerUnavailable, PeerTimeout, UsageRefused.
        """


class Claims:
    """The worker that looks for named events."""

    def __init__(
        self,
        database: Database,
        events: UsageEvents,
        indexes: BudgetIndexes,
        ledger: SpendLedger,
        *,
        clock: Clock,
    ) -> None:
        """events: who knows them."""
        self._database = database
        self._events = events
        self._indexes = indexes
        self._ledger = ledger
        self._clock = clock

    async def run(self) -> None:
        """Works until cancelled. A failure is logged and tried again."""
        while True:
            try:
                looked_up = await self.look_up()
            except Error as error:
                log.warning("claims failed", reason=error.reason, message=error.message)
                looked_up = 0
            if looked_up < BATCH:
                await asyncio.sleep(INTERVAL_SECONDS)

    async def look_up(self) -> int:
        """Looks for the events of the claims that are due, and returns how many there were."""
        async with self._database.system_transaction() as tx:
            due = await authorizations.due_claims(tx, self._clock.now(), BATCH)
        turns = asyncio.Semaphore(CALLS)

        async def one(claim: Claim) -> None:
            async with turns:
                found = await self._find(claim)
                await self._database.run(None, lambda tx: self._settle(tx, claim, found))

        await asyncio.gather(*(one(claim) for claim in due))
        return len(due)

    async def _find(self, claim: Claim) -> FoundEvent | None:
        try:
            return await self._events.find(
                claim.tenant_id, claim.usage_source, claim.usage_event_id
            )
        except UsageRefused as error:
            # Looked for again like one that has not arrived: it must not hold the others up.
            log.warning(
                "claim refused",
                claim=claim.authorization_id,
                reason=error.reason,
                metadata=error.metadata,
            )
            return None

    async def _settle(self, tx: Transaction, claim: Claim, found: FoundEvent | None) -> None:
        now = self._clock.now()
        key = (claim.tenant_id, claim.authorization_id)
        stored = (await authorizations.lock(tx, [key])).get(key)
        if stored is None or stored.open.is_replaced:
            return
        is_counted = found is not None and await counted.is_counted(
            tx, claim.tenant_id, found.recorded_at
        )
        if found is None or not is_counted:
            age = now - claim.created_at
            wait = min(max(age / 4, FIRST_WAIT), LONGEST_WAIT)
            await authorizations.end(tx, [(stored.open, now + wait if age < PATIENCE else None)])
            return
        await self._replace(tx, stored.open, found, now)

    async def _replace(
        self, tx: Transaction, opened: OpenAuthorization, found: FoundEvent, now: datetime
    ) -> None:
        tenant_id = opened.tenant_id
        index = await self._indexes.read(tx, tenant_id)
        keys = {AccountKey(tenant_id, hold.budget_id, hold.period_start) for hold in opened.holds}
        for key in list(keys):
            keys.update(following(index, key, now))
        indexes = {tenant_id: index}
        before = await self._ledger.lock(tx, keys, indexes, now)
        ending = replace_by_usage(opened, found.cost, now)
        await authorizations.end(tx, [(ending.authorization, None)])
        after = await accounts.move(tx, ending.movements, now)
        await self._ledger.told(tx, before, after, indexes, now, movements=ending.movements)
