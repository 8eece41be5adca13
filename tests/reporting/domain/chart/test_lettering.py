"""Texts are measured, cut and broken so that they fit; amounts are written as money is."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.reporting.domain.chart.amounts import share_text, with_sign
from services.reporting.domain.chart.lettering import (
    LINES_MAX,
    clean,
    lines_of,
    shortened,
    width_of,
)
from services.reporting.service.charts import money_style

MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"


def test_a_width_is_that_of_the_font() -> None:
    # Adobe's metrics of Helvetica: A 667, V 667, space 278, digits 556.
    assert width_of("AV 10", 10) == pytest.approx(6.67 + 6.67 + 2.78 + 2 * 5.56)
    assert width_of("東京", 10) == 20
    assert width_of("e\u0301", 10) == width_of("e", 10)


@given(some.text(max_size=60), some.floats(0, 400))
def test_a_shortened_text_fits(text: str, pixels: float) -> None:
    found = shortened(text, pixels, 12)

    assert width_of(found, 12) <= pixels
    assert found in (text, "") or found.endswith("\N{HORIZONTAL ELLIPSIS}")


@given(some.text(alphabet="ab c", max_size=200), some.floats(20, 200))
def test_lines_fit_and_are_few(text: str, pixels: float) -> None:
    lines = lines_of(clean(text), pixels, 12)

    assert len(lines) <= LINES_MAX
    assert all(width_of(line, 12) <= pixels for line in lines)


def test_a_clean_text_has_nothing_that_breaks_a_file() -> None:
    assert clean("a\x00b\tc\nd\x1b\ud800\uffff  e") == "ab c d e"
    assert clean("<&>\"'") == "<&>\"'"


@pytest.mark.parametrize(
    ("code", "amount", "text"),
    [
        ("USD", "1234.5", "$1,234.50"),
        ("USD", "-0.004", f"{MINUS}$0.0040"),
        ("USD", "0.00000000000000012", "$0.00000000000000012"),
        ("USD", "0", "$0.00"),
        ("EUR", "12", "\N{EURO SIGN}12.00"),
        ("JPY", "1234.5", "\N{YEN SIGN}1,234"),
        ("CHF", "12.3", f"12.30{NO_BREAK}CHF"),
        ("TOKENS", "5", f"5.00{NO_BREAK}TOKENS"),
        ("KWD", "1.5", f"1.500{NO_BREAK}KWD"),
    ],
)
def test_an_amount_is_written_as_its_currency_is(code: str, amount: str, text: str) -> None:
    assert money_style(code).text(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("amounts", "texts"),
    [
        (["12.5", "0.4"], ["$12.50", "$0.40"]),
        (["123.45", "0.4"], ["$123", "$0"]),
        (["45312.9", "12"], ["$45,313", "$12"]),
        (["12345678", "99999"], ["$12.3M", "$0.1M"]),
        (["12345678901"], ["$12.3B"]),
        (["0.00012", "0.00001"], ["$0.00012", "$0.00001"]),
    ],
)
def test_labels_of_one_picture_are_written_alike(amounts: list[str], texts: list[str]) -> None:
    decimals = [Decimal(amount) for amount in amounts]

    labels = money_style("USD").labels(decimals)

    assert [labels(amount) for amount in decimals] == texts


def test_changes_have_signs_and_shares_are_whole() -> None:
    assert with_sign("$5", Decimal(5)) == "+$5"
    assert with_sign(f"{MINUS}$5", Decimal(-5)) == f"{MINUS}$5"
    assert share_text(Decimal(1), Decimal(3)) == "33 %"
    assert share_text(Decimal(1), Decimal(1_000)) == "<1 %"
    assert share_text(Decimal(1), Decimal(0)) == ""
