"""Numbers and instants are read exactly or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.money import EXACT
from services.usage.service.importers.rows import RowProblem
from services.usage.service.importers.values import (
    Remembered,
    american_day,
    instant,
    number,
    rounded_number,
    whole_number,
)

EXACT_DECIMALS = st.decimals(
    min_value=-(10**20) + 1, max_value=10**20 - 1, places=18, allow_nan=False, allow_infinity=False
)


@given(EXACT_DECIMALS)
def test_decimal_is_read_exactly_in_plain_and_scientific_notation(value: Decimal) -> None:
    plain = format(value, "f")

    for text in (plain, f"{value.normalize(EXACT):E}", f" {plain} ", f"{plain}00000"):
        assert number(text, "c") == value


@given(st.decimals(min_value=-1000, max_value=1000, places=24))
def test_rounding_is_half_to_even_at_18_digits(value: Decimal) -> None:
    rounded = rounded_number(format(value, "f"), "c")

    assert rounded == value.quantize(Decimal("1e-18"), context=EXACT)


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_a_problem(text: str) -> None:
    try:
        value = number(text, "c")
    except RowProblem:
        return

    assert value.is_finite()
    assert -18 <= int(value.as_tuple().exponent) <= 0
    assert abs(value) < 10**20


@given(st.text(max_size=40))
def test_any_text_is_an_instant_or_a_problem(text: str) -> None:
    try:
        value = instant(text, "c")
    except RowProblem:
        return

    assert value.tzinfo is UTC
    assert 1970 <= value.year < 2200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:04Z", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05.1234569", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02 03:04:05.123456789 UTC", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02T03:04:05.5+02:30", datetime(2026, 1, 2, 0, 34, 5, 500000, tzinfo=UTC)),
        ("2026-01-02T03:04:05+00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05-0100", datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)),
    ],
)
def test_instants_of_many_spellings_are_utc(text: str, expected: datetime) -> None:
    assert instant(text, "c") == expected


@pytest.mark.parametrize("text", ["13/1/2026", "2/30/2026", "1/1/26", "1/1/1969", "x"])
def test_day_that_does_not_exist_is_a_problem(text: str) -> None:
    with pytest.raises(RowProblem):
        american_day(text, "Date")


def test_american_days_are_read_with_and_without_leading_zeros() -> None:
    day = datetime(2023, 9, 2, tzinfo=UTC)

    assert american_day("9/2/2023", "c") == day
    assert american_day("09/02/2023", "c") == day
    assert american_day("2023-09-02", "c") == day


@pytest.mark.parametrize("text", ["-1", "1.5", "", "x", "1e30", "²"])
def test_count_that_is_none_is_a_problem(text: str) -> None:
    with pytest.raises(RowProblem):
        whole_number(text, "c")


def test_counts_may_have_a_zero_fraction() -> None:
    assert [whole_number(text, "c") for text in ("7", "7.0", "7e2", "0")] == [7, 7, 700, 0]


def test_remembered_answers_are_computed_once_and_bounded() -> None:
    asked: list[int] = []

    def double(key: int) -> int:
        asked.append(key)
        return 2 * key

    remembered = Remembered(double, limit=2)

    assert [remembered(key) for key in (1, 1, 2, 3, 1)] == [2, 2, 4, 6, 2]
    assert asked == [1, 2, 3, 1]
