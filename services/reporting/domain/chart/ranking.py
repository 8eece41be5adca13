"""Many groups made few: the largest, and the exact sum of all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from services.kernel.money import add_exactly
from services.reporting.domain.chart.rows import GroupCost

NO_NAME: Final = "(none)"


@dataclass(frozen=True, slots=True)
class Ranked:
    """Cost of a group, or of all that are left over. names: the groups that are in it."""

    name: str
    cost: Decimal
    names: tuple[str, ...]

    @property
    def is_rest(self) -> bool:
        """Whether it is what is left over."""
        return len(self.names) > 1


def largest_groups(rows: Sequence[GroupCost], most: int) -> tuple[Ranked, ...]:
    """Returns at most so many groups, largest first, the last one the sum of what is left out.

    Rows of one name are added first; what has no name is named `(none)`.
    """
    costs: dict[str, list[Decimal]] = {}
    for row in rows:
        costs.setdefault(row.name, []).append(row.cost)
    ranked = sorted(
        (Ranked(name or NO_NAME, add_exactly(all_), (name,)) for name, all_ in costs.items()),
        key=lambda each: (-each.cost, each.name),
    )
    if len(ranked) <= most:
        return tuple(ranked)
    rest = ranked[most - 1 :]
    names = tuple(name for each in rest for name in each.names)
    other = Ranked(f"Other ({len(rest):,})", add_exactly(each.cost for each in rest), names)
    return (*ranked[: most - 1], other)
