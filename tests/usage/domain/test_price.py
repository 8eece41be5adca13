"""Prices refuse what cannot be charged, and charge totals exactly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.kernel.money import InvalidCurrency
from services.usage.domain.price import (
    InvalidPrice,
    Price,
    PriceOverlap,
    PricingModel,
    Tier,
    charge,
    require_no_overlap,
)
from tests.usage.domain.example import price, tier

JUNE = datetime(2025, 6, 1, tzinfo=UTC)
JULY = datetime(2025, 7, 1, tzinfo=UTC)

GRADUATED = price(
    model=PricingModel.GRADUATED,
    tiers=(tier("100", "1", "10"), tier("1000", "0.5"), tier("", "0.1", "3")),
)
VOLUME = price(
    model=PricingModel.VOLUME, tiers=(tier("100", "1"), tier("1000", "0.5", "2"), tier("", "0.1"))
)
PACKAGE = price(model=PricingModel.PACKAGE, tiers=(tier("", "7"),), per=Decimal("2.5"))


@pytest.mark.parametrize(
    ("priced", "total", "expected"),
    [
        (price("0.25"), "3", "0.75"),
        (price("2.5", per=Decimal(1_000_000)), "4808", "0.01202"),
        (price("0.0000025"), "4808", "0.01202"),
        (price("0.000000000000000001"), "0.000000000000000001", "1E-36"),
        (price("5"), "0", "0"),
        (GRADUATED, "0", "0"),
        (GRADUATED, "1", "11"),
        (GRADUATED, "100", "110"),
        (GRADUATED, "101", "110.5"),
        (GRADUATED, "1000", "560"),
        (GRADUATED, "1010", "564"),
        (VOLUME, "100", "100"),
        (VOLUME, "100.5", "52.25"),
        (VOLUME, "1000", "502"),
        (VOLUME, "2000", "200"),
        (PACKAGE, "0", "0"),
        (PACKAGE, "0.1", "7"),
        (PACKAGE, "2.5", "7"),
        (PACKAGE, "2.500000000000000001", "14"),
        (PACKAGE, "99999999999999999999.999999999999999999", "280000000000000000000"),
    ],
)
def test_a_total_is_charged_exactly(priced: Price, total: str, expected: str) -> None:
    assert charge(priced, Decimal(total)) == Decimal(expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: price(tiers=()),
        lambda: price(tiers=(tier("", "1"),) * 51),
        lambda: price(tiers=(tier("10", "1"),)),
        lambda: price(tiers=(tier("", "1"), tier("", "2"))),
        lambda: price("-1"),
        lambda: price("NaN"),
        lambda: price(tiers=(tier("", "1", "1"),)),
        lambda: price(per=Decimal(0)),
        lambda: price(per=Decimal("Infinity")),
        lambda: price(meter=""),
        lambda: price(resource_type=""),
        lambda: price(effective_start_at=JULY, effective_end_at=JULY),
        lambda: price(model=PricingModel.PACKAGE, tiers=(tier("5", "1"), tier("", "2"))),
        lambda: price(
            model=PricingModel.VOLUME, tiers=(tier("5", "1"), tier("4", "1"), tier("", "2"))
        ),
        lambda: price(model=PricingModel.GRADUATED, peak_schedule_id="night"),
        lambda: price(threshold_meters=("hour",)),
        lambda: price(
            model=PricingModel.VOLUME, tiers=(tier("", "1", "1"),), threshold_meters=("hour",)
        ),
    ],
)
def test_an_impossible_price_is_refused(make: Callable[[], Price]) -> None:
    with pytest.raises(InvalidPrice) as refusal:
        make()

    assert refusal.value.reason == "INVALID_PRICE"


def test_a_price_without_a_currency_is_refused() -> None:
    with pytest.raises(InvalidCurrency):
        price(currency_code="usd")


def test_two_prices_of_a_book_may_not_hold_at_once() -> None:
    open_ended = price(price_id="old", resource_id="M5.large")
    newer = price(price_id="new", resource_id="m5.LARGE", effective_start_at=JUNE)

    with pytest.raises(PriceOverlap) as refusal:
        require_no_overlap([newer, open_ended])

    assert refusal.value.reason == "PRICE_OVERLAP"
    assert refusal.value.metadata == {
        "price_book_id": "book",
        "price_id": "new",
        "other_price_id": "old",
    }


def test_prices_that_follow_each_other_or_differ_in_match_or_book_do_not_overlap() -> None:
    require_no_overlap(
        [
            price(price_id="1", effective_end_at=JUNE),
            price(price_id="2", effective_start_at=JUNE, effective_end_at=JULY),
            price(price_id="3", effective_start_at=JULY),
            price(price_id="4", region="eu"),
            price(price_id="5", provider="eu"),
            price(price_id="6", price_book_id="other"),
            price(price_id="7", tenant_id="acme"),
            price(price_id="8", superseded_at=JULY),
        ]
    )

    assert price().is_effective(JUNE)


def test_a_row_is_known_from_its_recording_until_it_is_superseded() -> None:
    row = price(recorded_at=JUNE, superseded_at=JULY)

    assert [row.is_known(JUNE + timedelta(days=days)) for days in (-1, 0, 29, 30)] == [
        False,
        True,
        True,
        False,
    ]
    assert not row.is_known(None)


def test_tiers_are_told_apart_by_their_upper_end() -> None:
    assert Tier(None, Decimal(1)) == tier("", "1")
