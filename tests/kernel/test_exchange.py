"""Rates are those of the European Central Bank, with their date, or an error: never a guess."""

from __future__ import annotations

import json
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from services.kernel.exchange import ExchangeRates, MissingRate, UnreadableRates
from tests.support.shared import shared_path

RATES = ExchangeRates()
CSV = """Date,USD,ISK,HRK,
2025-01-10,1.03,N/A,N/A,
2025-01-07,1.02,,N/A,
2025-01-03,1.01,140.5,7.5,
"""


@pytest.fixture
def small(tmp_path: Path) -> ExchangeRates:
    path = tmp_path / "rates.csv"
    path.write_text(CSV)
    return ExchangeRates(path)


def test_every_known_conversion_is_reproduced() -> None:
    path = shared_path("fx_ecb", "expected_conversions.json")
    expected = json.loads(path.read_text())

    for row in expected:
        day = date.fromisoformat(row["date"])
        if "error" in row:
            with pytest.raises(MissingRate):
                RATES.rate(row["from"], row["to"], day)
        else:
            rate = RATES.rate(row["from"], row["to"], day)
            assert rate.convert(Decimal(row["amount"])) == round(Decimal(row["result"]), 18)

    assert len(expected) == 30


@pytest.mark.parametrize(
    ("day", "published"),
    [
        (date(2024, 9, 13), date(2024, 9, 13)),
        (date(2024, 9, 14), date(2024, 9, 13)),
        (date(2024, 9, 15), date(2024, 9, 13)),
        (date(2024, 3, 29), date(2024, 3, 28)),
        (date(2024, 4, 1), date(2024, 3, 28)),
        (date(2024, 4, 2), date(2024, 4, 2)),
    ],
)
def test_a_day_without_a_rate_has_the_last_one_with_its_date(day: date, published: date) -> None:
    assert RATES.rate("USD", "EUR", day).rate_date == published
    assert RATES.rate("GBP", "JPY", day).rate_date == published


def test_an_estimate_takes_the_last_rate_however_old(small: ExchangeRates) -> None:
    found = small.last_known("ISK", "USD", date(2026, 3, 1))

    assert (found.rate_date, found.to_per_euro) == (date(2025, 1, 3), Decimal("1.03"))
    assert small.last_known("XYZ", "XYZ", date(2026, 3, 1)).rate == 1
    for currency, day in (("XYZ", date(2026, 3, 1)), ("ISK", date(2025, 1, 2))):
        with pytest.raises(MissingRate):
            small.last_known(currency, "EUR", day)


@pytest.mark.parametrize(
    ("currency", "day"),
    [
        ("USD", date(1999, 1, 3)),
        ("XYZ", date(2024, 1, 2)),
        ("HRK", date(2023, 1, 1)),
        ("RUB", date(2022, 3, 2)),
        ("ISK", date(2012, 1, 2)),
        ("BRL", date(2008, 1, 1)),
        ("USD", date(2199, 1, 1)),
    ],
)
def test_no_rate_is_an_error(currency: str, day: date) -> None:
    with pytest.raises(MissingRate) as there:
        RATES.rate(currency, "EUR", day)
    with pytest.raises(MissingRate):
        RATES.rate("EUR", currency, day)

    assert there.value.reason == "MISSING_RATE"
    assert there.value.metadata == {"currency_code": currency, "date": str(day)}


def test_a_currency_is_worth_itself_on_any_day() -> None:
    rate = RATES.rate("XYZ", "XYZ", date(1900, 1, 1))

    assert rate.rate == 1
    assert rate.rate_date == date(1900, 1, 1)
    assert rate.convert(Decimal("0.1")) == Decimal("0.1")


def test_the_parts_of_a_rate_are_as_published(small: ExchangeRates) -> None:
    rate = small.rate("ISK", "USD", date(2025, 1, 3))

    assert (rate.from_per_euro, rate.to_per_euro) == (Decimal("140.5"), Decimal("1.01"))
    assert round(rate.rate, 20) == Decimal("0.00718861209964412811")


def test_the_newest_rates_hold_for_a_week(small: ExchangeRates) -> None:
    assert small.rate("USD", "EUR", date(2025, 1, 17)).rate_date == date(2025, 1, 10)
    with pytest.raises(MissingRate) as refusal:
        small.rate("USD", "EUR", date(2025, 1, 18))

    assert "2025-01-10" in refusal.value.message


def test_a_currency_the_bank_no_longer_quotes_is_dead_the_next_day(small: ExchangeRates) -> None:
    assert small.rate("HRK", "EUR", date(2025, 1, 3)).from_per_euro == Decimal("7.5")
    with pytest.raises(MissingRate):
        small.rate("HRK", "EUR", date(2025, 1, 4))


def test_a_zipped_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rates.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("eurofxref-hist.csv", CSV)

    assert ExchangeRates(path).rate("EUR", "USD", date(2025, 1, 3)).rate == Decimal("1.01")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "Date,USD\nyesterday,1\n",
        "Date,USD\n2025-01-03,-1\n",
        "Date,USD\n2025-01-03,1.0000000001\n",
        "Date,USD\n2025-01-03,one\n",
        "Date,JPY\n2025-01-03,1\n",
        "Date,USD\n2025-01-03,1e30\n",
    ],
)
def test_a_file_that_is_not_the_banks_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(content)

    with pytest.raises(UnreadableRates) as refusal:
        ExchangeRates(path).load()

    assert refusal.value.reason == "UNREADABLE_RATES"
    assert refusal.value.metadata == {"file": "rates.csv"}
