"""The kinds of check, over many rows at once.

A check says of each row whether it holds and whether it was judged at all: what compares a value
with texts or numbers does not judge a row without a value, which is for rules about nulls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.kernel.money import EXACT
from services.reporting.domain.focus_rules.model import Check, UnknownRuleModel

Mask = NDArray[np.bool_]

_NUMERIC: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?(E-?[0-9]+)?", re.ASCII)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_WORD: Final = r"[A-Za-z0-9]+"
# "Units", "100 Units", "Units-Time", "Units/Time", "Units/3 Times".
_UNIT: Final = re.compile(
    rf"(\d+ )?{_WORD}([ -]{_WORD})*(/(\d+ )?{_WORD}([ -]{_WORD})*)?", re.ASCII
)
_VIRTUAL_LENGTH_MIN: Final = 4  # shorter codes are those of national currencies


class Judged(NamedTuple):
    """One entry a row."""

    holds: Mask
    is_judged: Mask


class Rows:
    """Some rows of a file as columns. Values are texts, or typed ones of a typed file, or None."""

    def __init__(self, columns: Mapping[str, Sequence[object]], currencies: frozenset[str]) -> None:
        """currencies: ISO 4217 codes."""
        self.columns = columns
        self.currencies = currencies
        self.count = len(next(iter(columns.values()), ()))
        self._arrays: dict[str, NDArray[np.object_]] = {}
        self._nulls: dict[str, Mask] = {}
        self._numbers: dict[str, list[Decimal | None]] = {}

    def values(self, column: str) -> NDArray[np.object_]:
        """Returns a column's values."""
        found = self._arrays.get(column)
        if found is None:
            found = np.empty(self.count, dtype=object)
            found[:] = self.columns[column]
            self._arrays[column] = found
        return found

    def nulls(self, column: str) -> Mask:
        """Returns which rows have no value in the column."""
        found = self._nulls.get(column)
        if found is None:
            found = self._nulls[column] = self._mask(value is None for value in self.values(column))
        return found

    def numbers(self, column: str) -> list[Decimal | None]:
        """Returns a column's values as numbers, None for what is none."""
        found = self._numbers.get(column)
        if found is None:
            found = self._numbers[column] = [_number(value) for value in self.values(column)]
        return found

    def each(self, column: str, test: Callable[[Any], bool]) -> Judged:
        """Tests each value that is there; equal values once."""
        known: dict[object, bool] = {}

        def tested(value: object) -> bool:
            if value is None:
                return False
            found = known.get(value)
            if found is None:
                found = known[value] = test(value)
            return found

        is_there = ~self.nulls(column)
        return Judged(self._mask(tested(value) for value in self.values(column)), is_there)

    def _mask(self, values: Any) -> Mask:
        return np.fromiter(values, dtype=bool, count=self.count)


def judge(check: Check, rows: Rows) -> Judged:
    """Judges each row. Raises UnknownRuleModel for a kind that is not known."""
    if check.function in ("AND", "OR"):
        parts = [judge(item, rows) for item in check.items]
        combine = np.logical_and if check.function == "AND" else np.logical_or
        holds: Mask = combine.reduce([part.holds for part in parts])
        is_judged: Mask = combine.reduce([part.is_judged for part in parts])
        return Judged(holds, is_judged)
    kind = _KINDS.get(check.function)
    if kind is None:
        raise UnknownRuleModel(f"there is no check of the kind {check.function}")
    return kind(check, rows)


def met(check: Check, rows: Rows) -> Mask:
    """Returns the rows for which a condition holds."""
    return judge(check, rows).holds


def _everywhere(rows: Rows) -> Mask:
    return np.ones(rows.count, dtype=bool)


def _value(check: Check, rows: Rows) -> Judged:
    (column,) = check.columns
    nulls = rows.nulls(column)
    if check.value is None:
        return Judged(nulls, _everywhere(rows))
    return Judged(_equal(check.value, column, rows), ~nulls)


def _not_value(check: Check, rows: Rows) -> Judged:
    (column,) = check.columns
    if check.value is None:
        return Judged(~rows.nulls(column), _everywhere(rows))
    # No value at all is another value too: "not a correction" holds where nothing is said.
    return Judged(~_equal(check.value, column, rows), _everywhere(rows))


