"""Rating: tiers, packages, bounds and included quantities; groups, currencies, late usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain.charges import (
    Exchange,
    UsageSum,
    flat_line,
    late_usage_lines,
    usage_lines,
)
from services.billing.domain.invoice import ExactLine, LineKind
from services.billing.domain.plan import PlanCharge, PlanRates, PriceModel, PriceTier
from services.billing.domain.rating import rate
from services.billing.errors import ExchangeRateMissing, InvalidPlan
from services.kernel.money import Money
from services.kernel.period import Period

PERIOD = Period(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
TIERS = (
    PriceTier(Decimal(100), Decimal("0.10")),
    PriceTier(Decimal(1000), Decimal("0.05"), Decimal(2)),
    PriceTier(None, Decimal("0.01")),
)
EURO = Exchange("EUR")


def charge(model: PriceModel = PriceModel.PER_UNIT, **changed: object) -> PlanCharge:
    tiers = TIERS if model in (PriceModel.GRADUATED, PriceModel.VOLUME) else ()
    made = PlanCharge(
        charge_id="c",
        display_name="Calls",
        price_model=model,
        unit_price=Decimal("0.5"),
        tiers=tiers,
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def rates_of(*charges: PlanCharge) -> PlanRates:
    return PlanRates(currency_code="EUR", charges=charges)


def used(quantity: str, **changed: object) -> UsageSum:
    made = UsageSum(
        charge_id="c", period=PERIOD, quantity=Decimal(quantity), unit="call", event_count=1
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def lines_of(
    one: PlanCharge, usage: Sequence[UsageSum], exchange: Exchange = EURO
) -> list[ExactLine]:
    return usage_lines(rates_of(one), usage, PERIOD, exchange=exchange)


@pytest.mark.parametrize(
    ("model", "quantity", "expected"),
    [
        (PriceModel.PER_UNIT, "3", "1.5"),
        (PriceModel.GRADUATED, "100", "10"),
        (PriceModel.GRADUATED, "101", "12.05"),
        (PriceModel.GRADUATED, "1500", "62"),
        (PriceModel.VOLUME, "100", "10"),
        (PriceModel.VOLUME, "1000", "52"),
        (PriceModel.VOLUME, "1001", "10.01"),
        (PriceModel.PACKAGE, "21", "1.5"),
        (PriceModel.PACKAGE, "20", "1"),
        (PriceModel.FLAT, "7", "0.5"),
        (PriceModel.FLAT, "0", "0"),
        (PriceModel.PER_UNIT, "-3", "0"),
        (PriceModel.GRADUATED, "0", "0"),
    ],
)
def test_a_quantity_costs_what_its_model_says(
    model: PriceModel, quantity: str, expected: str
) -> None:
    rated = rate(charge(model, package_size=Decimal(10)), Decimal(quantity))

    assert rated.exact == Fraction(expected)


def test_included_units_come_off_before_tiers_and_bounds_hold_at_last() -> None:
    included = charge(PriceModel.GRADUATED, included_quantity=Decimal(50))
    bounded = charge(minimum=Decimal(2), maximum=Decimal(10))

    assert rate(included, Decimal(151)).exact == Fraction("12.05")
    assert rate(included, Decimal(151)).included == 50
    assert [rate(bounded, Decimal(each)).exact for each in (0, 10, 100)] == [2, 5, 10]


def test_tiers_say_how_they_were_filled() -> None:
    tiers = rate(charge(PriceModel.GRADUATED), Decimal(1500)).tiers

    assert [int(each.from_quantity) for each in tiers] == [0, 100, 1000]
    assert [int(each.quantity) for each in tiers] == [100, 900, 500]
    assert sum(each.amount for each in tiers) == Decimal(62)


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=12),
    st.sampled_from([PriceModel.PER_UNIT, PriceModel.GRADUATED, PriceModel.PACKAGE]),
)
def test_groups_share_exactly_what_their_whole_quantity_costs(
    quantities: list[int], model: PriceModel
) -> None:
    usage = [used(str(each), project=f"p{n}") for n, each in enumerate(quantities)]

    lines = lines_of(charge(model), usage)

    assert sum(each.exact for each in lines) == rate(charge(model), Decimal(sum(quantities))).exact
    assert len({each.key for each in lines}) == len(quantities)


@given(st.lists(st.integers(-50, 2_000), min_size=1, max_size=8))
def test_late_usage_costs_what_the_period_would_have_cost_more(quantities: list[int]) -> None:
    tiered = charge(PriceModel.GRADUATED)
    first = used(str(abs(quantities[0])))
    late = [used(str(each), project=f"p{n}") for n, each in enumerate(quantities[1:])]

    lines = late_usage_lines(rates_of(tiered), [first], late, exchange=EURO)

    whole = rate(tiered, first.quantity + sum(each.quantity for each in late)).exact
    assert sum(each.exact for each in lines) == whole - rate(tiered, first.quantity).exact
    assert all(each.kind is LineKind.LATE_USAGE for each in lines)


def test_cost_plus_converts_each_currency_once_and_never_guesses_a_rate() -> None:
    plus = charge(PriceModel.COST_PLUS, cost_ratio=Decimal("1.1"))
    usage = [
        used("1", cost=Decimal("10.01"), cost_currency="USD"),
        used("1", cost=Decimal(5), cost_currency="EUR", unit="hour"),
    ]

    lines = lines_of(plus, usage, Exchange("EUR", {"USD": Decimal("0.9123")}))

    assert [each.exact for each in lines] == [Fraction("10.0453353"), Fraction("5.5")]
    assert [each.source_amount for each in lines] == [Money("USD", Decimal("11.011")), None]
    with pytest.raises(ExchangeRateMissing) as caught:
        lines_of(plus, usage)
    assert caught.value.reason == "EXCHANGE_RATE_MISSING"


def test_two_units_are_never_added() -> None:
    lines = lines_of(
        charge(PriceModel.GRADUATED), [used("150"), used("150", unit="token", project="x")]
    )

    assert [each.exact for each in lines] == [Fraction("14.5"), Fraction("14.5")]


def test_usage_of_a_trial_is_shown_and_costs_nothing() -> None:
    lines = lines_of(charge(), [used("4"), used("9", is_free=True)])

    assert [each.quantity for each in lines] == [9, 4]
    assert [each.exact for each in lines] == [0, 2]
    assert lines[0].description.endswith("not charged")


def test_a_minimum_is_charged_without_usage_and_flat_fees_only_where_there_is_one() -> None:
    assert [each.exact for each in lines_of(charge(minimum=Decimal(3)), [])] == [3]
    assert lines_of(charge(), []) == []
    assert flat_line(rates_of(), Decimal(1), PERIOD, name="P", plan_id="p") == []
    seats = PlanRates(currency_code="EUR", flat_fee=Decimal("9.99"))
    (flat,) = flat_line(seats, Decimal(3), PERIOD, name="P", plan_id="p")
    assert flat.exact == Fraction("29.97")


@pytest.mark.parametrize(
    "changed",
    [
        {"package_size": Decimal(0)},
        {"unit_price": Decimal(-1)},
        {"minimum": Decimal(2), "maximum": Decimal(1)},
        {"tiers": (PriceTier(None),)},
        {"price_model": PriceModel.VOLUME},
        {"price_model": PriceModel.VOLUME, "tiers": (PriceTier(Decimal(1)),)},
        {
            "price_model": PriceModel.VOLUME,
            "tiers": (PriceTier(Decimal(2)), PriceTier(Decimal(1)), PriceTier(None)),
        },
    ],
)
def test_a_charge_that_makes_no_sense_cannot_exist(changed: dict[str, object]) -> None:
    with pytest.raises(InvalidPlan) as caught:
        charge(**changed)  # type: ignore[arg-type]
    assert caught.value.reason == "INVALID_PLAN"
