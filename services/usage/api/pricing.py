"""PricingService: price books, prices, peak schedules."""

from __future__ import annotations

from typing import Any

import grpc
from finops.usage.v1 import peak_schedule_messages_pb2, pricing_service_pb2_grpc
from finops.usage.v1 import pricing_service_pb2 as messages

from services.usage.api.tenant import as_tenant
from services.usage.convert import pricing as convert
from services.usage.service.price_loading import PriceLoading
from services.usage.service.pricing import Pricing

Context = grpc.aio.ServicerContext[Any, Any]


class PricingServicer(pricing_service_pb2_grpc.PricingServiceServicer):
    """Serves PricingService."""

    def __init__(self, *, pricing: Pricing, loading: PriceLoading) -> None:
        """Takes the use cases."""
        self._pricing = pricing
        self._loading = loading

    async def CreatePriceBook(
        self, request: messages.CreatePriceBookRequest, _: Context
    ) -> messages.CreatePriceBookResponse:
        """Creates a price book."""
        tenant_id = as_tenant(request.tenant_id)
        book = convert.to_price_book(request.price_book, tenant_id)
        book = await self._pricing.create_price_book(book)
        return messages.CreatePriceBookResponse(price_book=convert.from_price_book(book))

    async def GetPriceBook(
        self, request: messages.GetPriceBookRequest, _: Context
    ) -> messages.GetPriceBookResponse:
        """Gets a price book."""
        tenant_id = as_tenant(request.tenant_id)
        book = await self._pricing.get_price_book(tenant_id, request.price_book_id)
        return messages.GetPriceBookResponse(price_book=convert.from_price_book(book))

    async def ListPriceBooks(
        self, request: messages.ListPriceBooksRequest, _: Context
    ) -> messages.ListPriceBooksResponse:
        """Lists price books."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListPriceBooks")
        return convert.from_price_books(await self._pricing.list_price_books(page))

    async def DeletePriceBook(
        self, request: messages.DeletePriceBookRequest, _: Context
    ) -> messages.DeletePriceBookResponse:
        """Deletes a price book."""
        tenant_id = as_tenant(request.tenant_id)
        await self._pricing.delete_price_book(tenant_id, request.price_book_id)
        return messages.DeletePriceBookResponse()

    async def CreatePrice(
        self, request: messages.CreatePriceRequest, _: Context
    ) -> messages.CreatePriceResponse:
        """Creates a price."""
        tenant_id = as_tenant(request.tenant_id)
        price = convert.to_price(request.price, tenant_id)
        price = await self._pricing.create_price(price)
        return messages.CreatePriceResponse(price=convert.from_price(price))

    async def GetPrice(
        self, request: messages.GetPriceRequest, _: Context
    ) -> messages.GetPriceResponse:
        """Gets a price."""
        tenant_id = as_tenant(request.tenant_id)
        price = await self._pricing.get_price(tenant_id, request.price_id)
        return messages.GetPriceResponse(price=convert.from_price(price))

    async def ListPrices(
        self, request: messages.ListPricesRequest, _: Context
    ) -> messages.ListPricesResponse:
        """Lists prices."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListPrices")
        return convert.from_prices(await self._pricing.list_prices(page))

    async def UpdatePrice(
        self, request: messages.UpdatePriceRequest, _: Context
    ) -> messages.UpdatePriceResponse:
        """Changes the end of a price."""
        tenant_id = as_tenant(request.tenant_id)
        change = convert.to_price_change(request)
        price = await self._pricing.update_price(tenant_id, request.price.price_id, change)
        return messages.UpdatePriceResponse(price=convert.from_price(price))

    async def CreatePeakSchedule(
        self, request: peak_schedule_messages_pb2.CreatePeakScheduleRequest, _: Context
    ) -> peak_schedule_messages_pb2.CreatePeakScheduleResponse:
        """Creates a peak schedule."""
        tenant_id = as_tenant(request.tenant_id)
        schedule = convert.to_peak_schedule(request.peak_schedule)
        schedule = await self._pricing.create_peak_schedule(tenant_id, schedule)
        return peak_schedule_messages_pb2.CreatePeakScheduleResponse(
            peak_schedule=convert.from_peak_schedule(schedule)
        )

    async def GetPeakSchedule(
        self, request: peak_schedule_messages_pb2.GetPeakScheduleRequest, _: Context
    ) -> peak_schedule_messages_pb2.GetPeakScheduleResponse:
        """Gets a peak schedule."""
        tenant_id = as_tenant(request.tenant_id)
        schedule = await self._pricing.get_peak_schedule(tenant_id, request.peak_schedule_id)
        return peak_schedule_messages_pb2.GetPeakScheduleResponse(
            peak_schedule=convert.from_peak_schedule(schedule)
        )

    async def ListPeakSchedules(
        self, request: peak_schedule_messages_pb2.ListPeakSchedulesRequest, _: Context
    ) -> peak_schedule_messages_pb2.ListPeakSchedulesResponse:
        """Lists peak schedules."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListPeakSchedules")
        return convert.from_peak_schedules(await self._pricing.list_peak_schedules(page))

    async def UpdatePeakSchedule(
        self, request: peak_schedule_messages_pb2.UpdatePeakScheduleRequest, _: Context
    ) -> peak_schedule_messages_pb2.UpdatePeakScheduleResponse:
        """Changes a peak schedule."""
        tenant_id = as_tenant(request.tenant_id)
        change = convert.to_schedule_change(request)
        schedule_id = request.peak_schedule.peak_schedule_id
        schedule = await self._pricing.update_peak_schedule(tenant_id, schedule_id, change)
        return peak_schedule_messages_pb2.UpdatePeakScheduleResponse(
            peak_schedule=convert.from_peak_schedule(schedule)
        )

    async def DeletePeakSchedule(
        self, request: peak_schedule_messages_pb2.DeletePeakScheduleRequest, _: Context
    ) -> peak_schedule_messages_pb2.DeletePeakScheduleResponse:
        """Deletes a peak schedule."""
        tenant_id = as_tenant(request.tenant_id)
        await self._pricing.delete_peak_schedule(tenant_id, request.peak_schedule_id)
        return peak_schedule_messages_pb2.DeletePeakScheduleResponse()

    async def ImportPrices(
        self, request: messages.ImportPricesRequest, _: Context
    ) -> messages.ImportPricesResponse:
        """Loads a price catalogue."""
        tenant_id = as_tenant(request.tenant_id)
        file = convert.to_price_file(request, tenant_id)
        return convert.from_loaded(await self._loading.import_prices(file))
