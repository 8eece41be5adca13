"""Reads the values of a cell: exact numbers, instants, lengths, tags. Refuses with RowProblem."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Generic, NoReturn, TypeVar

from services.kernel.money import EXACT, FRACTION_DIGITS_MAX, INTEGER_DIGITS_MAX
from services.usage.domain.event import TAG_KEY_LENGTH_MAX, TAG_VALUE_LENGTH_MAX, TAGS_MAX
from services.usage.service.importers.rows import RowProblem

# Cells that hold no value. `NULL` comes from databases that export their nulls as text.
NO_VALUE = frozenset(("", "NULL", "null", "Null"))
# Remembered values a column: a month of hours is 745, and a few MB at most.
REMEMBERED_MAX = 8192
NUMBER_LENGTH_MAX = 128

Tags = tuple[tuple[str, str], ...]

_PLAIN = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,18})?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?) ?(Z|UTC|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_AMERICAN_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
_UNIT = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)
_ONE = Decimal(1)
_ZERO = Decimal(0)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)

_Value = TypeVar("_Value")
_Key = TypeVar("_Key")


class Remembered(Generic[_Key, _Value]):
    """Answers by key, computed once each; forgets all when it is full, so memory is bounded."""

    def __init__(self, compute: Callable[[_Key], _Value], limit: int = REMEMBERED_MAX) -> None:
        """Takes what computes an answer; what it raises is not remembered."""
        self._compute = compute
        self._limit = limit
        self._answers: dict[_Key, _Value] = {}

    def __call__(self, key: _Key) -> _Value:
        """Returns the answer for a key."""
        answer = self._answers.get(key)
        if answer is None:
            answer = self._compute(key)
            if len(self._answers) >= self._limit:
                self._answers.clear()
            self._answers[key] = answer
        return answer


def number(text: str, column: str) -> Decimal:
    """Reads a decimal exactly; scientific notation is allowed, an 19th digit is not."""
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    value = _unusual_number(text, column)
    rounded = rounded_to_scale(value)
    if rounded != value:
        raise RowProblem(column, f"has more than {FRACTION_DIGITS_MAX} digits after the point")
    return value if _is_plain(value) else rounded


def rounded_number(text: str, column: str) -> Decimal:
    """Reads a decimal and rounds what is beyond 18 digits after the point, half to even.

    For producers that print binary fractions, whose last digits are noise.
    """
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    value = _unusual_number(text, column)
    return value if _is_plain(value) else rounded_to_scale(value)


def rounded_to_scale(value: Decimal) -> Decimal:
    """Returns a finite value with at most 18 digits after the point, half to even."""
    if _is_plain(value):
        return value
    if value == value.to_integral_value():
        return value.quantize(_ONE, context=EXACT)
    return value.quantize(_UNIT, rounding=ROUND_HALF_EVEN, context=EXACT)


def _is_plain(value: Decimal) -> bool:
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and -FRACTION_DIGITS_MAX <= exponent <= 0


def _unusual_number(text: str, column: str) -> Decimal:
    text = text.strip()
    if len(text) > NUMBER_LENGTH_MAX or not _NUMBER.fullmatch(text):
        raise RowProblem(column, f"is not a number: {text[:40]!r}")
    value = Decimal(text)
    if not value:
        return _ZERO
    if value.adjusted() >= INTEGER_DIGITS_MAX:
        raise RowProblem(column, f"has more than {INTEGER_DIGITS_MAX} digits before the point")
    return value


def instant(text: str, column: str) -> datetime:
    """Reads an ISO 8601 date or time as an aware instant in UTC; without a zone it is UTC.

    Digits beyond the microsecond are cut off. Years 1970 to 2199.
    """
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        raise RowProblem(column, f"is not a date and time: {text[:40]!r}")
    day, time, offset = match.groups()
    if offset in (None, "Z", "UTC"):
        offset = "+00:00"
    try:
        value = datetime.fromisoformat(f"{day}T{time or '00:00'}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RowProblem(column, f"is not a date and time: {text[:40]!r}") from error
    return in_range(value, column)


def in_range(value: datetime, column: str) -> datetime:
    """Returns an aware instant unchanged. Refuses years before 1970 and from 2200 on."""
    if not _EARLIEST <= value < _LATEST:
        raise RowProblem(column, "is not between the years 1970 and 2199")
    return value


def american_day(text: str, column: str) -> datetime:
    """Reads `month/day/year`, or an ISO date, as the first instant of that day in UTC."""
    match = _AMERICAN_DATE.fullmatch(text.strip())
    if match is None:
        return instant(text, column)
    month, day, year = match.groups()
    try:
        first = date(int(year), int(month), int(day))
    except ValueError as error:
        raise RowProblem(column, f"is not a date: {text[:40]!r}") from error
    return in_range(datetime(first.year, first.month, first.day, tzinfo=UTC), column)


def shifted(origin: datetime, offset: timedelta, column: str) -> datetime:
    """Returns an instant of a trace whose clock starts at zero."""
    try:
        return in_range(origin + offset, column)
    except OverflowError as error:
        raise RowProblem(column, "is too far from the start of the trace") from error


def whole_number(text: str, column: str) -> int:
    """Reads a count of zero or more, written `12` or `12.0`."""
    if text.isascii() and text.isdigit() and len(text) <= INTEGER_DIGITS_MAX:
        return int(text)
    value = number(text, column)
    if value < 0 or value != value.to_integral_value():
        raise RowProblem(column, f"is not a whole number of zero or more: {text[:40]!r}")
    return int(value)


def bounded(text: str, column: str, limit: int) -> str:
    """Returns the text unchanged. Refuses what is longer than `limit`, and the NUL character."""
    if len(text) > limit:
        raise RowProblem(column, f"is longer than {limit} characters")
    if "\x00" in text:
        raise RowProblem(column, "holds a NUL character")
    return text


def json_tags(text: str, column: str) -> Tags:
    """Reads a JSON object of tags, sorted by key. Numbers and booleans become their JSON text."""
    if text in NO_VALUE:
        return ()
    try:
        pairs = json.loads(
            text,
            object_pairs_hook=_Pairs,
            parse_int=str,
            parse_float=str,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise RowProblem(column, f"is not a JSON object: {text[:40]!r}") from error
    if not isinstance(pairs, _Pairs):
        raise RowProblem(column, f"is not a JSON object: {text[:40]!r}")
    return checked_tags(((key, _tag_text(value, column)) for key, value in pairs), column)


def checked_tags(pairs: Iterable[tuple[str, str]], column: str) -> Tags:
    """Returns the tags sorted by key. Refuses too many, too long, unnamed or contradicting ones."""
    tags: dict[str, str] = {}
    for key, value in pairs:
        if not key:
            raise RowProblem(column, "has a tag without a name")
        bounded(key, column, TAG_KEY_LENGTH_MAX)
        bounded(value, column, TAG_VALUE_LENGTH_MAX)
        if tags.setdefault(key, value) != value:
            raise RowProblem(column, f"has two values for the tag {key[:40]!r}")
    if len(tags) > TAGS_MAX:
        raise RowProblem(column, f"has more than {TAGS_MAX} tags")
    return tuple(sorted(tags.items()))


class _Pairs(list[tuple[str, object]]):
    """A JSON object as its pairs, so that a key given twice is seen."""


def _tag_text(value: object, column: str) -> str:
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            raise RowProblem(column, "has a tag whose value is an object or a list")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
