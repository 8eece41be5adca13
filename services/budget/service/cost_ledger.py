"""Enters what usage cost into the budgets it belongs to, each change exactly once.

A page of the feed is one transaction: changes are matched to budgets in memory, which costs most of
them one look-up, summed by budget, period and currency, and entered by one statement. Late and
corrected usage goes into the period of its own time. What arrives for an authorized work takes the
place of its settlement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from services.budget.domain.cost_block import CostBlock, instant_of
from services.budget.domain.estimate import bucket_of
from services.budget.domain.ledger_entry import LedgerEntryKind, Movement
from services.budget.domain.settlement import OpenAuthorization, replace_by_usage
from services.budget.domain.spend_errors import DirectoryNotRead
from services.budget.service.budget_index import TENANTS_MAX, BudgetIndex, BudgetIndexes
from services.budget.service.cost_facts import fact_of, position_of
from services.budget.service.covering import Coverage, Target
from services.budget.service.directories import Directories
from services.budget.service.spend_ledger import SpendLedger, following
from services.budget.store import accounts, authorizations, cost_history, counted
from services.budget.store.accounts import AccountKey, LockedAccount
from services.budget.store.cost_history import CostSample
from services.budget.store.periods import mark_counted
from services.kernel.ahead import several_ahead
from services.kernel.clock import Clock
from services.kernel.database import Transaction
from services.kernel.exchange import ExchangeRates, MissingRate
from services.kernel.feed_page import FeedItem, FeedPage, FeedPosition, joined
from services.kernel.money import EXACT, Money

Pages = Callable[[FeedPosition], AsyncGenerator[FeedPage[CostBlock], None]]
# Some 15,000 changes: the locks of a transaction over them are held for a quarter of a second, for
# which calls about the same budgets wait.
PAGES_TOGETHER_MAX: Final = 5
CURRENCIES_CONVERTED: Final = 28  # digits of a rate that an entry shows
_ZERO = Decimal(0)
_EVERYTHING = FeedPosition(2**64, 0)  # beyond every position

# The changes of a block that count, by their number in it, and where each does.
_Covered = tuple[FeedItem[CostBlock], list[tuple[int, tuple[Target, ...]]]]


class _Group(NamedTuple):
    """What is entered as one: day is that of the rate, None without conversion."""

    target: Target
    currency_code: str
    day: date | None
    is_correction: bool


@dataclass(slots=True)
class _Sum:
    """The changes of a group so far. change: the newest one, by its number in the block."""

    item: FeedItem[CostBlock]
    change: int = 0
    amount: Decimal = _ZERO
    unpriced: int = 0
    events: int = 0


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
        self._coverages: dict[str, Coverage] = {}

    def source(self, pages: Pages) -> Pages:
        """Returns the pages, having read the directories that each needs, outside transactions.

        Who is behind gets several as one: it locks, writes and commits once for all of them.
        """

        async def read(after: FeedPosition) -> AsyncGenerator[FeedPage[CostBlock], None]:
            ahead = several_ahead(pages(after), most=PAGES_TOGETHER_MAX)
            async with aclosing(ahead) as found:
                async for several in found:
                    page = joined(several)
                    for tenant_id in {item.tenant_id for item in page.items}:
                        if (await self._indexes.get(tenant_id)).budgets:
                            await self._directories.get(tenant_id)
                    yield page

        return read

    async def apply(self, tx: Transaction, items: Sequence[FeedItem[CostBlock]]) -> None:
        """Enters changes in the transaction that moves the cursor. Raises DirectoryNotRead."""
        now = self._clock.now()
        indexes = await self._current_indexes(tx, {item.tenant_id for item in items})
        covered = [(item, self._covered(item, indexes[item.tenant_id])) for item in items]
        replaced = await self._replaced(tx, items)
        targets = {each for _, found in covered for _, several in found for each in several}
        keys = {target.key for target in targets}
        late = {target.key for target in targets if target.ends_at <= now}
        for opened, _ in replaced:
            late |= {
                AccountKey(opened.tenant_id, h.budget_id, h.period_start) for h in opened.holds
            }
        for key in late:
            keys |= {key, *following(indexes[key.tenant_id], key, now)}
        before = await self._ledger.lock(tx, keys, indexes, now)
        movements = self._movements(covered, _filled(targets, before))
        for opened, cost in replaced:
            ending = replace_by_usage(opened, cost, now)
            movements += ending.movements
            await authorizations.end(tx, [(ending.authorization, None)])
        after = await accounts.move(tx, movements, now)
        await cost_history.add(tx, _samples(covered), now.date())
        await mark_counted(tx, {item.tenant_id: str(item.position) for item in items})
        await counted.add(tx, [(item.tenant_id, item.fact.recorded_at) for item in items])
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

    def _covered(
        self, item: FeedItem[CostBlock], index: BudgetIndex
    ) -> list[tuple[int, tuple[Target, ...]]]:
        if not index.budgets:
            return []
        directory = self._directories.known(item.tenant_id)
        if directory is None:
            raise DirectoryNotRead(tenant=item.tenant_id)
        coverage = self._coverages.get(item.tenant_id)
        if coverage is None or not coverage.is_of(index, directory):
            if len(self._coverages) >= TENANTS_MAX:
                self._coverages.clear()
            coverage = self._coverages[item.tenant_id] = Coverage(item.tenant_id, index, directory)
        return coverage.covered(item.fact)

    async def _replaced(
        self, tx: Transaction, items: Sequence[FeedItem[CostBlock]]
    ) -> list[tuple[OpenAuthorization, Money]]:
        """Returns and locks the authorizations whose own usage the changes bring."""
        costs = {
            (item.tenant_id, fact.authorization_id): Money(fact.currency_code, fact.billed_cost)
            for item in items
            for change, dimension in enumerate(item.fact.dimensions)
            if dimension.authorization_id and (fact := fact_of(item, change)).settles
        }
        found = await authorizations.lock(tx, list(costs))
        return [
            (stored.open, costs[key])
            for key, stored in found.items()
            if not stored.open.is_replaced
        ]

    def _movements(
        self, covered: Sequence[_Covered], filled: Mapping[Target, FeedPosition]
    ) -> list[Movement]:
        sums: dict[_Group, _Sum] = {}
        for item, found in covered:
            block, transaction_id = item.fact, item.position.transaction_id
            for change, targets in found:
                code = block.dimensions[change].currency_code
                is_correction = bool(block.corrections) and block.corrections[change]
                for target in targets:
                    until = filled[target]
                    if until.transaction_id >= transaction_id and (
                        until.transaction_id > transaction_id
                        or until.sequence >= block.numbers[change]
                    ):
                        continue  # counted when the budget was filled
                    is_converted = code != target.currency_code
                    day = instant_of(block.hours[change]).date() if is_converted else None
                    group = _Group(target, code, day, is_correction)
                    total = sums.get(group)
                    if total is None:
                        total = sums[group] = _Sum(item)
                    cost = Decimal(block.cost(target.place, change))
                    total.amount = EXACT.add(total.amount, cost)
                    total.unpriced += block.unpriced[change] if block.unpriced else 0
                    total.events += block.events[change]
                    total.item, total.change = item, change
        return [self._movement(group, total) for group, total in sums.items()]

    def _movement(self, group: _Group, total: _Sum) -> Movement:
        currency_code = group.target.currency_code
        kind = LedgerEntryKind.CORRECTION if group.is_correction else LedgerEntryKind.USAGE
        movement = Movement(
            *group.target.key,
            kind,
            currency_code,
            spent_change=total.amount,
            unpriced_change=total.unpriced,
            feed_sequence=position_of(total.item, total.change),
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


def _filled(
    targets: Iterable[Target], before: Mapping[AccountKey, LockedAccount]
) -> dict[Target, FeedPosition]:
    """Returns up to where each target counts everything; all where it has no row."""
    found = {}
    for target in targets:
        locked = before.get(target.key)
        found[target] = (
            _EVERYTHING if locked is None else FeedPosition.parse(locked.row.filled_sequence)
        )
    return found


def _samples(covered: Sequence[_Covered]) -> Counter[CostSample]:
    """Counts the cost of single calls that budgets cover; sums of several say nothing of one."""
    calls: Counter[tuple[str, str, str, str, Decimal]] = Counter()
    for item, found in covered:
        block = item.fact
        for change, _ in found:
            dimension = block.dimensions[change]
            if block.events[change] != 1 or dimension.authorization_id:
                continue
            if block.unpriced and block.unpriced[change]:
                continue
            kind, resource_id = dimension.attributes.resource_type, dimension.attributes.resource_id
            upper = bucket_of(Decimal(block.cost(0, change)))
            calls[item.tenant_id, kind, resource_id, dimension.currency_code, upper] += 1
    samples: Counter[CostSample] = Counter()
    for call, count in calls.items():
        sample = CostSample(*call)
        samples[sample] += count
        if sample.resource_id:
            samples[sample._replace(resource_id="")] += count
    return samples
