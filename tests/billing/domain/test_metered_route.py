"""Charges that Stripe's meters price: only what they can, and as our own rating does."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from services.billing.domain.metered_route import MeteredPrice, rated_of
from services.billing.domain.plan import ChargeRoute, PlanRates, PriceModel, PriceTier
from services.billing.errors import InvalidPlan
from services.billing.service.provider.stripe_meters import price_parameters
from tests.billing.invoicing_stage import per_unit
from tests.support.stripe.forms import flattened, parsed
from tests.support.stripe.meters import priced
from tests.support.stripe.schema import stripe_schema

METERED = per_unit("0.0125", route=ChargeRoute.STRIPE_METERED)


@pytest.mark.parametrize(
    "changed",
    [
        {"price_model": PriceModel.COST_PLUS},
        {"price_model": PriceModel.FLAT},
        {"unit": ""},
        {"group_by": "project"},
        {"minimum": Decimal(1)},
        {"included_quantity": Decimal("0.5")},
        {"package_size": Decimal("1.5"), "price_model": PriceModel.PACKAGE},
        {"unit_price": Decimal("0.000000000000001")},
        {
            "price_model": PriceModel.VOLUME,
            "tiers": (PriceTier(Decimal(5), Decimal(1), Decimal(3)), PriceTier(None)),
        },
    ],
)
def test_what_meters_cannot_price_is_no_metered_charge(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidPlan):
        PlanRates(currency_code="USD", charges=(replace(METERED, **changed),))


def test_what_stripe_prices_is_in_no_commitment() -> None:
    with pytest.raises(InvalidPlan, match="commitment"):
        PlanRates(currency_code="USD", charges=(METERED,), minimum_commitment=Decimal(10))


TIERS = (
    PriceTier(Decimal(1000), Decimal("0.02")),
    PriceTier(Decimal(5000), Decimal("0.0125"), Decimal(3)),
    PriceTier(None, Decimal("0.0033"), Decimal("1.50")),
)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"included_quantity": Decimal(500)},
        {"price_model": PriceModel.PACKAGE, "package_size": Decimal(100)},
        {"price_model": PriceModel.GRADUATED, "tiers": TIERS},
        {"price_model": PriceModel.VOLUME, "tiers": TIERS},
    ],
)
@pytest.mark.parametrize("quantity", [0, 1, 499, 500, 501, 1000, 1001, 5000, 5001, 123_457])
def test_stripe_prices_a_charge_as_we_do(changed: dict[str, Any], quantity: int) -> None:
    charge = replace(METERED, **changed)
    price = MeteredPrice(
        lookup_key="k", display_name="d", currency_code="USD", interval_months=1, charge=charge
    )

    sent = parsed(flattened(price_parameters(price, "mtr_1")))

    assert stripe_schema().violations("POST", "/v1/prices", sent) == []
    exact = sum((amount for _, amount in priced(sent, quantity)), Fraction(0))
    assert exact == rated_of(charge, quantity) * 100
