"""Decides batches of asks on the figures of the batch before, and stores them in one statement.

The statement compares before it writes: where anything has moved meanwhile, by another replica, a
cost that arrived, a change of a budget, it stores nothing, and the batch is decided again on locked
figures. So the guarantee is that of the locks, and the usual batch takes one round trip.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

import asyncpg

from services.budget.domain.budget import BudgetPeriod
from services.budget.domain.change import BudgetChange, ChangeKind
from services.budget.domain.decision import Account, CoveringBudget
from services.budget.service.budget_index import BudgetIndex, BudgetIndexes
from services.budget.service.evaluating import quiet_until
from services.budget.service.periods import change_of_period
from services.budget.service.spend_batch import Answer, BatchView, SpendBatch
from services.budget.service.spend_ledger import told_until
from services.budget.service.spend_request import Ask, Operation
from services.budget.store import spend_at_once
from services.budget.store.accounts import AccountKey, LockedAccount
from services.budget.store.changes import BudgetFeed
from services.budget.store.spend_at_once import AccountMove
from services.kernel.database import Database
from services.kernel.database_errors import DatabaseUnavailable, TransactionConflict
from services.kernel.errors import Error
from services.kernel.exchange import ExchangeRates
from services.kernel.money import EXACT

KNOWN_MAX: Final = 10_000  # periods remembered, about 20 MB; the least recently used goes first
PASSES_MAX: Final = 32  # batches that a period is left to the locks after others moved it each time
_ZERO: Final = Decimal(0)


@dataclass(slots=True)
class _Known:
    """A period as this process left it. row: as it was read last; the rest goes on from there.

    index: the budgets it was read with. passes: batches that are yet left to the locks; lost: how
    often in a row others had moved it.
    """

    row: BudgetPeriod
    account: Account
    index: BudgetIndex
    revision: int
    denied_count: int
    quiet_until: Decimal
    told_until: Decimal
    budget: CoveringBudget | None = None
    passes: int = 0
    lost: int = 0


class SpendAtOnce:
    """Remembers periods, and answers batches by them while they stand."""

    def __init__(
        self,
        database: Database,
        indexes: BudgetIndexes,
        feed: BudgetFeed,
        *,
        rates: ExchangeRates,
    ) -> None:
        """feed: where facts about totals go. The batches run as the worker, over all tenants."""
        self._database = database
        self._indexes = indexes
        self._feed = feed
        self._rates = rates
        self._known: OrderedDict[AccountKey, _Known] = OrderedDict()

    async def answers(
        self, operations: Sequence[Operation], now: datetime
    ) -> Sequence[Answer] | None:
        """Answers a batch; None where it has to be decided on locked figures.

        Raises CommitUnknown, and what makes the statement fail as a whole.
        """
        batch = self._view(operations, now)
        if batch is None:
            return None
        answers = [batch.answer(place, each) for place, each in enumerate(operations)]
        moves = [
            AccountMove(
                key,
                self._known[key].revision,
                EXACT.subtract(locked.account.held, self._known[key].account.held),
                batch.denied.get(key, 0),
                batch.throttled.get(key),
            )
            for key, locked in batch.view.accounts.items()
        ]
        if any(self._is_alarming(batch, move) for move in moves):
            return None
        changes = self._changes(batch, moves)
        # Until the outcome is known, nothing is.
        entries = {move.key: self._known.pop(move.key) for move in moves}
        try:
            is_stored = await spend_at_once.store(
                self._database,
                moves,
                revisions={tenant: index.revision for tenant, index in batch.view.indexes.items()},
                news=batch.news,
                movements=batch.movements,
                changes=changes,
                at=now,
                is_denying=any(map(_is_denial, answers)),
            )
        except (asyncpg.UniqueViolationError, DatabaseUnavailable, TransactionConflict):
            is_stored = False
        for move in moves:
            self._go_on(entries[move.key], batch.view.accounts[move.key], move, is_stored=is_stored)
        if not is_stored:
            return None
        if changes:
            self._feed.wake({tenant_id for tenant_id, _ in changes})
        return answers

    def learn(
        self,
        before: Mapping[AccountKey, LockedAccount],
        after: Mapping[AccountKey, BudgetPeriod],
        indexes: Mapping[str, BudgetIndex],
        now: datetime,
    ) -> None:
        """Takes note of periods as a committed transaction left them."""
        for key, locked in before.items():
            row = after.get(key, locked.row)
            index = indexes[key.tenant_id]
            budget = index.budgets.get(key.budget_id)
            earlier = self._known.pop(key, None)
            if budget is None or row.closed_at is not None or row.limit_until <= now:
                continue
            totals = row.totals
            self._known[key] = _Known(
                row,
                Account(totals.limit, totals.spent, totals.held, locked.account.throttled_until),
                index,
                row.revision,
                row.denied_count,
                quiet_until(budget, row, now),
                told_until(totals),
                passes=0 if earlier is None else earlier.passes,
                lost=0 if earlier is None else earlier.lost,
            )
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def _view(self, operations: Sequence[Operation], now: datetime) -> SpendBatch | None:
        """Returns the batch on what is remembered; None where that is not enough."""
        indexes: dict[str, BudgetIndex] = {}
        covering = []
        accounts: dict[AccountKey, LockedAccount] = {}
        is_passed = False
        for each in operations:
            if not isinstance(each, Ask):
                return None
            index = indexes.get(each.tenant_id) or self._indexes.known(each.tenant_id)
            if index is None:
                return None
            indexes[each.tenant_id] = index
            covering.append(index.covering(each.subject, now))
            for one in covering[-1]:
                key = AccountKey(each.tenant_id, one.budget.budget_id, one.period.start)
                if key in accounts:
                    continue
                known = self._known.get(key)
                if known is None or known.index is not index or known.row.limit_until <= now:
                    return None
                if known.passes:
                    known.passes -= 1
                    is_passed = True
                accounts[key] = LockedAccount(known.row, replace(known.account), known.budget)
        if is_passed:
            return None
        return SpendBatch(BatchView(now, indexes, covering, accounts, {}, {}, {}), self._rates)

    def _is_alarming(self, batch: SpendBatch, move: AccountMove) -> bool:
        """Tells whether an alert may follow, which needs the locks."""
        known = self._known[move.key]
        account = batch.view.accounts[move.key].account
        if move.denied and not known.denied_count:
            return True
        return EXACT.add(account.spent, account.held) >= known.quiet_until

    def _changes(
        self, batch: SpendBatch, moves: Sequence[AccountMove]
    ) -> list[tuple[str, BudgetChange]]:
        """Returns the facts that totals have moved on, each with its tenant."""
        found = []
        for move in moves:
            known = self._known[move.key]
            account = batch.view.accounts[move.key].account
            if EXACT.add(account.spent, account.held) < known.told_until:
                continue
            row = replace(known.row, totals=replace(known.row.totals, held=account.held))
            known.told_until = told_until(row.totals)
            fact = change_of_period(row, ChangeKind.TOTALS, batch.view.now)
            found.append((move.key.tenant_id, fact))
        return found

    def _go_on(
        self, known: _Known, locked: LockedAccount, move: AccountMove, *, is_stored: bool
    ) -> None:
        """Remembers a period as the batch left it, or that it is left to the locks for a while."""
        if is_stored:
            known.account = locked.account
            known.budget = locked.budget
            known.revision += move.is_change
            known.denied_count += move.denied
            known.lost = 0
        else:
            known.passes = min(2**known.lost, PASSES_MAX)
            known.lost += 1
        self._known[move.key] = known


def _is_denial(answer: Answer) -> bool:
    return not isinstance(answer, Error) and not answer.decision.outcome.is_allowed
