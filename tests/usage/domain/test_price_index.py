"""The most specific price in force is found, the tenant's own before a public one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.usage.domain.peak import PeakSchedule, PeakWindow
from services.usage.domain.price import NEVER, InvalidPrice, Price, PriceOverlap, PricingModel
from services.usage.domain.price_index import PriceIndex
from services.usage.domain.rate_plan import RunningTotalNeeded
from tests.usage.domain.example import NOON, attributes, price, tier, token_price

JUNE = datetime(2025, 6, 1, tzinfo=UTC)
JULY = datetime(2025, 7, 1, tzinfo=UTC)
ANY: Mapping[str, str] = {}
RESOURCE = {
    "resource_id": "m5.large",
    "service": "EC2",
    "region": "eu-west-1",
    "provider": "AWS",
}
NIGHTS = PeakSchedule(
    "nights", "UTC", (PeakWindow(frozenset(range(1, 8)), 0, 6 * 60, Decimal("0.4")),)
)


def found(index: PriceIndex, at: datetime = NOON, *, of: Mapping[str, str] = ANY) -> str:
    """Returns the id of the price that applies to an hour of a machine."""
    chosen = index.plan(attributes(**of), ("hour",), at).rates[0].price
    return chosen.price_id if chosen is not None else ""


# From the least to the most specific.
LADDER = [
    price(price_id="any"),
    price(price_id="provider", provider="AWS"),
    price(price_id="region", region="eu-west-1"),
    price(price_id="service", service="EC2"),
    price(price_id="pattern", resource_id="m5*"),
    price(price_id="longer pattern", resource_id="m5.l?rge"),
    price(price_id="resource", resource_id="m5.large"),
    price(price_id="service+provider", service="EC2", provider="AWS"),
    price(price_id="pattern+provider", resource_id="m5*", provider="AWS"),
    price(price_id="resource+provider", resource_id="m5.large", provider="AWS"),
    price(price_id="all", **RESOURCE),
]


@pytest.mark.parametrize("length", range(1, len(LADDER) + 1))
def test_the_most_specific_price_wins(length: int) -> None:
    index = PriceIndex(reversed(LADDER[:length]))

    assert found(index, of=RESOURCE) == LADDER[length - 1].price_id


def test_a_price_that_names_an_attribute_does_not_fit_usage_without_it() -> None:
    index = PriceIndex(LADDER[1:])

    assert found(index) == ""
    assert found(index, of={"provider": "GCP", "resource_id": "m4.large"}) == ""


def test_case_makes_no_difference() -> None:
    index = PriceIndex([price(provider="OpenAI", resource_id="GPT-4o")])

    assert found(index, of={"provider": "openai", "resource_id": "gpt-4O"}) == "p"


def test_a_character_of_a_pattern_can_be_quoted() -> None:
    index = PriceIndex([price(resource_id="composer[[]fast=true]")])

    assert found(index, of={"resource_id": "composer[fast=true]"}) == "p"
    assert found(index, of={"resource_id": "composerf"}) == ""


def test_a_tenants_own_price_comes_before_a_more_specific_public_one() -> None:
    index = PriceIndex([price(price_id="public", **RESOURCE), price(price_id="own", tenant_id="a")])

    assert found(index, of=RESOURCE) == "own"


def test_a_shared_index_of_public_prices_is_looked_up_below_the_tenants_own() -> None:
    public = PriceIndex([price(price_id="public", peak_schedule_id="nights")], [NIGHTS])
    own = PriceIndex(
        [price(price_id="own", tenant_id="a", region="eu", peak_schedule_id="nights")], base=public
    )

    assert found(own, of={"region": "eu"}) == "own"
    assert found(own, of={"region": "us"}) == "public"
    assert own.price("public") == public.price("public")
    assert own.price("none") is None


def test_the_price_in_force_at_the_instant_applies_and_the_plan_says_how_long() -> None:
    index = PriceIndex(
        [
            price(price_id="old", effective_end_at=JUNE),
            price(price_id="new", effective_start_at=JUNE, effective_end_at=JULY),
        ]
    )

    before = index.plan(attributes(), ("hour",), JUNE - timedelta(microseconds=1))
    during = index.plan(attributes(), ("hour",), JUNE)

    assert found(index, JUNE - timedelta(microseconds=1)) == "old"
    assert before.valid_until == during.valid_from == JUNE
    assert found(index, JULY - timedelta(microseconds=1)) == "new"
    assert during.valid_until == JULY
    assert found(index, JULY) == ""
    assert index.plan(attributes(), ("hour",), JULY).valid_until == NEVER


def test_a_more_specific_price_to_come_ends_the_plan() -> None:
    index = PriceIndex(
        [price(price_id="any"), price(price_id="eu", region="eu", effective_start_at=JULY)]
    )

    plan = index.plan(attributes(region="eu"), ("hour",), NOON)

    assert plan.valid_until == JULY
    assert found(index, NOON, of={"region": "eu"}) == "any"
    assert found(index, JULY, of={"region": "eu"}) == "eu"


def test_between_books_the_later_start_wins_then_the_later_recording() -> None:
    first = price(price_id="1", price_book_id="a")
    later_recorded = price(
        price_id="0", price_book_id="b", recorded_at=first.recorded_at + timedelta(days=1)
    )
    later_start = price(price_id="00", price_book_id="c", effective_start_at=JUNE)

    assert found(PriceIndex([first, later_recorded])) == "0"
    assert found(PriceIndex([first, later_recorded, later_start])) == "00"
    assert found(PriceIndex([first, later_recorded, later_start]), JUNE - timedelta(1)) == "0"


def test_an_earlier_state_of_the_book_can_be_asked() -> None:
    rows = [
        price(price_id="wrong", recorded_at=JUNE, superseded_at=JULY),
        price(price_id="right", recorded_at=JULY),
    ]

    assert found(PriceIndex(rows)) == "right"
    assert found(PriceIndex(rows, as_of=JULY - timedelta(1))) == "wrong"
    assert found(PriceIndex(rows, as_of=JUNE - timedelta(1))) == ""


def test_one_event_has_one_currency() -> None:
    index = PriceIndex(
        [
            token_price("input_token", "1"),
            token_price("output_token", "2", currency_code="EUR", price_id="euro"),
            token_price("output_token", "3", price_book_id="dollars", price_id="dollar"),
        ]
    )
    meters = ("input_token", "output_token")

    undecided = index.plan(attributes(resource_type="llm"), meters, NOON)
    in_euro = index.plan(attributes(resource_type="llm", currency_code="EUR"), meters, NOON)

    assert undecided.currency_code == "USD"
    assert [rate.price and rate.price.price_id for rate in undecided.rates] == [
        "input_token",
        "dollar",
    ]
    assert in_euro.unpriced_meters == ("input_token",)
    assert in_euro.cost((Decimal(1), Decimal(1_000_000))) == 2


def test_the_month_and_the_quarter_hour_bound_a_plan() -> None:
    graduated = PriceIndex(
        [price(model=PricingModel.GRADUATED, time_zone="America/New_York")]
    ).plan(attributes(), ("hour",), NOON)
    nightly = PriceIndex([price(peak_schedule_id="nights")], [NIGHTS]).plan(
        attributes(), ("hour",), NOON + timedelta(minutes=7)
    )

    assert graduated.is_stateful
    assert (graduated.valid_from, graduated.valid_until) == (
        datetime(2025, 6, 1, 4, tzinfo=UTC),
        datetime(2025, 7, 1, 4, tzinfo=UTC),
    )
    assert not nightly.is_stateful
    assert (nightly.valid_from, nightly.valid_until) == (
        NOON,
        datetime(2025, 6, 3, tzinfo=UTC),
    )


def test_a_plan_refuses_to_rate_what_needs_the_months_total() -> None:
    plan = PriceIndex([price(model=PricingModel.VOLUME)]).plan(attributes(), ("hour",), NOON)

    with pytest.raises(RunningTotalNeeded) as refusal:
        plan.cost((Decimal(1),))

    assert refusal.value.reason == "RUNNING_TOTAL_NEEDED"


def test_an_index_refuses_overlaps_missing_schedules_and_two_tenants() -> None:
    with pytest.raises(PriceOverlap):
        PriceIndex([price(price_id="1"), price(price_id="2")])
    with pytest.raises(InvalidPrice):
        PriceIndex([price(peak_schedule_id="missing")])
    with pytest.raises(InvalidPrice):
        PriceIndex([price(tenant_id="a"), price(tenant_id="b", price_id="2", region="eu")])


def test_an_unpriced_meter_is_named_and_costs_nothing() -> None:
    plan = PriceIndex([]).plan(attributes(), ("hour",), NOON)

    assert plan.is_unpriced
    assert plan.unpriced_meters == ("hour",)
    assert plan.currency_code == ""
    assert plan.cost((Decimal(5),)) == 0


MATCHES = st.fixed_dictionaries(
    {
        "provider": st.sampled_from(["", "a", "b"]),
        "service": st.sampled_from(["", "s"]),
        "region": st.sampled_from(["", "r"]),
        "resource_id": st.sampled_from(["", "x1", "x*", "x?"]),
        "tenant_id": st.sampled_from(["", "t"]),
    }
)


@given(st.lists(MATCHES, min_size=1, max_size=8), st.data())
def test_lookup_does_not_depend_on_the_order_of_prices(
    matches: list[dict[str, str]], data: st.DataObject
) -> None:
    prices: list[Price] = [
        price(price_id=str(number), price_book_id=str(number), **match)
        for number, match in enumerate(matches)
    ]
    other = data.draw(st.permutations(prices))
    subject = {"provider": "a", "service": "s", "region": "r", "resource_id": "x1"}

    assert found(PriceIndex(prices), of=subject) == found(PriceIndex(other), of=subject)


def test_a_threshold_price_chooses_by_the_events_own_total() -> None:
    threshold = ("input_token", "cached_input_token")
    cliff = (tier("200000", "1"), tier("", "2"))
    index = PriceIndex(
        [
            token_price(
                meter, "0", tiers=cliff, model=PricingModel.VOLUME, threshold_meters=threshold
            )
            for meter in ("input_token", "output_token")
        ]
    )
    meters = ("input_token", "cached_input_token", "output_token")
    plan = index.plan(attributes(resource_type="llm"), meters, NOON)

    at_the_edge = plan.cost((Decimal(150_000), Decimal(50_000), Decimal(1_000)))
    beyond = plan.cost((Decimal(150_000), Decimal(50_001), Decimal(1_000)))

    assert not plan.is_stateful
    assert at_the_edge == Decimal("0.151")
    assert beyond == Decimal("0.302")
