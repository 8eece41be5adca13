"""Changes of cost in columns, as followers of the whole feed get them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class CostBlock:
    """What one transaction changed in the cost of one tenant, in feed order.

    Each column has one value a change. hours: seconds since 1970. Amounts and quantities: decimal
    text. effective, listed, contracted: empty where equal to the billed cost; these and the columns
    after `events` are empty where nothing else is in them, or only zeros.
    """

    numbers: Sequence[int]
    dimension_ids: Sequence[int]
    hours: Sequence[int]
    billed: Sequence[str]
    effective: Sequence[str]
    listed: Sequence[str]
    contracted: Sequence[str]
    quantities: Sequence[str]
    events: Sequence[int]
    failed_events: Sequence[int]
    unpriced_events: Sequence[int]
    retries: Sequence[int]
    utilization_samples: Sequence[int]
    corrections: Sequence[bool]
