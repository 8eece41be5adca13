"""Enters what usage cost into the budgets it belongs to, each change exactly once.

A page of the feed is one transaction: changes are matched to budgets in memory, summed by budget,
period and currency, and entered by one statement. Late and corrected usage goes into the period of
its own time. What arrives for an authorized work takes the place of its settlement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from services.budget.domain.cost_fact import CostFact
from services.budget.domain.estimate import bucket_of
from services.budget.domain.ledger_entry import LedgerEntryKind, Movement
from services.budget.domain.scope import SpendAttributes
from services.budget.domain.settlement import OpenAuthorization, replace_by_usage
from services.budget.domain.spend_errors import DirectoryNotRead
from services.budget.domain.terms import CostType
from services.budget.service.budget_index import BudgetIndex, BudgetIndexes
from services.budget.service.directories import Directories
from services.budget.service.reading_ahead import read_ahead
from services.budget.service.spend_ledger import SpendLedger, following
from services.budget.store import accounts, authorizations, cost_history, counted
from services.budget.store.accounts import AccountKey, LockedAccount
from services.budget.store.cost_history import CostSample
from services.budget.store.periods import mark_counted
from services.kernel.clock import Clock
from services.kernel.database import Transaction
from services.kernel.exchange import ExchangeRates, MissingRate
from services.kernel.feed import FeedItem, FeedPage, FeedPosition
from services.kernel.money import EXACT, Money

Pages = Callable[[FeedPosition], AsyncGenerator[FeedPage[CostFact], None]]
CURRENCIES_CONVERTED: Final = 28  # digits of a rate that an entry shows
_ZERO = Decimal(0)


class _Group(NamedTuple):
    """What is entered as one: day is that of the rate, None without conversion."""

    key: AccountKey
    currency_code: str
    day: date | None
    is_correction: bool


@dataclass(slots=True)
class _Sum:
    amount: Decimal = _ZERO
    unpriced: int = 0
    events: int = 0
    sequence: str = ""


class CostLedger:
    """Applies pages of the cost feed."""

    def __init__(
        self,
        indexes: BudgetIndexes,
        directories: Directories,
        ledger: SpendLedger,
        *,
        rates: ExchangeRates,
        clock: Clock,
    ) -> None:
        """Takes what matches changes to budgets."""
        self._indexes = indexes
        self._directories = directories
        self._ledger = ledger
        self._rates = rates
        self._clock = clock

    def source(self, pages: Pages) -> Pages:
        """Returns the pages, having read the directories that each needs, outside transactions.

        Full pages become larger ones: who is behind locks, writes and commits once for all of them.
        """

        async def read(after: FeedPosition) -> AsyncGenerator[FeedPage[CostFact], None]:
            async for page in read_ahead(pages(after)):
                for tenant_id in {item.tenant_id for item in page.items}:
                    if (await self._indexes.get(tenant_id)).budgets:
                        await self._directories.get(tenant_id)
                yield page

        return read

    async def apply(self, tx: Transaction, items: Sequence[FeedItem[CostFact]]) -> None:
        """Enters changes in the transaction that moves the cursor. Raises DirectoryNotRead."""
        now = self._clock.now()
        indexes = await self._current_indexes(tx, {item.tenant_id for item in items})
        covered = [(item, self._covering(item, indexes)) for item in items]
        replaced = await self._replaced(tx, items, now)
        keys = {key for _, found in covered for key, _ in found}
        for opened, cost in replaced:
            del cost
            keys |= {
                AccountKey(opened.tenant_id, h.budget_id, h.period_start) for h in opened.holds
            }
        for key in list(keys):
            keys.update(following(indexes[key.tenant_id], key, now))
        before = await self._ledger.lock(tx, keys, indexes, now)
        movements = self._movements(covered, before)
        for opened, cost in replaced:
            ending = replace_by_usage(opened, cost, now)
            movements += ending.movements
            await authorizations.end(tx, [(ending.authorization, None)])
        after = await accounts.move(tx, movements, now)
        await cost_history.add(tx, _samples(covered), now.date())
        await mark_counted(tx, {item.tenant_id: item.fact.sequence for item in items})
        await counted.add(
            tx,
            [(item.tenant_id, item.fact.recorded_at) for item in items],
            may_continue=items[-1].fact.may_continue,
        )
        await self._ledger.told(tx, before, after, indexes, now, movements=movements)

    async def _current_indexes(
        self, tx: Transaction, tenants: set[str]
    ) -> Mapping[str, BudgetIndex]:
        revisions = await counted.revisions(tx, sorted(tenants))
        found = {}
        for tenant_id in sorted(tenants):
            index = self._indexes.at(tenant_id, revisions.get(tenant_id, 0))
            found[tenant_id] = index or await self._indexes.read(tx, tenant_id)
        return found

    def _covering(
        self, item: FeedItem[CostFact], indexes: Mapping[str, BudgetIndex]
    ) -> list[tuple[AccountKey, tuple[str, CostType]]]:
        """Returns the periods that a change counts in, each with its currency and kind of cost."""
        index = indexes[item.tenant_id]
        if not index.budgets:
            return []
        fact = item.fact
        found = []
        for one in index.covering(self._completed(item.tenant_id, fact.attributes), fact.hour_at):
            terms = one.budget.version_at(fact.hour_at).terms
            if terms.includes_allocated:
                continue  # what rules move is asked for as a whole, see Reconciler
            key = AccountKey(item.tenant_id, one.budget.budget_id, one.period.start)
            found.append((key, (one.budget.currency_code, terms.cost_type)))
        return found

    def _completed(self, tenant_id: str, attributes: SpendAttributes) -> SpendAttributes:
        directory = self._directories.known(tenant_id)
        if directory is None:
            raise DirectoryNotRead(tenant=tenant_id)
        return directory.completed(attributes)

    async def _replaced(
        self, tx: Transaction, items: Sequence[FeedItem[CostFact]], now: datetime
    ) -> list[tuple[OpenAuthorization, Money]]:
        """Returns and locks the authorizations whose own usage the changes bring."""
        del now
        costs = {
            (item.tenant_id, item.fact.authorization_id): Money(
                item.fact.currency_code, item.fact.cost(CostType.BILLED)
            )
            for item in items
            if item.fact.settles
        }
        found = await authorizations.lock(tx, list(costs))
        return [
            (stored.open, costs[key])
            for key, stored in found.items()
            if not stored.open.is_replaced
        ]

    def _movements(
        self,
        covered: Sequence[tuple[FeedItem[CostFact], list[tuple[AccountKey, tuple[str, CostType]]]]],
        before: Mapping[AccountKey, LockedAccount],
    ) -> list[Movement]:
        sums: dict[_Group, _Sum] = {}
        for item, found in covered:
            fact = item.fact
            for key, (currency_code, cost_type) in found:
                locked = before.get(key)
                if locked is None or fact.sequence <= locked.row.filled_sequence:
                    continue  # counted when the budget was filled
                is_converted = fact.currency_code != currency_code
                day = fact.hour_at.date() if is_converted else None
                group = _Group(key, fact.currency_code, day, fact.is_correction)
                total = sums.get(group)
                if total is None:
                    total = sums[group] = _Sum()
                total.amount = EXACT.add(total.amount, fact.cost(cost_type))
                total.unpriced += fact.unpriced_events
                total.events += fact.events
                total.sequence = fact.sequence
        return [
            self._movement(group, total, before[group.key].row.currency_code)
            for group, total in sums.items()
        ]

    def _movement(self, group: _Group, total: _Sum, currency_code: str) -> Movement:
        kind = LedgerEntryKind.CORRECTION if group.is_correction else LedgerEntryKind.USAGE
        movement = Movement(
            *group.key,
            kind,
            currency_code,
            spent_change=total.amount,
            unpriced_change=total.unpriced,
            feed_sequence=total.sequence,
        )
        if group.day is None:
            return movement
        try:
            rate = self._rates.rate(group.currency_code, currency_code, group.day)
        except MissingRate:
            # Not lost and not guessed: the events show as unpriced until a rate is known.
            return movement._replace(
                spent_change=_ZERO, unpriced_change=max(total.events, total.unpriced)
            )
        return movement._replace(
            spent_change=rate.convert(total.amount),
            source_currency=group.currency_code,
            source_amount=total.amount,
            rate=round_rate(rate.rate),
            rate_date=rate.rate_date.isoformat(),
        )


def round_rate(rate: Decimal) -> Decimal:
    """Returns a rate with as many digits as entries show."""
    return EXACT.quantize(rate, Decimal(1).scaleb(rate.adjusted() - CURRENCIES_CONVERTED + 1))


def _samples(
    covered: Sequence[tuple[FeedItem[CostFact], list[tuple[AccountKey, tuple[str, CostType]]]]],
) -> Counter[CostSample]:
    """Counts the cost of single calls that budgets cover; sums of several say nothing of one."""
    samples: Counter[CostSample] = Counter()
    for item, found in covered:
        fact = item.fact
        if not found or fact.events != 1 or fact.unpriced_events or fact.authorization_id:
            continue
        subject = fact.attributes
        upper = bucket_of(fact.cost(CostType.BILLED))
        for resource_id in {subject.resource_id, ""}:
            sample = CostSample(
                item.tenant_id, subject.resource_type, resource_id, fact.currency_code, upper
            )
            samples[sample] += 1
    return samples
