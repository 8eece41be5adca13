"""Whether work may spend: authorize, settle, release, exactly and durably.

Concurrent calls are answered by one transaction a batch. It locks authorizations, then periods,
each in one order; decides every call in turn on the locked figures; and writes everything at once.
A batch that only asks is first tried on the figures that the one before left (spend_at_once.py).
The locks are PostgreSQL's, so any number of replicas decide as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias

import asyncpg

from services.budget.domain.budget import BudgetPeriod
from services.budget.domain.settlement import expire
from services.budget.domain.spend import AuthorizationState, SpendAuthorization
from services.budget.domain.spend_errors import AuthorizationNotFound
from services.budget.service.budget_index import BudgetIndex, BudgetIndexes, Covering
from services.budget.service.spend_at_once import SpendAtOnce
from services.budget.service.spend_batch import (
    Answer,
    BatchView,
    SpendBatch,
    end_requests,
)
from services.budget.service.spend_denial import denial_of
from services.budget.service.spend_ledger import SpendLedger, following
from services.budget.service.spend_request import Ask, Operation, Release, Settle
from services.budget.store import accounts, authorizations, cost_history
from services.budget.store.accounts import AccountKey, LockedAccount
from services.budget.store.authorizations import StoredAuthorization
from services.kernel.clock import Clock
from services.kernel.coalescing import Coalescer
from services.kernel.database import Database, Transaction
from services.kernel.database_errors import CommitUnknown, DatabaseBusy
from services.kernel.errors import Error
from services.kernel.exchange import ExchangeRates

_Lesson: TypeAlias = tuple[
    Mapping[AccountKey, LockedAccount],
    Mapping[AccountKey, BudgetPeriod],
    Mapping[str, BudgetIndex],
    datetime,
]

RACES_MAX: Final = 5  # the same request_id in two replicas at once; the second run finds the first
EXPIRED_MAX: Final = 200  # expired holds that one batch gives back beside its own work


class Spending:
    """The use cases of spend decisions."""

    def __init__(
        self,
        database: Database,
        indexes: BudgetIndexes,
        ledger: SpendLedger,
        *,
        rates: ExchangeRates,
        clock: Clock,
    ) -> None:
        """Takes what a batch needs; the batches run as the worker, over all tenants."""
        self._database = database
        self._indexes = indexes
        self._ledger = ledger
        self._rates = rates
        self._clock = clock
        self._at_once = SpendAtOnce(database, indexes, ledger.feed, rates=rates)
        self._calls: Coalescer[Operation, SpendAuthorization] = Coalescer(
            self._run, name="spend", refuse=DatabaseBusy
        )

    async def authorize_spend(self, ask: Ask) -> SpendAuthorization:
        """Holds what is asked in every covering budget, or in none.

        Raises SpendLimitReached, SpendThrottled or SpendUnpriced unless it is a trial, and
        SpendRequestIdReused.
        """
        authorization = await self._calls.submit(ask.tenant_id, ask)
        is_denied = not authorization.decision.outcome.is_allowed
        if is_denied and not ask.is_trial:
            raise denial_of(authorization, self._clock.now())
        return authorization

    async def settle_spend(self, settle: Settle) -> SpendAuthorization:
        """Replaces a hold by the real cost, in full. Raises what `settlement.settle` does."""
        return await self._calls.submit(settle.tenant_id, settle)

    async def release_spend(self, release: Release) -> SpendAuthorization:
        """Gives a hold back. Raises what `settlement.release` does."""
        return await self._calls.submit(release.tenant_id, release)

    async def explain_authorization(
        self, tenant_id: str, authorization_id: str
    ) -> SpendAuthorization:
        """Returns a past decision with its figures. Raises AuthorizationNotFound."""
        async with self._database.read(tenant_id) as tx:
            found = await authorizations.find(tx, tenant_id, authorization_id)
        if found is None:
            raise AuthorizationNotFound(authorization_id=authorization_id)
        return found.authorization

    async def expire_holds(self) -> int:
        """Gives back the holds that ran out, of all tenants, and returns how many."""

        async def work(tx: Transaction) -> int:
            now = self._clock.now()
            expired = await authorizations.lock_expired(tx, now, EXPIRED_MAX)
            batch = await self._batch(tx, now, [], {}, expired=expired, current={})
            await self._write(tx, *batch)
            return len(expired)

        total = 0
        while count := await self._database.run(None, work):
            total += count
        return total

    async def _run(self, operations: Sequence[Operation]) -> Sequence[Answer | Exception]:
        """Answers a batch; one that fails as a whole is run call by call."""
        try:
            return await self._answered(operations)
        except CommitUnknown as error:
            # What has a request_id finds out by it whether the commit was done; what has none could
            # be done twice, so its caller is told.
            again = [each for each in operations if each.request_id]
            answers = iter(await self._answered(again) if again else ())
            return [next(answers) if each.request_id else error for each in operations]
        except Error as error:
            return [error] * len(operations)
        except Exception as error:  # noqa: BLE001 - one call's values must not fail its neighbours
            if len(operations) == 1:
                return [error]
        return [(await self._run([each]))[0] for each in operations]

    async def _answered(self, operations: Sequence[Operation]) -> Sequence[Answer]:
        """Decides on remembered figures where they still stand, else on locked ones."""
        answers = await self._at_once.answers(operations, self._clock.now())
        if answers is not None:
            return answers
        lessons: list[_Lesson] = []
        for race in range(1, RACES_MAX + 1):
            try:
                answers = await self._database.run(
                    None, lambda tx: self._work(tx, operations, lessons)
                )
            except asyncpg.UniqueViolationError:
                if race == RACES_MAX:
                    raise
            else:
                self._at_once.learn(*lessons[-1])
                return answers
        raise ValueError("at least one run")

    async def _work(
        self, tx: Transaction, operations: Sequence[Operation], lessons: list[_Lesson]
    ) -> Sequence[Answer]:
        """Decides on locked figures. lessons: gets what there is to learn once it is committed."""
        now = self._clock.now()
        seen = await authorizations.prelude(
            tx,
            [each.tenant_id for each in operations],
            [each.request_id if isinstance(each, Ask) else "" for each in operations],
            now,
        )
        wanted = [(e.tenant_id, e.authorization_id) for e in operations if not isinstance(e, Ask)]
        requests = end_requests(operations)
        ended = await authorizations.ended_by(tx, requests) if requests else {}
        targets = await authorizations.lock(tx, wanted)
        # Of these tenants alone: nobody waits for the locks of others, or fails with them.
        own = sorted(seen.revisions)
        expired = (
            await authorizations.lock_expired(tx, now, EXPIRED_MAX, tenants=own)
            if seen.has_expired
            else []
        )
        current = {
            tenant_id: self._indexes.at(tenant_id, revision)
            or await self._indexes.read(tx, tenant_id)
            for tenant_id, revision in seen.revisions.items()
        }
        batch, before, indexes = await self._batch(
            tx, now, operations, targets, expired=expired, current=current
        )
        batch.view.answered.update(seen.answered)
        batch.view.ended.update(ended)
        answers = [batch.answer(place, each) for place, each in enumerate(operations)]
        after = await self._write(tx, batch, before, indexes)
        lessons.append((before, after, indexes, now))
        return answers

    async def _batch(
        self,
        tx: Transaction,
        now: datetime,
        operations: Sequence[Operation],
        targets: dict[tuple[str, str], StoredAuthorization],
        *,
        expired: Sequence[StoredAuthorization],
        current: Mapping[str, BudgetIndex],
    ) -> tuple[SpendBatch, Mapping[AccountKey, LockedAccount], Mapping[str, BudgetIndex]]:
        """Locks the periods of everything at once, and gives back what ran out.

        current: indexes as this transaction sees them; those of other tenants are read here.
        """
        tenants = {each.tenant_id for each in operations}
        tenants |= {each.open.tenant_id for each in expired}
        indexes = {
            tenant_id: current.get(tenant_id) or await self._indexes.read(tx, tenant_id)
            for tenant_id in sorted(tenants)
        }
        covering: list[Sequence[Covering]] = [
            indexes[each.tenant_id].covering(each.subject, now) if isinstance(each, Ask) else ()
            for each in operations
        ]
        keys = {
            AccountKey(each.tenant_id, one.budget.budget_id, one.period.start)
            for each, found in zip(operations, covering, strict=True)
            for one in found
        }
        for stored in (*targets.values(), *expired):
            for hold in stored.open.holds:
                key = AccountKey(stored.open.tenant_id, hold.budget_id, hold.period_start)
                keys |= {key, *following(indexes[key.tenant_id], key, now)}
        before = await self._ledger.lock(tx, keys, indexes, now)
        view = BatchView(now, indexes, covering, before, targets, {}, {})
        batch = SpendBatch(view, self._rates)
        for stored in expired:
            if stored.open.state is AuthorizationState.HELD:
                batch.end(stored, expire(stored.open, now))
        return batch, before, indexes

    async def _write(
        self,
        tx: Transaction,
        batch: SpendBatch,
        before: Mapping[AccountKey, LockedAccount],
        indexes: Mapping[str, BudgetIndex],
    ) -> Mapping[AccountKey, BudgetPeriod]:
        """Stores the batch and returns the periods that it moved, as they are then."""
        now = batch.view.now
        if batch.news:
            await authorizations.insert(tx, batch.news, now)
        await authorizations.end(tx, batch.claims())
        after = await accounts.move(
            tx, batch.movements, now, denied=batch.denied, throttled=batch.throttled
        )
        await cost_history.add(tx, batch.samples, now.date())
        await self._ledger.told(tx, before, after, indexes, now, movements=batch.movements)
        return after
