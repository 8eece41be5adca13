"""Pricing plans between contract and domain."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from finops.billing.v1 import billing_service_pb2
from finops.billing.v1 import pricing_plan_model_pb2 as models
from finops.billing.v1 import pricing_plan_service_pb2 as messages
from finops.common.v1.money_pb2 import Money as WireMoney

from services.billing.convert.values import from_amount, from_instant, to_money
from services.billing.domain.plan import (
    BillingInterval,
    ChargeRoute,
    Discount,
    PlanCharge,
    PlanRates,
    PlanState,
    PriceModel,
    PriceTier,
    PricingPlan,
)
from services.kernel.listing import ListRequest, page_request
from services.kernel.money import CurrencyMismatch, format_decimal, parse_decimal
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update

_PACKAGE = "finops.billing.v1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # the service says when
_STATES = (PlanState.DRAFT, PlanState.DRAFT, PlanState.ACTIVE, PlanState.RETIRED)
_INTERVALS = (None, BillingInterval.MONTH, BillingInterval.QUARTER, BillingInterval.YEAR)
_MODELS = (
    None,
    PriceModel.PER_UNIT,
    PriceModel.GRADUATED,
    PriceModel.VOLUME,
    PriceModel.PACKAGE,
    PriceModel.COST_PLUS,
    PriceModel.FLAT,
)
_ROUTES = (ChargeRoute.RATED, ChargeRoute.RATED, ChargeRoute.STRIPE_METERED)
_FIELDS = (
    "display_name",
    "description",
    "state",
    "interval",
    "rates",
    "trial_days",
    "features",
    "restricted",
)
_IGNORED = ("plan_id", "version", "effective_time", "etag", "create_time")


def to_page(request: ListRequest, tenant_id: str, method: str, **arguments: str) -> PageRequest:
    """Returns which page is asked. method: `Service/Method`."""
    page = page_request(request, tenant_id=tenant_id, method=f"{_PACKAGE}.{method}")
    return replace(page, arguments=arguments)


def to_plan(message: models.PricingPlan) -> PricingPlan:
    """Converts a new plan. Raises InvalidPlan, UnknownCurrency, CurrencyMismatch."""
    return PricingPlan(
        plan_id=message.plan_id,
        version=1,
        effective_at=_EPOCH,
        created_at=_EPOCH,
        **_values(message),
    )


def to_plan_change(
    request: messages.UpdatePricingPlanRequest,
) -> Callable[[PricingPlan], PricingPlan]:
    """Returns what the update makes of a plan. Raises UnknownMaskPath."""
    message = request.plan
    fields = fields_to_update(message, request.update_mask, updatable=_FIELDS, ignored=_IGNORED)
    values = _values(message)
    return lambda plan: replace(
        plan, **{name: value for name, value in values.items() if name in fields}
    )


def _values(message: models.PricingPlan) -> dict[str, Any]:
    return {
        "display_name": message.display_name,
        "description": message.description,
        "state": _STATES[message.state],
        "interval": _INTERVALS[message.interval],
        "rates": tuple(_to_rates(rates) for rates in message.rates),
        "trial_days": message.trial_days,
        "features": tuple(message.features),
        "restricted": message.restricted,
    }


def _to_rates(message: models.PlanRates) -> PlanRates:
    code = message.currency_code
    return PlanRates(
        currency_code=code,
        flat_fee=_amount(message, "flat_fee", code) or Decimal(0),
        minimum_commitment=_amount(message, "minimum_commitment", code) or Decimal(0),
        charges=tuple(_to_charge(charge, code) for charge in message.charges),
        discounts=to_discounts(message.discounts, code, source="plan"),
    )


def _amount(message: Any, name: str, code: str) -> Decimal | None:
    """Returns an amount of a message, None where it is absent. Raises CurrencyMismatch."""
    if not message.HasField(name):
        return None
    money = to_money(getattr(message, name))
    if money.currency_code != code:
        raise CurrencyMismatch(left=money.currency_code, right=code)
    return money.amount


def _to_charge(message: models.PlanCharge, code: str) -> PlanCharge:
    return PlanCharge(
        charge_id=message.charge_id,
        display_name=message.display_name,
        price_model=_MODELS[message.price_model] or PriceModel.PER_UNIT,
        filter=message.filter,
        meter=message.meter,
        unit=message.unit,
        unit_price=_amount(message, "unit_price", code) or Decimal(0),
        package_size=parse_decimal(message.package_size or "1"),
        cost_ratio=parse_decimal(message.cost_ratio or "1"),
        tiers=tuple(
            PriceTier(
                parse_decimal(tier.up_to_quantity) if tier.up_to_quantity else None,
                _amount(tier, "unit_price", code) or Decimal(0),
                _amount(tier, "flat_price", code) or Decimal(0),
            )
            for tier in message.tiers
        ),
        included_quantity=parse_decimal(message.included_quantity or "0"),
        minimum=_amount(message, "minimum", code),
        maximum=_amount(message, "maximum", code),
        route=_ROUTES[message.route],
        tax_code=message.tax_code,
        group_by=message.group_by,
    )


def to_discounts(
    discounts: Iterable[models.PlanDiscount], code: str, *, source: str
) -> tuple[Discount, ...]:
    """Converts discounts, in order. code: "" where any currency will do."""
    made = []
    for number, one in enumerate(discounts, start=1):
        has_amount = one.HasField("amount")
        amount = _amount(one, "amount", code or one.amount.currency_code) if has_amount else None
        made.append(
            Discount(
                source_id=f"{source}:{number}",
                display_name=one.display_name or "Discount",
                ratio=parse_decimal(one.discount_ratio) if one.discount_ratio else None,
                amount=amount,
                charge_ids=frozenset(one.charge_ids),
            )
        )
    return tuple(made)


def from_discounts(discounts: Iterable[Discount], code: str) -> list[models.PlanDiscount]:
    """Converts stored discounts."""
    return [
        models.PlanDiscount(
            display_name=one.display_name,
            discount_ratio="" if one.ratio is None else format_decimal(one.ratio),
            amount=_from(code, one.amount),
            charge_ids=sorted(one.charge_ids),
        )
        for one in discounts
    ]


def from_plan(plan: PricingPlan) -> models.PricingPlan:
    """Converts a stored version of a plan."""
    return models.PricingPlan(
        plan_id=plan.plan_id,
        version=plan.version,
        display_name=plan.display_name,
        description=plan.description,
        state=models.PlanState.Value(f"PLAN_STATE_{plan.state.name}"),
        interval=models.BillingInterval.Value(f"BILLING_INTERVAL_{plan.interval.name}"),
        rates=[_from_rates(rates) for rates in plan.rates],
        trial_days=plan.trial_days,
        features=plan.features,
        restricted=plan.restricted,
        effective_time=from_instant(plan.effective_at),
        etag=str(plan.version),
        create_time=from_instant(plan.created_at),
    )


def _from_rates(rates: PlanRates) -> models.PlanRates:
    code = rates.currency_code
    return models.PlanRates(
        currency_code=code,
        flat_fee=_from(code, rates.flat_fee or None),
        minimum_commitment=_from(code, rates.minimum_commitment or None),
        charges=[_from_charge(charge, code) for charge in rates.charges],
        discounts=from_discounts(rates.discounts, code),
    )


def _from(code: str, amount: Decimal | None) -> WireMoney | None:
    return None if amount is None else from_amount(code, amount)


def _from_charge(charge: PlanCharge, code: str) -> models.PlanCharge:
    return models.PlanCharge(
        charge_id=charge.charge_id,
        display_name=charge.display_name,
        filter=charge.filter,
        meter=charge.meter,
        unit=charge.unit,
        price_model=models.PriceModel.Value(f"PRICE_MODEL_{charge.price_model.name}"),
        unit_price=_from(code, charge.unit_price or None),
        package_size=format_decimal(charge.package_size),
        cost_ratio=format_decimal(charge.cost_ratio),
        tiers=[
            models.PriceTier(
                up_to_quantity="" if tier.up_to is None else format_decimal(tier.up_to),
                unit_price=from_amount(code, tier.unit_price),
                flat_price=_from(code, tier.flat_price or None),
            )
            for tier in charge.tiers
        ],
        included_quantity=format_decimal(charge.included_quantity),
        minimum=_from(code, charge.minimum),
        maximum=_from(code, charge.maximum),
        route=models.ChargeRoute.Value(f"CHARGE_ROUTE_{charge.route.name}"),
        tax_code=charge.tax_code,
        group_by=charge.group_by,
    )


def from_plans(page: Page[PricingPlan]) -> billing_service_pb2.ListPricingPlansResponse:
    """Converts a page of plans."""
    return billing_service_pb2.ListPricingPlansResponse(
        plans=map(from_plan, page.items), next_page_token=page.next_page_token
    )


def from_versions(page: Page[PricingPlan]) -> messages.ListPricingPlanVersionsResponse:
    """Converts a page of versions."""
    return messages.ListPricingPlanVersionsResponse(
        plans=map(from_plan, page.items), next_page_token=page.next_page_token
    )
