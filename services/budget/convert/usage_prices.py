"""Reads prices from the usage service."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import grpc
from finops.usage.v1 import pricing_model_pb2, pricing_service_pb2, pricing_service_pb2_grpc

from services.budget.convert.instants import to_optional
from services.budget.domain.price_list import ListedPrice
from services.kernel.client import on_behalf_of

PAGE_SIZE: Final = 1_000
PAGES_MAX: Final = 20  # of one resource type; more is no price list that a call can wait for


class StubUsagePrices:
    """The usage service's prices, over its stub."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._stub = pricing_service_pb2_grpc.PricingServiceStub(channel)

    async def prices(self, tenant_id: str, resource_type: str) -> Sequence[ListedPrice]:
        """Returns the prices of a resource type. Raises PeerUnavailable, PeerTimeout."""
        found: list[ListedPrice] = []
        with on_behalf_of(tenant_id):
            books = await self._stub.ListPriceBooks(
                pricing_service_pb2.ListPriceBooksRequest(tenant_id=tenant_id, page_size=PAGE_SIZE)
            )
            global_books = {book.price_book_id for book in books.price_books if book.is_global}
            quoted = resource_type.replace("\\", "\\\\").replace('"', '\\"')
            request = pricing_service_pb2.ListPricesRequest(
                tenant_id=tenant_id, page_size=PAGE_SIZE, filter=f'resource_type = "{quoted}"'
            )
            for _ in range(PAGES_MAX):
                answer = await self._stub.ListPrices(request)
                found += [_price(one, global_books) for one in answer.prices]
                request.page_token = answer.next_page_token
                if not request.page_token:
                    break
        return found


def _price(one: pricing_model_pb2.Price, global_books: set[str]) -> ListedPrice:
    return ListedPrice(
        meter=one.meter,
        currency_code=one.currency_code,
        unit_price=Decimal(one.tiers[0].unit_price),
        per=Decimal(one.per_quantity or "1") or Decimal(1),
        is_global=one.price_book_id in global_books,
        resource_id=one.resource_id.lower(),
        service=one.service.lower(),
        region=one.region.lower(),
        provider=one.provider.lower(),
        start_at=to_optional(one, "effective_start_time"),
        end_at=to_optional(one, "effective_end_time"),
    )
