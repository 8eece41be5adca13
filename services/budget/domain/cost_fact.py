"""What the cost change feed tells, as far as budgets need it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from services.budget.domain.scope import SpendAttributes
from services.budget.domain.terms import CostType

AUTHORIZATION_TAG = "finops_authorization_id"


class CostFact(NamedTuple):
    """What one transaction changed in the cost of one dimension in one hour.

    attributes: without the chains of the directory. costs: decimal texts in the order of CostType,
    read when a budget needs one. recorded_at: of the transaction. may_continue: it is the last of a
    full page, so that its transaction may go on in the next.
    """

    attributes: SpendAttributes
    hour_at: datetime
    currency_code: str
    costs: tuple[str, str, str, str]
    events: int
    unpriced_events: int
    is_correction: bool
    authorization_id: str
    sequence: str
    recorded_at: datetime
    may_continue: bool = False

    def cost(self, cost_type: CostType) -> Decimal:
        """Returns one of the four costs."""
        return Decimal(self.costs[_PLACES[cost_type]])

    @property
    def settles(self) -> bool:
        """Whether it brings the cost of an event that stands in the place of a settlement."""
        is_new = self.events > 0 and self.unpriced_events == 0
        return bool(self.authorization_id) and (is_new or self.unpriced_events < 0)


_PLACES = {cost_type: place for place, cost_type in enumerate(CostType)}
