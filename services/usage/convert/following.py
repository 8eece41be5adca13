"""Changes of cost in columns, between contract and domain."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from finops.usage.v1 import cost_block_model_pb2 as model

from services.kernel.feed_page import FeedItem
from services.usage.convert.changes import dimension_message
from services.usage.domain.cost_block import CostBlock
from services.usage.service.following import PAGES_KEPT, BlockPage, Following

FOLLOW_CHANGES = 2_000


def from_following(found: Following) -> Iterator[model.WatchCostBlocksResponse]:
    """Converts what a stream goes on with: what this reader lacks, then what all readers get."""
    if found.told or found.is_forgetting:
        told = [
            model.TenantDimensions(
                tenant_id=tenant_id,
                dimensions=[dimension_message(*each) for each in dimensions.items()],
            )
            for tenant_id, dimensions in found.told.items()
        ]
        yield model.WatchCostBlocksResponse(forgets_dimensions=found.is_forgetting, dimensions=told)
    yield _page(found.page)


@lru_cache(maxsize=PAGES_KEPT)
def _page(page: BlockPage) -> model.WatchCostBlocksResponse:
    """Converts a page once for all its readers; nobody may change it."""
    return model.WatchCostBlocksResponse(
        blocks=[_block(item) for item in page.blocks], sequence=str(page.position)
    )


def _block(item: FeedItem[CostBlock]) -> model.CostBlock:
    block = item.fact
    converted = model.CostBlock(
        tenant_id=item.tenant_id,
        transaction_id=item.position.transaction_id,
        traceparent=item.traceparent or "",
        numbers=block.numbers,
        dimension_ids=block.dimension_ids,
        hours=block.hours,
        billed_costs=block.billed,
        effective_costs=block.effective,
        list_costs=block.listed,
        contracted_costs=block.contracted,
        quantities=block.quantities,
        events=block.events,
        failed_events=block.failed_events,
        unpriced_events=block.unpriced_events,
        retries=block.retries,
        utilization_samples=block.utilization_samples,
        corrections=block.corrections,
    )
    if item.appended_at is not None:
        converted.recorded_time.FromDatetime(item.appended_at)
    return converted
