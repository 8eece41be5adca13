"""Writes numbers as people of a language read them."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.numbers import (
    format_decimal,
    format_percent,
    get_currency_precision,
)

from services.kernel.errors import FieldViolations
from services.reporting.domain.report.document import Form, Number

MINUS: Final = "\N{MINUS SIGN}"
DIGITS_MAX: Final = 80  # Babel rounds in the current context
# Significant digits of a price of a unit, which may be far below a cent.
PRICE_DIGITS: Final = 5
PERCENT_DIGITS: Final = 3  # of the share itself
_PERCENT: Final = {Form.RATIO: "#,##0.0 %", Form.CHANGE: "+#,##0.0 %;-#,##0.0 %"}


def locale_of(name: str) -> Locale:
    """Returns a locale by its BCP 47 name. Raises FieldViolations."""
    try:
        return Locale.parse((name or "en").replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError) as error:
        text = f"{name[:35]!r} is not a known language such as en, de or de-CH"
        raise FieldViolations([("report.locale", text)]) from error


def currency_digits(code: str) -> int:
    """Returns the digits of a currency's minor unit, 2 where it is not known."""
    return int(get_currency_precision(code))


class Writing:
    """Writes numbers in one locale."""

    def __init__(self, locale: Locale) -> None:
        """Takes the locale."""
        self._locale = locale

    def text(self, number: Number) -> str:
        """Returns a number with its unit, rounded for reading."""
        with localcontext(prec=DIGITS_MAX, rounding=ROUND_HALF_EVEN):
            return self._text(number).replace("-", MINUS)

    def plain(self, number: Number) -> str:
        """Returns a number without its unit."""
        with localcontext(prec=DIGITS_MAX, rounding=ROUND_HALF_EVEN):
            return self._plain(number).replace("-", MINUS)

    def tone(self, number: Number) -> str:
        """Returns `up` or `down` for a change that is seen to be one, else ""."""
        if number.form not in (Form.CHANGE, Form.MONEY_CHANGE):
            return ""
        first = self.plain(number)[0]
        return {"+": "up", MINUS: "down"}.get(first, "")

    def _text(self, number: Number) -> str:
        plain = self._plain(number)
        return f"{plain}\N{NO-BREAK SPACE}{number.unit}" if number.unit else plain

    def _plain(self, number: Number) -> str:
        value = number.value
        match number.form:
            case Form.RATIO | Form.CHANGE:
                # What rounds to nothing has no direction.
                is_flat = not round(value, PERCENT_DIGITS)
                pattern = _PERCENT[Form.RATIO if is_flat else number.form]
                value = abs(value) if is_flat else value
                text: str = format_percent(value, format=pattern, locale=self._locale)
                return text.replace(" ", "\N{NARROW NO-BREAK SPACE}")
            case Form.COUNT:
                return self._decimal(value, "#,##0")
            case Form.QUANTITY:
                return self._decimal(value, "#,##0.###")
            case Form.UNIT_PRICE:
                return self._decimal(*_price(value))
            case Form.MONEY | Form.MONEY_CHANGE:
                digits = currency_digits(number.unit)
                pattern = "#,##0" + ("." + "0" * digits if digits else "")
                rounded = value.quantize(Decimal(1).scaleb(-digits))
                if number.form is Form.MONEY_CHANGE:
                    pattern = f"+{pattern};-{pattern}" if rounded else pattern
                return self._decimal(rounded or abs(rounded), pattern)

    def _decimal(self, value: Decimal, pattern: str) -> str:
        written: str = format_decimal(value, format=pattern, locale=self._locale)
        return written


def _price(value: Decimal) -> tuple[Decimal, str]:
    """Returns a price and its pattern: five significant digits, at least two behind the point."""
    behind = max(2, PRICE_DIGITS - 1 - value.adjusted()) if value else 2
    return value, "#,##0.00" + "#" * (behind - 2)
