"""The values that a filter compares with, read by the type of the field."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import TypeAlias
from zoneinfo import ZoneInfo

from services.kernel.filter.errors import FilterValueInvalid, OperatorNotSupported
from services.kernel.filter.syntax import Argument, Comparator, Restriction
from services.kernel.money import InvalidDecimal, parse_decimal
from services.kernel.period import day_start

_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FRACTION_BEYOND_MICROSECONDS = re.compile(r"(\.\d{6})\d+")


class FieldType(Enum):
    """What a field holds, which decides how values are read and which comparators it has."""

    STRING = "a text"
    NUMBER = "a number such as 12.5"
    INTEGER = "a whole number"
    BOOLEAN = "true or false"
    TIMESTAMP = "a time such as 2026-01-31T08:00:00Z or a date"
    CHOICE = "one of its names"
    LABELS = "a text under a key, as in tags.env"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text with wildcards: `pieces` in this order with anything between them."""

    pieces: tuple[str, ...]

    @property
    def is_anything(self) -> bool:
        """Whether it is `*` alone, which asks whether the field is set."""
        return not any(self.pieces)

    def matches(self, text: str) -> bool:
        """Says whether the whole text fits; a text that is empty fits no pattern."""
        if not text:
            return False
        expression = ".*".join(re.escape(piece) for piece in self.pieces)
        return re.fullmatch(expression, text, re.DOTALL) is not None


FilterValue: TypeAlias = str | Pattern | Decimal | int | bool | datetime

_EQUALITY = frozenset({Comparator.EQUAL, Comparator.NOT_EQUAL})
_ORDERED = frozenset(Comparator) - {Comparator.HAS}
_COMPARATORS = {
    FieldType.STRING: frozenset(Comparator),
    FieldType.NUMBER: _ORDERED,
    FieldType.INTEGER: _ORDERED,
    FieldType.BOOLEAN: _EQUALITY,
    FieldType.TIMESTAMP: _ORDERED,
    FieldType.CHOICE: _EQUALITY,
    FieldType.LABELS: frozenset(Comparator),
}


def read_value(
    restriction: Restriction,
    field_type: FieldType,
    *,
    choices: Collection[str] = (),
    tz: ZoneInfo | None = None,
) -> FilterValue:
    """Returns the restriction's value in the field's type.

    `:*` and `=*` give a Pattern for every type. tz: the zone of dates, UTC by default.
    Raises FilterValueInvalid, or OperatorNotSupported where the type lacks the comparator.
    """
    argument = restriction.argument
    comparator = restriction.comparator
    if argument.is_anything and comparator in {*_EQUALITY, Comparator.HAS}:
        return Pattern(argument.pieces)
    if comparator not in _COMPARATORS[field_type]:
        allowed = [each.value for each in Comparator if each in _COMPARATORS[field_type]]
        raise OperatorNotSupported(
            f"{restriction.path[0]} has no {comparator.value}; it has {' '.join(allowed)}",
            position=restriction.position,
            field=restriction.path[0],
            operator=comparator.value,
            allowed=" ".join(allowed),
        )
    if field_type in (FieldType.STRING, FieldType.LABELS):
        return _text(restriction)
    value = _typed(argument, field_type, choices=choices, tz=tz)
    if value is None:
        expected = " or ".join(choices) if field_type is FieldType.CHOICE else field_type.value
        raise FilterValueInvalid(
            f"{restriction.path[0]} is compared with {expected}, not with {argument.text[:60]!r}",
            position=argument.position,
            field=restriction.path[0],
            value=argument.text[:60],
            expected=expected,
        )
    return value


def _text(restriction: Restriction) -> FilterValue:
    argument = restriction.argument
    if not argument.is_pattern:
        return argument.text
    if restriction.comparator not in _EQUALITY:
        raise FilterValueInvalid(
            f"* stands for any characters only after = and !=; write {chr(92)}* for the character",
            position=argument.position,
            field=restriction.path[0],
            value=argument.text[:60],
            expected="a text without wildcard",
        )
    return Pattern(argument.pieces)


def _typed(
    argument: Argument, field_type: FieldType, *, choices: Collection[str], tz: ZoneInfo | None
) -> FilterValue | None:
    """Returns the value of a type that is not text, None where the text is not of that type."""
    text = argument.text
    if argument.is_pattern:
        return None
    match field_type:
        case FieldType.NUMBER:
            return _decimal(text)
        case FieldType.INTEGER:
            return _integer(text)
        case FieldType.BOOLEAN:
            return {"true": True, "false": False}.get(text)
        case FieldType.TIMESTAMP:
            return _instant(text, tz)
        case _:
            return text if text in choices else None


def _decimal(text: str) -> Decimal | None:
    try:
        return parse_decimal(text)
    except InvalidDecimal:
        return None


def _integer(text: str) -> int | None:
    if _INTEGER.fullmatch(text) is None:
        return None
    value = int(text)
    return value if -(2**63) <= value < 2**63 else None


def _instant(text: str, tz: ZoneInfo | None) -> datetime | None:
    """Returns the instant in UTC, cut to microseconds, None where the text is no time."""
    try:
        if _DATE.fullmatch(text):
            return day_start(date.fromisoformat(text), tz or ZoneInfo("UTC"))
        if _TIME.fullmatch(text):
            cut = _FRACTION_BEYOND_MICROSECONDS.sub(r"\1", text.upper())
            return datetime.fromisoformat(cut).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return None
