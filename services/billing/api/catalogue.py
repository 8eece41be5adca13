"""CatalogueService: coupons and the tax table."""

from __future__ import annotations

from typing import Any

import grpc
from finops.billing.v1 import catalogue_service_pb2 as messages
from finops.billing.v1 import catalogue_service_pb2_grpc

from services.billing.api.tenant import as_tenant
from services.billing.convert import catalogue as convert
from services.billing.service.catalogue import Catalogue
from services.kernel.clock import Clock

Context = grpc.aio.ServicerContext[Any, Any]


class CatalogueServicer(catalogue_service_pb2_grpc.CatalogueServiceServicer):
    """Serves CatalogueService."""

    def __init__(self, *, catalogue: Catalogue, clock: Clock) -> None:
        """Takes the use cases, and the clock for states that time alone changes."""
        self._catalogue = catalogue
        self._clock = clock

    async def CreateCoupon(
        self, request: messages.CreateCouponRequest, _: Context
    ) -> messages.CreateCouponResponse:
        """Creates a coupon."""
        coupon = await self._catalogue.create_coupon(convert.to_coupon(request.coupon))
        made = convert.from_coupon(coupon, self._clock.now())
        return messages.CreateCouponResponse(coupon=made)

    async def GetCoupon(
        self, request: messages.GetCouponRequest, _: Context
    ) -> messages.GetCouponResponse:
        """Gets a coupon."""
        tenant_id = as_tenant(request.tenant_id)
        coupon = await self._catalogue.get_coupon(tenant_id, request.coupon_id)
        found = convert.from_coupon(coupon, self._clock.now())
        return messages.GetCouponResponse(coupon=found)

    async def ListCoupons(
        self, request: messages.ListCouponsRequest, _: Context
    ) -> messages.ListCouponsResponse:
        """Lists coupons."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListCoupons")
        return convert.from_coupons(await self._catalogue.list_coupons(page), self._clock.now())

    async def UpdateCoupon(
        self, request: messages.UpdateCouponRequest, _: Context
    ) -> messages.UpdateCouponResponse:
        """Changes a coupon."""
        change = convert.to_coupon_change(request)
        coupon_id, etag = request.coupon.coupon_id, request.coupon.etag
        coupon = await self._catalogue.update_coupon(coupon_id, change, etag=etag)
        changed = convert.from_coupon(coupon, self._clock.now())
        return messages.UpdateCouponResponse(coupon=changed)

    async def DeleteCoupon(
        self, request: messages.DeleteCouponRequest, _: Context
    ) -> messages.DeleteCouponResponse:
        """Ends a coupon."""
        await self._catalogue.delete_coupon(request.coupon_id, etag=request.etag)
        return messages.DeleteCouponResponse()

    async def CreateTaxRate(
        self, request: messages.CreateTaxRateRequest, _: Context
    ) -> messages.CreateTaxRateResponse:
        """Adds a tax rate."""
        rate = await self._catalogue.create_tax_rate(convert.to_tax_rate(request.tax_rate))
        return messages.CreateTaxRateResponse(tax_rate=convert.from_tax_rate(rate))

    async def ListTaxRates(
        self, request: messages.ListTaxRatesRequest, _: Context
    ) -> messages.ListTaxRatesResponse:
        """Lists tax rates."""
        tenant_id = as_tenant(request.tenant_id)
        page = convert.to_page(request, tenant_id, "ListTaxRates")
        return convert.from_tax_rates(await self._catalogue.list_tax_rates(page))

    async def UpdateTaxRate(
        self, request: messages.UpdateTaxRateRequest, _: Context
    ) -> messages.UpdateTaxRateResponse:
        """Ends a tax rate or names it anew."""
        change = convert.to_tax_rate_change(request)
        tax_rate_id, etag = request.tax_rate.tax_rate_id, request.tax_rate.etag
        rate = await self._catalogue.update_tax_rate(tax_rate_id, change, etag=etag)
        return messages.UpdateTaxRateResponse(tax_rate=convert.from_tax_rate(rate))
