"""What one transaction changed in cost, in columns, so that a change costs one look-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from services.budget.domain.scope import SpendAttributes
from services.budget.domain.terms import CostType

PLACES: Final = {cost_type: place for place, cost_type in enumerate(CostType)}


@dataclass(frozen=True, slots=True, eq=False)
class CostDimension:
    """Attributes that usage had. The same object while they stay the same, and hashed as such.

    attributes: without the chains of the directory. authorization_id: "" where none is named.
    """

    attributes: SpendAttributes
    currency_code: str
    authorization_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CostBlock:
    """The changes of one transaction in one tenant, or those of them beyond a position.

    Columns have one value a change, in feed order. numbers: second parts of the positions. hours:
    seconds since 1970. costs: a column of decimal texts for each place of PLACES; empty texts and
    columns stand for the billed cost. unpriced, corrections: empty where there are none.
    recorded_at: of the transaction.
    """

    recorded_at: datetime
    numbers: Sequence[int]
    dimensions: Sequence[CostDimension]
    hours: Sequence[int]
    costs: tuple[Sequence[str], Sequence[str], Sequence[str], Sequence[str]]
    events: Sequence[int]
    unpriced: Sequence[int] = ()
    corrections: Sequence[bool] = ()

    def cost(self, place: int, change: int) -> str:
        """Returns the cost of a change, by the place of its type."""
        column = self.costs[place]
        own = column[change] if column else ""
        return own or self.costs[0][change]


def instant_of(hour: int) -> datetime:
    """Returns the instant of an hour."""
    return datetime.fromtimestamp(hour, UTC)
