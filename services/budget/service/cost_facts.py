"""Changes of a block one by one."""

from __future__ import annotations

from decimal import Decimal

from services.budget.domain.cost_block import CostBlock, instant_of
from services.budget.domain.cost_fact import CostFact
from services.kernel.feed_page import FeedItem, FeedPosition


def facts_of(item: FeedItem[CostBlock]) -> list[CostFact]:
    """Returns all changes of a block, in feed order."""
    return [fact_of(item, change) for change in range(len(item.fact.numbers))]


def fact_of(item: FeedItem[CostBlock], change: int) -> CostFact:
    """Returns one change of a block."""
    block = item.fact
    dimension = block.dimensions[change]
    return CostFact(
        dimension.attributes,
        instant_of(block.hours[change]),
        dimension.currency_code,
        Decimal(block.cost(0, change)),
        block.events[change],
        block.unpriced[change] if block.unpriced else 0,
        bool(block.corrections) and block.corrections[change],
        dimension.authorization_id,
        position_of(item, change),
        block.recorded_at,
    )


def position_of(item: FeedItem[CostBlock], change: int) -> str:
    """Returns where a change stands in the feed."""
    return str(FeedPosition(item.position.transaction_id, item.fact.numbers[change]))
