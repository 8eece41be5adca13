"""One change of cost by itself, for what looks at few of them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from services.budget.domain.scope import SpendAttributes

AUTHORIZATION_TAG = "finops_authorization_id"


class CostFact(NamedTuple):
    """What one transaction changed in the cost of one dimension in one hour.

    attributes: without the chains of the directory. recorded_at: of the transaction.
    """

    attributes: SpendAttributes
    hour_at: datetime
    currency_code: str
    billed_cost: Decimal
    events: int
    unpriced_events: int
    is_correction: bool
    authorization_id: str
    sequence: str
    recorded_at: datetime

    @property
    def settles(self) -> bool:
        """Whether it brings the cost of an event that stands in the place of a settlement."""
        is_new = self.events > 0 and self.unpriced_events == 0
        return bool(self.authorization_id) and (is_new or self.unpriced_events < 0)
