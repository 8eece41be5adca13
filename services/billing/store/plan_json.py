"""Plan rates and discounts as JSON; every decimal is its text, so that it stays exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.billing.domain.plan import (
    ChargeRoute,
    Discount,
    PlanCharge,
    PlanRates,
    PriceModel,
    PriceTier,
)
from services.kernel.money import format_decimal


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format_decimal(value)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def rates_json(rates: PlanRates) -> dict[str, Any]:
    """Returns a plan's prices in one currency as JSON."""
    return {
        "currency_code": rates.currency_code,
        "flat_fee": format_decimal(rates.flat_fee),
        "minimum_commitment": format_decimal(rates.minimum_commitment),
        "charges": [_charge_json(charge) for charge in rates.charges],
        "discounts": discounts_json(rates.discounts),
    }


def rates_of(body: Mapping[str, Any]) -> PlanRates:
    """Returns the prices of their JSON."""
    return PlanRates(
        currency_code=body["currency_code"],
        flat_fee=Decimal(body["flat_fee"]),
        minimum_commitment=Decimal(body["minimum_commitment"]),
        charges=tuple(_charge_of(charge) for charge in body["charges"]),
        discounts=discounts_of(body["discounts"]),
    )


def discounts_json(discounts: Sequence[Discount]) -> list[dict[str, Any]]:
    """Returns discounts as JSON."""
    return [
        {
            "source_id": discount.source_id,
            "display_name": discount.display_name,
            "ratio": _text(discount.ratio),
            "amount": _text(discount.amount),
            "charge_ids": sorted(discount.charge_ids),
            "ends_at": None if discount.ends_at is None else discount.ends_at.isoformat(),
        }
        for discount in discounts
    ]


def discounts_of(body: Sequence[Mapping[str, Any]]) -> tuple[Discount, ...]:
    """Returns the discounts of their JSON."""
    return tuple(
        Discount(
            source_id=one["source_id"],
            display_name=one["display_name"],
            ratio=_decimal(one["ratio"]),
            amount=_decimal(one["amount"]),
            charge_ids=frozenset(one["charge_ids"]),
            ends_at=None if one["ends_at"] is None else datetime.fromisoformat(one["ends_at"]),
        )
        for one in body
    )


def _charge_json(charge: PlanCharge) -> dict[str, Any]:
    return {
        "charge_id": charge.charge_id,
        "display_name": charge.display_name,
        "price_model": charge.price_model.value,
        "filter": charge.filter,
        "meter": charge.meter,
        "unit": charge.unit,
        "unit_price": format_decimal(charge.unit_price),
        "package_size": format_decimal(charge.package_size),
        "cost_ratio": format_decimal(charge.cost_ratio),
        "tiers": [
            [_text(tier.up_to), format_decimal(tier.unit_price), format_decimal(tier.flat_price)]
            for tier in charge.tiers
        ],
        "included_quantity": format_decimal(charge.included_quantity),
        "minimum": _text(charge.minimum),
        "maximum": _text(charge.maximum),
        "route": charge.route.value,
        "tax_code": charge.tax_code,
        "group_by": charge.group_by,
    }


def _charge_of(body: Mapping[str, Any]) -> PlanCharge:
    return PlanCharge(
        charge_id=body["charge_id"],
        display_name=body["display_name"],
        price_model=PriceModel(body["price_model"]),
        filter=body["filter"],
        meter=body["meter"],
        unit=body["unit"],
        unit_price=Decimal(body["unit_price"]),
        package_size=Decimal(body["package_size"]),
        cost_ratio=Decimal(body["cost_ratio"]),
        tiers=tuple(
            PriceTier(_decimal(up_to), Decimal(unit), Decimal(flat))
            for up_to, unit, flat in body["tiers"]
        ),
        included_quantity=Decimal(body["included_quantity"]),
        minimum=_decimal(body["minimum"]),
        maximum=_decimal(body["maximum"]),
        route=ChargeRoute(body["route"]),
        tax_code=body["tax_code"],
        group_by=body["group_by"],
    )
