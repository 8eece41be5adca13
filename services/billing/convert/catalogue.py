"""Coupons and tax rates between contract and domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

from finops.billing.v1 import catalogue_model_pb2 as models
from finops.billing.v1 import catalogue_service_pb2 as messages

from services.billing.convert.values import from_instant, from_money, to_instant, to_money
from services.billing.domain.coupon import Coupon
from services.billing.domain.tax import TaxRate
from services.billing.errors import InvalidTaxRate
from services.kernel.listing import ListRequest, page_request
from services.kernel.money import format_decimal, parse_decimal
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update

_SERVICE = "finops.billing.v1.CatalogueService"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # the service says when
_COUPON_FIELDS = ("display_name", "redemptions_max", "expire_time")
_COUPON_IGNORED = ("coupon_id", "redemption_count", "state", "etag", "create_time")
_TAX_FIELDS = ("display_name", "end_date")
_TAX_IGNORED = ("tax_rate_id", "etag")


def to_page(request: ListRequest, tenant_id: str, method: str) -> PageRequest:
    """Returns which page is asked. method: the RPC's own name."""
    return page_request(request, tenant_id=tenant_id, method=f"{_SERVICE}/{method}")


def to_coupon(message: models.Coupon) -> Coupon:
    """Converts a new coupon. Raises InvalidCoupon."""
    return Coupon(
        coupon_id="",
        code=message.code.upper(),
        display_name=message.display_name or message.code,
        discount_ratio=parse_decimal(message.discount_ratio) if message.discount_ratio else None,
        amount=to_money(message.amount) if message.HasField("amount") else None,
        duration_periods=message.duration_periods,
        plan_ids=tuple(message.plan_ids),
        redemptions_max=message.redemptions_max,
        expire_at=_expiry(message),
        created_at=_EPOCH,
    )


def to_coupon_change(request: messages.UpdateCouponRequest) -> Callable[[Coupon], Coupon]:
    """Returns what the update makes of a coupon: what it grants stays.

    Raises UnknownMaskPath.
    """
    message = request.coupon
    # Without a mask, what a coupon that was read carries beside these is left alone.
    fields = fields_to_update(
        message, request.update_mask, updatable=_COUPON_FIELDS, ignored=_COUPON_IGNORED
    )
    values = {
        "display_name": ("display_name", message.display_name or message.code),
        "redemptions_max": ("redemptions_max", message.redemptions_max),
        "expire_time": ("expire_at", _expiry(message)),
    }
    changed = dict(values[name] for name in fields)
    return lambda coupon: replace(coupon, **changed)  # type: ignore[arg-type]


def _expiry(message: models.Coupon) -> datetime | None:
    return to_instant(message.expire_time) if message.HasField("expire_time") else None


def from_coupon(coupon: Coupon, now: datetime) -> models.Coupon:
    """Converts a stored coupon. now: the instant of its state."""
    ratio = coupon.discount_ratio
    return models.Coupon(
        coupon_id=coupon.coupon_id,
        code=coupon.code,
        display_name=coupon.display_name,
        discount_ratio="" if ratio is None else format_decimal(ratio),
        amount=None if coupon.amount is None else from_money(coupon.amount),
        duration_periods=coupon.duration_periods,
        plan_ids=coupon.plan_ids,
        redemptions_max=coupon.redemptions_max,
        expire_time=from_instant(coupon.expire_at),
        redemption_count=coupon.redemption_count,
        state=models.CouponState.Value(f"COUPON_STATE_{coupon.state(now).name}"),
        etag=str(coupon.revision),
        create_time=from_instant(coupon.created_at),
    )


def from_coupons(page: Page[Coupon], now: datetime) -> messages.ListCouponsResponse:
    """Converts a page."""
    return messages.ListCouponsResponse(
        coupons=[from_coupon(coupon, now) for coupon in page.items],
        next_page_token=page.next_page_token,
    )


def to_tax_rate(message: models.TaxRate) -> TaxRate:
    """Converts a new row. Raises InvalidTaxRate."""
    return TaxRate(
        tax_rate_id="",
        country_code=message.country_code,
        subdivision_code=message.subdivision_code,
        tax_code=message.tax_code,
        display_name=message.display_name,
        rate_ratio=parse_decimal(message.rate_ratio),
        reverse_charge=message.reverse_charge,
        inclusive=message.inclusive,
        start_date=_to_date(message.start_date),
        end_date=_to_date(message.end_date) if message.end_date else None,
    )


def to_tax_rate_change(request: messages.UpdateTaxRateRequest) -> Callable[[TaxRate], TaxRate]:
    """Returns what the update makes of a row. Raises UnknownMaskPath, InvalidTaxRate."""
    message = request.tax_rate
    fields = fields_to_update(
        message, request.update_mask, updatable=_TAX_FIELDS, ignored=_TAX_IGNORED
    )
    values = {
        "display_name": message.display_name,
        "end_date": _to_date(message.end_date) if message.end_date else None,
    }
    changed = {name: values[name] for name in fields}
    return lambda rate: replace(rate, **changed)  # type: ignore[arg-type]


def from_tax_rate(rate: TaxRate) -> models.TaxRate:
    """Converts a stored row."""
    return models.TaxRate(
        tax_rate_id=rate.tax_rate_id,
        country_code=rate.country_code,
        subdivision_code=rate.subdivision_code,
        tax_code=rate.tax_code,
        display_name=rate.display_name,
        rate_ratio=format_decimal(rate.rate_ratio),
        reverse_charge=rate.reverse_charge,
        inclusive=rate.inclusive,
        start_date=rate.start_date.isoformat(),
        end_date="" if rate.end_date is None else rate.end_date.isoformat(),
        etag=str(rate.revision),
    )


def from_tax_rates(page: Page[TaxRate]) -> messages.ListTaxRatesResponse:
    """Converts a page."""
    return messages.ListTaxRatesResponse(
        tax_rates=map(from_tax_rate, page.items), next_page_token=page.next_page_token
    )


def _to_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidTaxRate(f"{text!r} is not a date such as 2026-01-31", value=text) from error
