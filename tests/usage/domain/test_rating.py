"""Events are rated exactly, by outcome, over time and over the month's running quantity."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.money import add_exactly
from services.usage.domain.event import Costs, Outcome
from services.usage.domain.peak import PeakSchedule, PeakWindow
from services.usage.domain.price import ChargeOn, Price, PricingModel
from services.usage.domain.price_index import PriceIndex
from services.usage.domain.rating import PeriodTooLong, Rating, RatingLine, metered_quantities, rate
from services.usage.domain.stateful_meter import MeterMonth, StatefulMeter
from tests.usage.domain.example import NOON, attributes, event, price, tier, token_price

ZERO, ONE = Decimal(0), Decimal(1)
TOKENS = [
    token_price("input_token", "2.5"),
    token_price("cached_input_token", "1.25"),
    token_price("output_token", "10"),
]
GRADUATED_TIERS = (tier("100", "1", "10"), tier("1000", "0.333333333333333333"), tier("", "0.1"))
STATEFUL = [
    price(model=PricingModel.GRADUATED, tiers=GRADUATED_TIERS),
    price(model=PricingModel.VOLUME, tiers=(tier("100", "1"), tier("", "0.5", "3"))),
    price(model=PricingModel.PACKAGE, tiers=(tier("", "7"),), per=Decimal("2.5")),
    price(model=PricingModel.GRADUATED, tiers=GRADUATED_TIERS, per=Decimal(7)),
]
QUANTITIES = st.decimals(0, 2000, places=6)


def office_hours(multiplier: str = "2") -> PeakSchedule:
    weekdays = frozenset({1, 2, 3, 4, 5})
    return PeakSchedule(
        "office", "America/New_York", (PeakWindow(weekdays, 9 * 60, 17 * 60, Decimal(multiplier)),)
    )


def billed(rating: Rating) -> Decimal:
    return rating.costs.billed


def test_one_call_of_a_language_model_is_rated_by_meter() -> None:
    call = event(
        "4828",
        components={"input_token": "4808", "cached_input_token": "10", "output_token": "10"},
        resource_type="llm",
    )

    rating = rate(call, PriceIndex(TOKENS))

    assert rating.currency_code == "USD"
    assert billed(rating) == Decimal("0.0121325")
    assert rating.costs == Costs(*[Decimal("0.0121325")] * 4)
    assert [(line.meter, line.unit_price, line.amount) for line in rating.lines] == [
        ("input_token", Decimal("0.0000025"), Decimal("0.01202")),
        ("cached_input_token", Decimal("0.00000125"), Decimal("0.0000125")),
        ("output_token", Decimal("0.00001"), Decimal("0.0001")),
    ]
    assert rating.residue == 0
    assert not rating.is_unpriced
    assert rating.metered == ()


def test_a_meter_without_price_is_listed_and_never_guessed() -> None:
    call = event("30", components={"input_token": "10", "audio_token": "20"}, resource_type="llm")

    rating = rate(call, PriceIndex(TOKENS))

    assert rating.is_unpriced
    assert rating.unpriced_meters == ("audio_token",)
    assert rating.lines[1] == RatingLine("audio_token", Decimal(20), None, ONE, "", ZERO, ZERO)
    assert billed(rating) == Decimal("0.000025")


def test_a_cost_that_came_along_is_kept() -> None:
    given_cost = Costs(*map(Decimal, ("1", "2", "3", "4")))
    bill = event(currency_code="EUR")._replace(cost=given_cost)

    rating = rate(bill, PriceIndex([price()]))

    assert (rating.costs, rating.currency_code, rating.lines) == (given_cost, "EUR", ())


@pytest.mark.parametrize(
    ("outcome", "charge_on", "expected"),
    [
        (Outcome.SUCCEEDED, ChargeOn.SUCCESS_ONLY, "6"),
        (Outcome.FAILED, ChargeOn.SUCCESS_ONLY, "0"),
        (Outcome.PENDING, ChargeOn.SUCCESS_ONLY, "0"),
        (Outcome.FAILED, ChargeOn.ALWAYS, "6"),
        (Outcome.PENDING, ChargeOn.ALWAYS, "0"),
    ],
)
def test_work_that_did_not_succeed_is_free_but_keeps_its_list_cost(
    outcome: Outcome, charge_on: ChargeOn, expected: str
) -> None:
    index = PriceIndex([price("2", charge_on=charge_on)])
    work = event("3", outcome=outcome)
    plan = index.plan(work.attributes, ("hour",), NOON)

    rating = rate(work, index)

    amount = Decimal(expected)
    assert rating.costs == Costs(amount, amount, Decimal(6), amount)
    assert plan.costs((Decimal(3),), outcome) == rating.costs


def test_the_list_cost_is_the_public_price_where_the_tenant_has_its_own() -> None:
    index = PriceIndex([price("2", price_id="public"), price("1.5", price_id="own", tenant_id="a")])

    rating = rate(event("4"), index)

    assert rating.costs == Costs(Decimal(6), Decimal(6), Decimal(8), Decimal(6))
    plan = index.plan(attributes(), ("hour",), NOON)
    assert plan.costs((Decimal(4),), Outcome.SUCCEEDED) == rating.costs


def test_an_instant_has_the_multiplier_of_its_time() -> None:
    index = PriceIndex([price("3", peak_schedule_id="office")], [office_hours()])

    at_nine = datetime(2025, 6, 2, 13, tzinfo=UTC)
    at_five = datetime(2025, 6, 2, 21, tzinfo=UTC)

    assert billed(rate(event(at=at_nine), index)) == 6
    assert billed(rate(event(at=at_five), index)) == 3


def test_a_longer_usage_is_spread_over_its_time() -> None:
    index = PriceIndex([price("3", peak_schedule_id="office")], [office_hours()])

    # A machine runs from Friday 08:00 to Monday 10:00 in New York: 8 + 1 peak hours of 74.
    rating = rate(event("74", at=datetime(2025, 6, 6, 12, tzinfo=UTC), hours=74), index)

    assert [(line.quantity, line.multiplier) for line in rating.lines] == [
        (Decimal(65), ONE),
        (Decimal(9), Decimal(2)),
    ]
    assert billed(rating) == (65 + 18) * 3


def test_a_price_change_in_the_middle_splits_the_quantity() -> None:
    change = datetime(2025, 6, 2, 13, tzinfo=UTC)
    index = PriceIndex(
        [
            price("1", price_id="old", effective_end_at=change),
            price("2", price_id="new", effective_start_at=change),
        ]
    )

    rating = rate(event("1", at=NOON, hours=3), index)

    assert [(line.price_id, line.quantity) for line in rating.lines] == [
        ("old", Decimal("0.333333333333333333")),
        ("new", Decimal("0.666666666666666667")),
    ]
    assert billed(rating) == Decimal("1.666666666666666667")


def test_usage_longer_than_a_year_is_not_spread() -> None:
    index = PriceIndex([price(peak_schedule_id="office")], [office_hours()])

    with pytest.raises(PeriodTooLong) as refusal:
        rate(event(hours=24 * 367), index)

    assert refusal.value.reason == "PERIOD_TOO_LONG"
    assert refusal.value.metadata == {"days": "367"}


def test_digits_beyond_the_eighteenth_are_rounded_once_and_shown() -> None:
    index = PriceIndex([price("1", per=Decimal(3))])

    rating = rate(event("2"), index)

    assert billed(rating) == Decimal("0.666666666666666667")
    assert rating.lines[0].unit_price is None
    assert round(rating.residue, 19) == Decimal("-3E-19")
    assert index.plan(attributes(), ("hour",), NOON).cost((Decimal(2),)) == billed(rating)


def test_a_price_that_adds_up_over_the_month_takes_the_quantity_so_far() -> None:
    index = PriceIndex([STATEFUL[0]])
    june = MeterMonth("p", date(2025, 6, 1))

    rating = rate(event("20"), index, running={june: Decimal(90)})

    assert billed(rating) == 10 + Decimal("3.33333333333333333")
    assert rating.metered == ((june, Decimal(20)),)
    assert rating.lines[0].unit_price is None


def test_two_components_of_one_meter_count_after_each_other() -> None:
    index = PriceIndex([STATEFUL[1]])

    split = rate(event("120", components=[("hour", "60"), ("hour", "60")]), index)

    assert billed(split) == billed(rate(event("120"), index)) == 63


def test_a_period_across_the_end_of_a_month_counts_in_both() -> None:
    index = PriceIndex([STATEFUL[2]])

    rating = rate(event("5", at=datetime(2025, 6, 30, 22, tzinfo=UTC), hours=4), index)

    assert rating.metered == (
        (MeterMonth("p", date(2025, 6, 1)), Decimal("2.5")),
        (MeterMonth("p", date(2025, 7, 1)), Decimal("2.5")),
    )
    assert billed(rating) == 14


def test_failed_work_does_not_advance_the_months_quantity() -> None:
    rating = rate(event("20", outcome=Outcome.FAILED), PriceIndex([STATEFUL[0]]))

    assert billed(rating) == 0
    assert rating.costs.list == 30
    assert rating.metered == ()


@pytest.mark.parametrize("stateful", STATEFUL)
@given(quantities=st.lists(QUANTITIES, min_size=1, max_size=12), data=st.data())
def test_the_months_total_does_not_depend_on_the_order(
    stateful: Price, quantities: list[Decimal], data: st.DataObject
) -> None:
    meter = StatefulMeter(stateful)

    def run(order: list[Decimal]) -> Decimal:
        total, costs = Decimal(0), []
        for quantity in order:
            costs.append(meter.change_cost(total, quantity))
            total += quantity
        return add_exactly(costs)

    expected = meter.total_cost(sum(quantities, Decimal(0)))
    assert run(quantities) == run(data.draw(st.permutations(quantities))) == expected


@pytest.mark.parametrize("stateful", STATEFUL)
@given(total=QUANTITIES, quantity=QUANTITIES)
def test_taking_a_quantity_back_restores_the_cost(
    stateful: Price, total: Decimal, quantity: Decimal
) -> None:
    meter = StatefulMeter(stateful)

    there = meter.change_cost(total, quantity)
    back = meter.change_cost(total + quantity, -quantity)

    assert there + back == 0


@given(
    quantity=st.decimals(0, 10**9, places=9),
    unit_price=st.decimals(0, 1000, places=9),
    start=st.integers(0, 7 * 86_400),
    length=st.integers(0, 5 * 86_400),
)
def test_spreading_over_time_conserves_the_quantity(
    quantity: Decimal, unit_price: Decimal, start: int, length: int
) -> None:
    index = PriceIndex([price(str(unit_price), peak_schedule_id="office")], [office_hours("1")])
    doubled = PriceIndex([price(str(unit_price), peak_schedule_id="office")], [office_hours()])
    at = datetime.fromtimestamp(NOON.timestamp() + start, tz=UTC)
    usage = event(str(quantity), at=at, hours=length / 3600)

    rating, peak = rate(usage, index), rate(usage, doubled)

    assert add_exactly(line.quantity for line in peak.lines) == quantity
    assert rating.costs.billed + rating.residue == quantity * unit_price
    assert rating.costs.billed <= peak.costs.billed <= 2 * quantity * unit_price


@given(st.lists(st.tuples(st.sampled_from([p.meter for p in TOKENS]), st.integers(0, 10**9))))
def test_the_plan_and_the_rating_agree(components: list[tuple[str, int]]) -> None:
    index = PriceIndex(TOKENS)
    call = event("0", components=[(m, str(q)) for m, q in components], resource_type="llm")
    meters, quantities = metered_quantities(call)

    plan = index.plan(call.attributes, meters, NOON)

    for outcome in Outcome:
        rating = rate(call._replace(outcome=outcome), index)
        assert plan.costs(quantities, outcome) == rating.costs