def _equal(value: object, column: str, rows: Rows) -> Mask:
    if isinstance(value, int | float):
        wanted = Decimal(str(value))
        return np.fromiter(
            (number == wanted for number in rows.numbers(column)), dtype=bool, count=rows.count
        )
    return np.asarray(rows.values(column) == value, dtype=bool)


def _same(check: Check, rows: Rows) -> Judged:
    first, second = (rows.values(column) for column in check.columns)
    return Judged(np.asarray(first == second, dtype=bool), _everywhere(rows))


def _not_same(check: Check, rows: Rows) -> Judged:
    return Judged(~_same(check, rows).holds, _everywhere(rows))


def _at_least(check: Check, rows: Rows) -> Judged:
    column = check.columns[0]
    bound = Decimal(str(check.value))
    found = (number is not None and number >= bound for number in rows.numbers(column))
    return Judged(np.fromiter(found, dtype=bool, count=rows.count), ~rows.nulls(column))


def _product(check: Check, rows: Rows) -> Judged:
    """Holds where the product, rounded to the digits of the result, is the result."""
    first, second, result = (rows.numbers(column) for column in check.columns)
    is_judged = np.ones(rows.count, dtype=bool)
    for column in check.columns:
        is_judged &= ~rows.nulls(column)
    found = (
        a is not None and b is not None and c is not None and _matches(a, b, c)
        for a, b, c in zip(first, second, result, strict=True)
    )
    return Judged(np.fromiter(found, dtype=bool, count=rows.count), is_judged)


def _matches(first: Decimal, second: Decimal, result: Decimal) -> bool:
    exponent = result.as_tuple().exponent
    unit = Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0)
    difference = EXACT.subtract(EXACT.multiply(first, second), result)
    return abs(difference) * 2 <= unit


def _currency(check: Check, rows: Rows) -> Judged:
    def is_code(value: object) -> bool:
        text = str(value)
        is_virtual = len(text) >= _VIRTUAL_LENGTH_MIN and text == text.strip()
        return text in rows.currencies or is_virtual

    return rows.each(check.columns[0], is_code)


def _national_currency(check: Check, rows: Rows) -> Judged:
    return rows.each(check.columns[0], lambda value: value in rows.currencies)


def _testing(test: Callable[[Any], bool]) -> Callable[[Check, Rows], Judged]:
    return lambda check, rows: rows.each(check.columns[0], test)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_sound_text(value: object) -> bool:
    """Tells whether a text is valid Unicode: no halves of characters, nothing put for damage."""
    text = str(value)
    return "\ufffd" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _is_numeric(value: object) -> bool:
    if isinstance(value, str):
        return _NUMERIC.fullmatch(value) is not None
    return _number(value) is not None


def _is_instant(value: object) -> bool:
    if isinstance(value, datetime):
        return True
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        return False
    return True


def _is_formatted_instant(value: object) -> bool:
    if isinstance(value, datetime):
        return value.utcoffset() == timedelta(0)
    return _INSTANT.fullmatch(str(value)) is not None and _is_instant(value)


def _is_unit(value: object) -> bool:
    return _UNIT.fullmatch(str(value)) is not None


def _is_key_value(value: object) -> bool:
    """Tells whether a text is a JSON object of single values, each key once."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key comes twice")
        return dict(pairs)

    try:
        found = json.loads(str(value), object_pairs_hook=unique)
    except ValueError:
        return False
    return isinstance(found, dict) and not any(
        isinstance(each, dict | list) for each in found.values()
    )


_KINDS: Final[Mapping[str, Callable[[Check, Rows], Judged]]] = {
    "CheckValue": _value,
    "CheckNotValue": _not_value,
    "CheckSameValue": _same,
    "CheckNotSameValue": _not_same,
    "CheckGreaterOrEqualThanValue": _at_least,
    "ColumnByColumnEqualsColumnValue": _product,
    "CheckDecimalValue": _testing(lambda value: _number(value) is not None),
    "TypeDecimal": _testing(lambda value: _number(value) is not None),
    "TypeString": _testing(_is_text),
    "TypeDateTime": _testing(_is_instant),
    "FormatNumeric": _testing(_is_numeric),
    "FormatString": _testing(_is_sound_text),
    "FormatDateTime": _testing(_is_formatted_instant),
    "FormatUnit": _testing(_is_unit),
    "FormatKeyValue": _testing(_is_key_value),
    "FormatCurrency": _currency,
    "CheckNationalCurrency": _national_currency,
}
