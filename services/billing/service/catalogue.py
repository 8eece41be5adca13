"""Coupons and the tax table; only the seller changes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date

from services.billing.domain.account import BillingAccount, TaxMode
from services.billing.domain.coupon import Coupon
from services.billing.domain.tax import AppliedTax, TaxRate, applied_taxes
from services.billing.errors import (
    CouponExists,
    CouponNotFound,
    TaxRateNotFound,
    TaxRateOverlap,
)
from services.billing.service.accounts import require_etag
from services.billing.store import coupons as coupon_rows
from services.billing.store import taxes as tax_rows
from services.billing.tables.base import GLOBAL_TENANT
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens


class Catalogue:
    """The use cases of coupons and tax rates."""

    def __init__(self, database: Database, *, tokens: PageTokens, clock: Clock) -> None:
        """Takes the clock that says which coupons have ended."""
        self._database = database
        self._tokens = tokens
        self._clock = clock

    async def create_coupon(self, coupon: Coupon) -> Coupon:
        """Creates a coupon. Raises CouponExists."""
        coupon = replace(coupon, coupon_id=new_id(), created_at=self._clock.now())
        async with self._database.system_transaction() as tx:
            if not await coupon_rows.add_coupon(tx, coupon):
                raise CouponExists(code=coupon.code)
            await _audited(tx, "coupons.create", f"coupons/{coupon.coupon_id}")
        return coupon

    async def get_coupon(self, tenant_id: str, coupon_id: str) -> Coupon:
        """Returns a coupon. Raises CouponNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await self._coupon(tx, coupon_id)

    async def list_coupons(self, page: PageRequest) -> Page[Coupon]:
        """Returns a page of coupons."""
        async with self._database.read(page.tenant_id) as tx:
            return await coupon_rows.list_coupons(tx, page, self._tokens, at=self._clock.now())

    async def update_coupon(
        self, coupon_id: str, change: Callable[[Coupon], Coupon], *, etag: str = ""
    ) -> Coupon:
        """Changes name, end or limit of a coupon. Raises CouponNotFound, ResourceChanged."""
        async with self._database.system_transaction() as tx:
            known = await self._coupon(tx, coupon_id)
            require_etag(etag, known.revision)
            coupon = replace(change(known), revision=known.revision + 1)
            await coupon_rows.update_coupon(tx, coupon)
            await _audited(tx, "coupons.update", f"coupons/{coupon_id}")
        return coupon

    async def delete_coupon(self, coupon_id: str, *, etag: str = "") -> None:
        """Ends a coupon; who redeemed it keeps it. Raises CouponNotFound, ResourceChanged."""
        async with self._database.system_transaction() as tx:
            known = await self._coupon(tx, coupon_id)
            require_etag(etag, known.revision)
            ended = replace(known, ended_at=self._clock.now(), revision=known.revision + 1)
            await coupon_rows.update_coupon(tx, ended)
            await _audited(tx, "coupons.delete", f"coupons/{coupon_id}")

    async def create_tax_rate(self, rate: TaxRate) -> TaxRate:
        """Adds a row to the tax table. Raises TaxRateOverlap."""
        rate = replace(rate, tax_rate_id=new_id())
        async with self._database.system_transaction() as tx:
            await _require_no_overlap(tx, rate)
            await tax_rows.add_tax_rate(tx, rate)
            await _audited(tx, "tax_rates.create", f"tax-rates/{rate.tax_rate_id}")
        return rate

    async def list_tax_rates(self, page: PageRequest) -> Page[TaxRate]:
        """Returns a page of the tax table."""
        async with self._database.read(page.tenant_id) as tx:
            return await tax_rows.list_tax_rates(tx, page, self._tokens)

    async def update_tax_rate(
        self, tax_rate_id: str, change: Callable[[TaxRate], TaxRate], *, etag: str = ""
    ) -> TaxRate:
        """Ends a row or names it anew. Raises TaxRateNotFound, ResourceChanged, TaxRateOverlap."""
        async with self._database.system_transaction() as tx:
            known = await tax_rows.find_tax_rate(tx, tax_rate_id)
            if known is None:
                raise TaxRateNotFound(tax_rate_id=tax_rate_id)
            require_etag(etag, known.revision)
            rate = replace(change(known), revision=known.revision + 1)
            await _require_no_overlap(tx, rate)
            await tax_rows.update_tax_rate(tx, rate)
            await _audited(tx, "tax_rates.update", f"tax-rates/{tax_rate_id}")
        return rate

    async def _coupon(self, tx: Transaction, coupon_id: str) -> Coupon:
        coupon = await coupon_rows.find_coupon(tx, coupon_id)
        if coupon is None:
            raise CouponNotFound(coupon_id=coupon_id)
        return coupon


async def taxes_of(tx: Transaction, account: BillingAccount, day: date) -> dict[str, AppliedTax]:
    """Returns the taxes on an account's invoice of a day, by tax code.

    None where its mode is not the table's, or its country is not known.
    """
    address = account.particulars.address
    if account.tax_mode is not TaxMode.TABLE or address is None:
        return {}
    return applied_taxes(
        await tax_rows.tax_rates_of(tx, address.country_code, day=day),
        country_code=address.country_code,
        subdivision_code=address.subdivision_code,
        day=day,
        has_tax_id=bool(account.particulars.tax_ids),
    )


async def _require_no_overlap(tx: Transaction, rate: TaxRate) -> None:
    for other in await tax_rows.tax_rates_of(tx, rate.country_code):
        is_other = other.tax_rate_id != rate.tax_rate_id and other.place == rate.place
        begins = other.end_date is None or rate.start_date < other.end_date
        ends = rate.end_date is None or other.start_date < rate.end_date
        if is_other and begins and ends:
            raise TaxRateOverlap(tax_rate_id=other.tax_rate_id)


async def _audited(tx: Transaction, action: str, resource: str) -> None:
    await audit.append(tx, action=action, resource=resource, tenant_id=GLOBAL_TENANT)
