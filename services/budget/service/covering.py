"""Which periods of budgets a change of cost counts in: remembered by dimension and hour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.budget.domain.cost_block import PLACES, CostBlock, CostDimension, instant_of
from services.budget.domain.directory import Directory
from services.budget.service.budget_index import BudgetIndex
from services.budget.store.accounts import AccountKey

MEMORY_MAX: Final = 50_000  # pairs of dimension and hour that a tenant's coverage remembers, 15 MB


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A period that changes count in. One object for each, hashed as such.

    place: of the cost that counts. ends_at: the end of the period.
    """

    key: AccountKey
    ends_at: datetime
    currency_code: str
    place: int


class Coverage:
    """What a tenant's budgets cover, as long as neither they nor the directory change."""

    def __init__(self, tenant_id: str, index: BudgetIndex, directory: Directory) -> None:
        """Takes what decides; another index or directory needs another coverage."""
        self._tenant_id = tenant_id
        self._index = index
        self._directory = directory
        self._known: dict[tuple[CostDimension, int], tuple[Target, ...]] = {}
        self._targets: dict[tuple[AccountKey, int], Target] = {}

    def is_of(self, index: BudgetIndex, directory: Directory) -> bool:
        """Tells whether it says what these say."""
        return self._index is index and self._directory is directory

    def covered(self, block: CostBlock) -> list[tuple[int, tuple[Target, ...]]]:
        """Returns the changes of a block that count, by their number in it, and where."""
        if len(self._known) > MEMORY_MAX:
            self._known.clear()
        known = self._known
        found = []
        for change, subject in enumerate(zip(block.dimensions, block.hours, strict=True)):
            targets = known.get(subject)
            if targets is None:
                targets = known[subject] = tuple(self._find(*subject))
            if targets:
                found.append((change, targets))
        return found

    def _find(self, dimension: CostDimension, hour: int) -> Iterator[Target]:
        hour_at = instant_of(hour)
        completed = self._directory.completed(dimension.attributes)
        for one in self._index.covering(completed, hour_at):
            terms = one.budget.version_at(hour_at).terms
            if terms.includes_allocated:
                continue  # what rules move is asked for as a whole, see Reconciler
            key = AccountKey(self._tenant_id, one.budget.budget_id, one.period.start)
            place = PLACES[terms.cost_type]
            yield self._targets.setdefault(
                (key, place), Target(key, one.period.end, one.budget.currency_code, place)
            )
