"""Money is exact: parsed, added, split and printed without losing a digit."""

from __future__ import annotations

import itertools
from decimal import Decimal

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.money import (
    EXACT,
    CurrencyMismatch,
    InvalidCurrency,
    InvalidDecimal,
    InvalidWeights,
    Money,
    add_exactly,
    format_decimal,
    parse_decimal,
    split_by_weight,
)

AMOUNTS = st.decimals(
    min_value=Decimal(-(10**20) + 1),
    max_value=Decimal(10**20 - 1),
    allow_nan=False,
    allow_infinity=False,
    places=18,
)
WEIGHTS = st.lists(
    st.decimals(min_value=0, max_value=10**12, allow_nan=False, allow_infinity=False, places=6),
    min_size=1,
    max_size=12,
).filter(any)


def whole(value: Decimal, *, places: int) -> int:
    return int(EXACT.scaleb(value, places))


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", Decimal(0)),
        ("12.5", Decimal("12.5")),
        ("-0.000000000000000001", Decimal("-1e-18")),
        (
            "99999999999999999999.999999999999999999",
            EXACT.subtract(Decimal(10**20), Decimal("1e-18")),
        ),
        ("007", Decimal(7)),
    ],
)
def test_plain_decimal_text_is_read_exactly(text: str, amount: Decimal) -> None:
    parsed = parse_decimal(text)

    assert parsed == amount
    assert parsed.compare_total(Decimal(text)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1\n",
        "+1",
        ".5",
        "5.",
        "1e5",
        "1,000",
        "NaN",
        "Infinity",
        "١٢",
        "1_000",
        "0." + "0" * 19,
        "1" * 21,
        "9" * 5000,
    ],
)
def test_text_that_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(InvalidDecimal) as caught:
        parse_decimal(text)

    assert caught.value.reason == "INVALID_DECIMAL"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {"value": text[:60]}


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("12.50", "12.5"),
        ("100", "100"),
        ("1E+5", "100000"),
        ("1E-18", "0.000000000000000001"),
        ("-3.1400", "-3.14"),
    ],
)
def test_a_decimal_is_printed_plain(amount: str, text: str) -> None:
    assert format_decimal(Decimal(amount)) == text


@given(AMOUNTS)
def test_printing_and_reading_give_the_same_amount(amount: Decimal) -> None:
    assert parse_decimal(format_decimal(amount)) == amount


@pytest.mark.parametrize("code", ["USD", "EUR", "TOKENS", "X_CREDITS", "GPU2"])
def test_iso_and_virtual_currencies_are_taken(code: str) -> None:
    assert str(Money(code, Decimal("1.50"))) == f"1.5 {code}"


@pytest.mark.parametrize("code", ["", "US", "usd", "US D", "USD\n", "$", "A" * 17, "ÄÖÜ", "1US"])
def test_text_that_is_no_currency_is_refused(code: str) -> None:
    with pytest.raises(InvalidCurrency) as caught:
        Money(code, Decimal(1))

    assert caught.value.reason == "INVALID_CURRENCY"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {"value": code}


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_an_amount_is_finite(amount: str) -> None:
    with pytest.raises(InvalidDecimal) as caught:
        Money("USD", Decimal(amount))

    assert caught.value.metadata == {"value": amount}


@pytest.mark.parametrize("operation", [Money.__add__, Money.__sub__], ids=["add", "subtract"])
def test_two_currencies_never_meet(operation: object) -> None:
    assert callable(operation)
    with pytest.raises(CurrencyMismatch) as caught:
        operation(Money("USD", Decimal(1)), Money("EUR", Decimal(1)))

    assert caught.value.reason == "CURRENCY_MISMATCH"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {"left": "USD", "right": "EUR"}


@given(AMOUNTS, AMOUNTS)
def test_adding_and_subtracting_undo_each_other(left: Decimal, right: Decimal) -> None:
    first, second = Money("USD", left), Money("USD", right)

    assert first + second - second == first
    assert first + -first == Money("USD", Decimal(0))
    assert first + second == second + first


