"""Changes of cost, as the feed hands them out."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple


class CostChange(NamedTuple):
    """What one transaction changed in one hour of one dimension."""

    hour_at: datetime
    dimension_id: int
    events: int
    failed_events: int
    unpriced_events: int
    quantity: Decimal
    billed_cost: Decimal
    effective_cost: Decimal
    list_cost: Decimal
    contracted_cost: Decimal
    retries: int
    utilization_samples: int
    is_correction: bool
