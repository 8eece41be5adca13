"""Minor units here and at a provider; which tax a place has on a day."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from babel.numbers import get_currency_precision

from services.billing.domain import currency as currencies
from services.billing.domain.currency import currency
from services.billing.domain.tax import TaxRate, applied_taxes
from services.billing.errors import InvalidTaxRate, UnknownCurrency

DAY = date(2026, 3, 1)
# Unicode gives what is used in shops, ISO what is booked.
SHOPS_USE_NONE = """
    AFN ALL AMD COP CRC CZK HUF IDR IQD IRR KPW LAK LBP MGA MMK MNT MRU MUR NOK PKR RSD SEK SLE SOS
    STN SYP TMT TOP TTD TWD TZS UYU UZS VES YER ZMW DKK GYD
"""


def rate(**changed: object) -> TaxRate:
    values: dict[str, object] = {
        "tax_rate_id": "ch",
        "country_code": "CH",
        "display_name": "VAT",
        "rate_ratio": Decimal("0.081"),
        "start_date": date(2024, 1, 1),
    }
    return TaxRate(**values | changed)  # type: ignore[arg-type]


def applied(*rates: TaxRate, **changed: object) -> dict[str, str]:
    place: dict[str, object] = {
        "country_code": "CH",
        "subdivision_code": "",
        "day": DAY,
        "has_tax_id": False,
    }
    found = applied_taxes(rates, **place | changed)  # type: ignore[arg-type]
    return {code: tax.tax_rate_id for code, tax in found.items()}


def test_minor_units_are_those_of_the_world() -> None:
    codes = currencies._TWO | currencies._ZERO | currencies._THREE

    others = {code for code in codes if currency(code).exponent != get_currency_precision(code)}

    assert len(codes) > 150
    assert others <= set(SHOPS_USE_NONE.split())
    assert all(get_currency_precision(code) == 0 for code in others)


@pytest.mark.parametrize(
    ("code", "amount", "provider"),
    [("EUR", "12.34", 1234), ("JPY", "1234", 1234), ("ISK", "5", 500), ("KWD", "5.120", 5120)],
)
def test_amounts_go_to_a_provider_in_its_units_and_come_back(
    code: str, amount: str, provider: int
) -> None:
    found = currency(code)

    units = found.to_minor(Decimal(amount))

    assert found.to_provider(units) == provider
    assert found.to_amount(found.from_provider(provider)) == Decimal(amount)


def test_what_a_provider_cannot_collect_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="cannot be collected"):
        currency("KWD").to_provider(5124)
    with pytest.raises(ValueError, match="cannot be collected"):
        currency("MGA").to_provider(150)
    with pytest.raises(ValueError, match="whole"):
        currency("ISK").from_provider(550)
    with pytest.raises(ValueError, match="whole number"):
        currency("JPY").to_minor(Decimal("0.5"))
    with pytest.raises(ValueError, match="by a provider"):
        currency("UGX").to_provider(1)


def test_a_code_without_minor_units_is_unknown() -> None:
    with pytest.raises(UnknownCurrency) as caught:
        currency("CREDITS")
    assert caught.value.reason == "UNKNOWN_CURRENCY"


def test_a_subdivision_goes_before_its_country_and_each_code_has_its_own() -> None:
    country = rate()
    city = rate(tax_rate_id="city", subdivision_code="GE")
    books = rate(tax_rate_id="books", tax_code="books")
    later = rate(tax_rate_id="later", start_date=date(2027, 1, 1))
    over = rate(tax_rate_id="over", end_date=date(2025, 1, 1))

    assert applied(country, city, books, later, over) == {"": "ch", "books": "books"}
    assert applied(country, city, subdivision_code="GE") == {"": "city"}
    assert applied(country, country_code="DE") == {}


def test_a_receiver_with_a_tax_id_owes_the_tax_where_the_row_says_so() -> None:
    reverse = rate(reverse_charge=True, inclusive=True)

    found = applied_taxes(
        [reverse], country_code="CH", subdivision_code="", day=DAY, has_tax_id=True
    )[""]

    assert found.rate_ratio == 0
    assert (found.reverse_charge, found.inclusive) == (True, False)


@pytest.mark.parametrize(
    "changed", [{"rate_ratio": Decimal("1.1")}, {"end_date": date(2023, 1, 1)}]
)
def test_a_row_that_makes_no_sense_cannot_exist(changed: dict[str, object]) -> None:
    with pytest.raises(InvalidTaxRate):
        rate(**changed)
