"""The plans that a new installation sells: starter, professional, enterprise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from services.billing.domain.plan import (
    BillingInterval,
    Discount,
    PlanCharge,
    PlanRates,
    PlanState,
    PriceModel,
    PriceTier,
    PricingPlan,
)

# Units of each currency that stand for one dollar in the list prices; round numbers, no rates.
_LEVELS: Mapping[str, Decimal] = {"USD": Decimal(1), "EUR": Decimal(1), "JPY": Decimal(150)}
_TRIAL_DAYS = 14


def seeded_plans(at: datetime) -> list[PricingPlan]:
    """Returns the plans, on sale from an instant on, in USD, EUR and JPY."""
    return [
        _plan(
            "starter",
            "Starter",
            "Cost visibility for one team.",
            at,
            rates=tuple(_starter(code) for code in _LEVELS),
            trial_days=_TRIAL_DAYS,
            features=("Cost attribution", "Budgets and alerts", "5 % on managed cost"),
        ),
        _plan(
            "professional",
            "Professional",
            "Hard limits, forecasts and chargeback for a company.",
            at,
            rates=tuple(_professional(code) for code in _LEVELS),
            trial_days=_TRIAL_DAYS,
            features=("Everything in Starter", "Forecasts", "Chargeback", "3 % on managed cost"),
        ),
        _plan(
            "enterprise",
            "Enterprise",
            "A commitment with the lowest rates.",
            at,
            rates=tuple(_enterprise(code) for code in _LEVELS),
            features=("Everything in Professional", "Commitment discount", "1.5 % on managed cost"),
        ),
    ]


def _plan(
    plan_id: str,
    display_name: str,
    description: str,
    at: datetime,
    *,
    rates: tuple[PlanRates, ...],
    features: tuple[str, ...],
    trial_days: int = 0,
) -> PricingPlan:
    return PricingPlan(
        plan_id=plan_id,
        version=1,
        display_name=display_name,
        description=description,
        interval=BillingInterval.MONTH,
        state=PlanState.ACTIVE,
        rates=rates,
        trial_days=trial_days,
        features=features,
        effective_at=at,
        created_at=at,
    )


def _managed_cost(ratio: str, *, group_by: str = "") -> PlanCharge:
    return PlanCharge(
        charge_id="managed-cost",
        display_name="Managed cost",
        price_model=PriceModel.COST_PLUS,
        cost_ratio=Decimal(ratio),
        group_by=group_by,
    )


def _tokens(code: str, tiers: tuple[tuple[int | None, str], ...], included: int) -> PlanCharge:
    level = _LEVELS[code]
    return PlanCharge(
        charge_id="tokens",
        display_name="Analyzed tokens",
        price_model=PriceModel.GRADUATED,
        filter='resource_type = "llm"',
        unit="token",
        included_quantity=Decimal(included),
        tiers=tuple(
            PriceTier(None if up_to is None else Decimal(up_to), Decimal(price) * level)
            for up_to, price in tiers
        ),
    )


def _starter(code: str) -> PlanRates:
    tiers = ((100_000_000, "0.00000004"), (None, "0.00000003"))
    return PlanRates(
        currency_code=code,
        flat_fee=29 * _LEVELS[code],
        charges=(_tokens(code, tiers, 10_000_000), _managed_cost("0.05")),
    )


def _professional(code: str) -> PlanRates:
    tiers = ((1_000_000_000, "0.00000003"), (None, "0.00000002"))
    return PlanRates(
        currency_code=code,
        flat_fee=299 * _LEVELS[code],
        charges=(
            _tokens(code, tiers, 100_000_000),
            _managed_cost("0.03", group_by="department"),
        ),
    )


def _enterprise(code: str) -> PlanRates:
    tiers = ((10_000_000_000, "0.00000002"), (None, "0.00000001"))
    return PlanRates(
        currency_code=code,
        flat_fee=1_499 * _LEVELS[code],
        minimum_commitment=5_000 * _LEVELS[code],
        charges=(
            _tokens(code, tiers, 1_000_000_000),
            _managed_cost("0.015", group_by="department"),
        ),
        discounts=(
            Discount(source_id="plan:1", display_name="Commitment discount", ratio=Decimal("0.05")),
        ),
    )
