"""Compares ledgers with the usage service, each budget and period, and repairs what differs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

import structlog

from services.budget.domain.alert import AlertKind, round_for_people
from services.budget.domain.budget import Budget
from services.budget.domain.change import ChangeKind
from services.budget.domain.ledger_entry import LedgerEntryKind, Movement
from services.budget.domain.reconciliation import (
    BudgetDrift,
    Reconciliation,
    ReconciliationState,
    ReconciliationTrigger,
)
from services.budget.domain.spend_errors import ReconciliationNotFound
from services.budget.errors import BudgetNotFound, FillContended
from services.budget.service.comparing import cause_of, drift_of, unpriced_change_of
from services.budget.service.evaluating import Evaluator
from services.budget.service.filling import COST_CONSUMER
from services.budget.service.periods import Periods, change_of_period
from services.budget.service.usage import SpendAnswer, UsageReader
from services.budget.store import accounts, budgets, reconciliations
from services.budget.store.accounts import AccountKey
from services.budget.store.alert_candidates import PeriodKey
from services.budget.store.changes import BudgetFeed
from services.budget.store.periods import lock_counted, mark_filled
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Error
from services.kernel.ids import new_id
from services.kernel.jobs import Job, enqueue
from services.kernel.money import EXACT, Money
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period

JOB: Final = "reconcile_budgets"
NIGHTLY_JOB: Final = "reconcile_nightly"
ACTOR: Final = "service:budget"
PERIODS_DEFAULT: Final = 2  # the running one and the one before, which late usage still changes
ATTEMPTS: Final = 10  # comparisons while usage arrives
ROUNDING: Final = Decimal("0.000000001")  # converting each change and their sum may differ so
RECOUNT_ATTEMPTS: Final = 60  # a tenant that never stops recording leaves a gap between batches
PAUSE_SECONDS: Final = 0.2  # in which the feed's consumer comes as far as the answer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReconciliationWish:
    """What a caller wants compared. budget_ids: none for all. start_at, end_at: None by default."""

    tenant_id: str
    budget_ids: tuple[str, ...]
    start_at: datetime | None
    end_at: datetime | None
    is_repairing: bool
    author: str


class Reconciler:
    """The use cases of reconciliation, and the job that does the work."""

    def __init__(
        self,
        database: Database,
        *,
        usage: UsageReader,
        periods: Periods,
        feed: BudgetFeed,
        evaluator: Evaluator,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """usage: whose answer is the truth. evaluator: compares what changed with thresholds."""
        self._database = database
        self._usage = usage
        self._periods = periods
        self._feed = feed
        self._evaluator = evaluator
        self._tokens = tokens
        self._clock = clock

    async def reconcile_budgets(self, wish: ReconciliationWish) -> Reconciliation:
        """Queues a comparison. Raises BudgetNotFound."""
        async with self._database.transaction(wish.tenant_id) as tx:
            known = await budgets.find_budgets(tx, wish.tenant_id, wish.budget_ids)
            for budget_id in wish.budget_ids:
                if budget_id not in known:
                    raise BudgetNotFound(budget_id=budget_id)
            one = await self._queued(tx, wish, ReconciliationTrigger.REQUEST)
            await audit.append(
                tx,
                action="budget_reconciliation.start",
                resource=f"budget-reconciliations/{one.reconciliation_id}",
                after={"repair": one.is_repairing, "budget_ids": list(one.budget_ids)},
            )
        return one

    async def get_budget_reconciliation(
        self, tenant_id: str, reconciliation_id: str
    ) -> Reconciliation:
        """Returns one reconciliation. Raises ReconciliationNotFound."""
        async with self._database.read(tenant_id) as tx:
            found = await reconciliations.find(tx, tenant_id, reconciliation_id)
        if found is None:
            raise ReconciliationNotFound(reconciliation_id=reconciliation_id)
        return found

    async def list_budget_reconciliations(self, page: PageRequest) -> Page[Reconciliation]:
        """Returns a page of reconciliations."""
        async with self._database.read(page.tenant_id) as tx:
            return await reconciliations.list_reconciliations(tx, page, self._tokens)

    async def list_budget_drifts(
        self, page: PageRequest, reconciliation_id: str
    ) -> Page[BudgetDrift]:
        """Returns a page of what a reconciliation found. Raises ReconciliationNotFound."""
        await self.get_budget_reconciliation(page.tenant_id, reconciliation_id)
        async with self._database.read(page.tenant_id) as tx:
            return await reconciliations.list_drifts(tx, page, self._tokens, reconciliation_id)

    async def run_nightly(self, _: Job) -> None:
        """Queues a repairing comparison of every tenant."""
        async with self._database.system_transaction() as tx:
            for tenant_id in await reconciliations.tenants_with_budgets(tx):
                wish = ReconciliationWish(
                    tenant_id, (), None, None, is_repairing=True, author=ACTOR
                )
                await self._queued(tx, wish, ReconciliationTrigger.SCHEDULE)

    async def count_allocated(self, budget: Budget, period: Period) -> None:
        """Brings a period up to what usage says, allocated cost included.

        Nothing else counts cost in such a budget, so the newest answer is right, while usage
        arrives too. Raises PeerUnavailable, PeerTimeout, UsageRefused.
        """
        terms = budget.terms_of(period, self._clock.now())
        answer = await self._usage.spend(budget.tenant_id, terms, period)
        async with self._database.system_transaction() as tx:
            compared = await reconciliations.lock_compared(
                tx, budget.tenant_id, budget.budget_id, period
            )
            if compared is not None and answer.sequence >= compared.row.filled_sequence:
                await self._set(tx, budget, compared, answer, LedgerEntryKind.CORRECTION)

    async def recount(self, budget: Budget, period: Period) -> None:
        """Sets a period to what usage says where the feed's changes are no longer to be had.

        The feed counts on after the answer. Raises FillContended while usage never pauses,
        PeerUnavailable, PeerTimeout, UsageRefused.
        """
        terms = budget.terms_of(period, self._clock.now())
        for _ in range(RECOUNT_ATTEMPTS):
            certain = await self._usage.horizon(budget.tenant_id)
            answer = await self._usage.spend(budget.tenant_id, terms, period)
            if answer.is_certain and answer.sequence <= certain:
                async with self._database.system_transaction() as tx:
                    counted = await lock_counted(tx, budget.tenant_id, COST_CONSUMER)
                    compared = await reconciliations.lock_compared(
                        tx, budget.tenant_id, budget.budget_id, period
                    )
                    if compared is None:
                        return
                    if answer.sequence >= counted:
                        await self._set(tx, budget, compared, answer, LedgerEntryKind.REPAIR)
                        return
            await asyncio.sleep(PAUSE_SECONDS)
        raise FillContended(budget_id=budget.budget_id)

    async def _set(
        self,
        tx: Transaction,
        budget: Budget,
        compared: reconciliations.ComparedRow,
        answer: SpendAnswer,
        kind: LedgerEntryKind,
    ) -> None:
        drift = drift_of(budget, compared, answer, cause_of(answer, compared, is_comparable=True))
        unpriced_change = unpriced_change_of(compared, answer)
        if drift.difference or unpriced_change:
            drift = replace(drift, is_repaired=True)
            await self._repair(tx, budget, drift, kind, unpriced_change)
        if abs(drift.difference) > ROUNDING:
            await self._report(tx, budget, drift)
        await mark_filled(tx, budget.tenant_id, compared.row, answer.sequence)

    async def run(self, job: Job) -> None:
        """Does a queued comparison; again from its beginning after a crash, which is harmless."""
        order = json.loads(job.payload)
        tenant_id: str = order["tenant_id"]
        async with self._database.system_transaction() as tx:
            one = await reconciliations.find(tx, tenant_id, order["reconciliation_id"])
        if one is None or one.state in (ReconciliationState.SUCCEEDED, ReconciliationState.FAILED):
            return
        try:
            one = await self._done(one)
        except Error as error:
            now = self._clock.now()
            one = replace(one, state=ReconciliationState.FAILED, error=error.message, ended_at=now)
        await self._save(one)
        log.info("reconciled", tenant=tenant_id, drifts=one.drift_count, error=one.error)

    async def _done(self, one: Reconciliation) -> Reconciliation:
        wanted = await self._wanted(one)
        one = replace(one, state=ReconciliationState.RUNNING, total_units=len(wanted))
        await self._save(one)
        kind = LedgerEntryKind.REPAIR if one.is_repairing else None
        for budget, period in wanted:
            drift = await self._compare(budget, period, kind, one.reconciliation_id)
            one = replace(
                one,
                done_units=one.done_units + 1,
                drift_count=one.drift_count + (drift is not None),
                repaired_count=one.repaired_count + (drift is not None and drift.is_repaired),
            )
            await self._save(one)
        return replace(one, state=ReconciliationState.SUCCEEDED, ended_at=self._clock.now())

    async def _wanted(self, one: Reconciliation) -> list[tuple[Budget, Period]]:
        """Returns the periods to compare: whole ones, by default the running and the last one."""
        async with self._database.system_transaction() as tx:
            found = (
                list((await budgets.find_budgets(tx, one.tenant_id, one.budget_ids)).values())
                if one.budget_ids
                else await budgets.live_budgets(tx, one.tenant_id)
            )
        wanted = []
        for budget in found:
            current = budget.period_at(min(one.end_at, self._clock.now()))
            count = 0
            while current is not None and not _is_before(current, one.start_at, count):
                wanted.append((budget, current))
                current = budget.preceding(current)
                count += 1
        return wanted

    async def _compare(
        self,
        budget: Budget,
        period: Period,
        kind: LedgerEntryKind | None,
        reconciliation_id: str,
    ) -> BudgetDrift | None:
        """Compares one period; corrects it by an entry of the kind, where there is one.

        Comparable are an answer and a ledger that count the same changes; while usage arrives they
        are asked again, and what cannot be compared is told and never repaired.
        """
        terms = budget.terms_of(period, self._clock.now())
        for attempt in range(1, ATTEMPTS + 1):
            answer = await self._usage.spend(budget.tenant_id, terms, period)
            async with self._database.system_transaction() as tx:
                counted = await lock_counted(tx, budget.tenant_id, COST_CONSUMER)
                compared = await reconciliations.lock_compared(
                    tx, budget.tenant_id, budget.budget_id, period
                )
                if compared is None:
                    return None
                last = max(counted, compared.row.filled_sequence)
                is_comparable = answer.is_certain and last == answer.sequence
                if is_comparable or attempt == ATTEMPTS:
                    cause = cause_of(answer, compared, is_comparable=is_comparable)
                    return await self._judge(
                        tx,
                        budget,
                        drift_of(budget, compared, answer, cause),
                        unpriced_change=unpriced_change_of(compared, answer),
                        kind=kind,
                        is_comparable=is_comparable,
                        reconciliation_id=reconciliation_id,
                    )
            await asyncio.sleep(PAUSE_SECONDS)
        raise ValueError("at least one attempt")

    async def _judge(
        self,
        tx: Transaction,
        budget: Budget,
        drift: BudgetDrift,
        *,
        unpriced_change: int,
        kind: LedgerEntryKind | None,
        is_comparable: bool,
        reconciliation_id: str,
    ) -> BudgetDrift | None:
        kind = kind if is_comparable else None
        if not drift.difference and not (kind and unpriced_change):
            return None
        if kind is not None:
            drift = replace(drift, is_repaired=True)
            await self._repair(tx, budget, drift, kind, unpriced_change)
        if reconciliation_id:
            drift = await reconciliations.add_drift(tx, budget.tenant_id, reconciliation_id, drift)
            if abs(drift.difference) > ROUNDING and is_comparable:
                await self._report(tx, budget, drift)
        return drift

    async def _report(self, tx: Transaction, budget: Budget, drift: BudgetDrift) -> None:
        """Fires an alert about a difference that should not be."""
        terms = budget.newest.terms
        if terms.includes_allocated:
            return  # what rules moved since the last count is no error
        difference = round_for_people(Money(drift.currency_code, abs(drift.difference)))
        repaired = "It is repaired." if drift.is_repaired else "It is not repaired yet."
        message = f"{terms.display_name} and stored usage differ by {difference}. {repaired}"
        key = PeriodKey(budget.tenant_id, budget.budget_id, drift.period.start)
        await self._evaluator.report(tx, key, AlertKind.LEDGER_DRIFT, message)

    async def _repair(
        self,
        tx: Transaction,
        budget: Budget,
        drift: BudgetDrift,
        kind: LedgerEntryKind,
        unpriced_change: int,
    ) -> None:
        now = self._clock.now()
        movement = Movement(
            budget.tenant_id,
            budget.budget_id,
            drift.period.start,
            kind,
            drift.currency_code,
            spent_change=EXACT.minus(drift.difference),
            unpriced_change=unpriced_change,
        )
        moved = await accounts.move(tx, [movement], now)
        row = moved[AccountKey(*movement[:3])]
        fact = change_of_period(row, ChangeKind.RECONCILED, now)
        await self._feed.append(tx, [fact], tenant_id=budget.tenant_id)
        await self._evaluator.evaluate_rows(tx, budget.tenant_id, [row])
        await self._periods.carry(tx, budget, row)
        if kind is LedgerEntryKind.REPAIR:
            await audit.append(
                tx,
                action="budget.repair",
                resource=f"budgets/{budget.budget_id}",
                before={"period_start": drift.period.start, "spent": drift.ledger_spent},
                after={"period_start": drift.period.start, "spent": drift.usage_spent},
                tenant_id=budget.tenant_id,
                actor=ACTOR,
            )

    async def _queued(
        self, tx: Transaction, wish: ReconciliationWish, trigger: ReconciliationTrigger
    ) -> Reconciliation:
        now = self._clock.now()
        one = Reconciliation(
            tenant_id=wish.tenant_id,
            reconciliation_id=new_id(),
            state=ReconciliationState.PENDING,
            trigger=trigger,
            is_repairing=wish.is_repairing,
            budget_ids=wish.budget_ids,
            start_at=wish.start_at,
            end_at=wish.end_at or now,
            author=wish.author,
            created_at=now,
            updated_at=now,
        )
        await reconciliations.add(tx, one)
        payload = {"tenant_id": one.tenant_id, "reconciliation_id": one.reconciliation_id}
        await enqueue(tx, JOB, json.dumps(payload).encode(), tenant_id=one.tenant_id)
        return one

    async def _save(self, one: Reconciliation) -> None:
        async with self._database.system_transaction() as tx:
            await reconciliations.save(tx, replace(one, updated_at=self._clock.now()))


def _is_before(period: Period, start_at: datetime | None, count: int) -> bool:
    """Tells whether a period is earlier than what is compared. count: later ones that are."""
    return count >= PERIODS_DEFAULT if start_at is None else period.end <= start_at