def test_a_sum_keeps_more_digits_than_the_default_context() -> None:
    amounts = [Decimal("12345678901234567890.123456789012345678"), Decimal("1e-18")]

    assert str(add_exactly(amounts)) == "12345678901234567890.123456789012345679"
    assert add_exactly([]) == 0


@pytest.mark.parametrize(
    ("amount", "weights", "digits", "parts"),
    [
        ("10.00", [1, 1, 1], 2, ["3.34", "3.33", "3.33"]),
        ("-10.00", [1, 1, 1], 2, ["-3.34", "-3.33", "-3.33"]),
        ("100", [1, 2], 0, ["33", "67"]),
        ("0.01", [1, 1], 2, ["0.01", "0.00"]),
        ("0.01", [1, 3], 2, ["0.00", "0.01"]),
        ("7", [0, 1, 0], 2, ["0.00", "7.00", "0.00"]),
        ("-1", [1, 0], 0, ["-1", "0"]),
        ("0", [1, 2], 2, ["0.00", "0.00"]),
        ("1", ["0.333333", "0.666667"], 2, ["0.33", "0.67"]),
        ("5", [1], 2, ["5.00"]),
    ],
)
def test_left_over_units_go_to_the_largest_remainders(
    amount: str, weights: list[object], digits: int, parts: list[str]
) -> None:
    shares = [Decimal(str(weight)) for weight in weights]

    split = split_by_weight(Decimal(amount), shares, fraction_digits=digits)

    assert [str(part) for part in split] == parts


@given(AMOUNTS, WEIGHTS)
def test_the_parts_add_up_to_the_last_digit(amount: Decimal, weights: list[Decimal]) -> None:
    parts = split_by_weight(amount, weights)

    assert add_exactly(parts) == amount
    assert all(part == 0 or (part > 0) == (amount > 0) for part in parts)
    assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if weight == 0)
    assert all(part.as_tuple().exponent == -18 for part in parts)


@given(AMOUNTS, WEIGHTS)
def test_each_part_is_within_a_unit_of_its_exact_share(
    amount: Decimal, weights: list[Decimal]
) -> None:
    parts = split_by_weight(amount, weights)

    total = whole(add_exactly(weights), places=6)
    for part, weight in zip(parts, weights, strict=True):
        exact_times_total = whole(amount, places=18) * whole(weight, places=6)
        assert abs(whole(part, places=18) * total - exact_times_total) < total


@given(AMOUNTS.filter(lambda amount: amount > 0), WEIGHTS)
def test_a_heavier_weight_never_gets_less(amount: Decimal, weights: list[Decimal]) -> None:
    parts = split_by_weight(amount, weights)

    by_weight = sorted(zip(weights, parts, strict=True))
    for (lighter, less), (heavier, more) in itertools.pairwise(by_weight):
        assert less <= more or lighter == heavier


def test_weights_longer_than_any_precision_still_conserve() -> None:
    nearly_all, nearly_nothing = Decimal("9" * 100), Decimal(1)

    parts = split_by_weight(Decimal(10**20), [nearly_all, nearly_nothing])

    assert add_exactly(parts) == Decimal(10**20)
    assert parts[1] == 0


@pytest.mark.parametrize(
    "weights",
    [[], ["0"], ["0", "0"], ["-1", "2"], ["NaN"], ["1", "Infinity"]],
)
def test_weights_are_zero_or_more_and_one_is_above(weights: list[str]) -> None:
    with pytest.raises(InvalidWeights) as caught:
        split_by_weight(Decimal(1), [Decimal(weight) for weight in weights])

    assert caught.value.reason == "INVALID_WEIGHTS"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {}


@pytest.mark.parametrize(("amount", "digits"), [("0.001", 2), ("0.5", 0), ("NaN", 2)])
def test_an_amount_finer_than_the_units_is_refused(amount: str, digits: int) -> None:
    with pytest.raises(InvalidDecimal) as caught:
        split_by_weight(Decimal(amount), [Decimal(1)], fraction_digits=digits)

    assert caught.value.metadata == {"value": amount}
