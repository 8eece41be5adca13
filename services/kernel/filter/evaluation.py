"""Filters over values in Python, with the meaning that they have in SQL."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from services.kernel.filter.errors import OperatorNotSupported, UnknownFilterField
from services.kernel.filter.syntax import And, Comparator, Expression, Not, Or, Restriction
from services.kernel.filter.value import FieldType, FilterValue, Pattern, read_value

_COMPARE: Mapping[Comparator, Callable[[Any, Any], bool]] = {
    Comparator.LESS: operator.lt,
    Comparator.LESS_OR_EQUAL: operator.le,
    Comparator.GREATER: operator.gt,
    Comparator.GREATER_OR_EQUAL: operator.ge,
    Comparator.HAS: operator.contains,
}


def evaluate(
    expression: Expression, record: Mapping[str, object], *, tz: ZoneInfo | None = None
) -> bool:
    """Says whether a record fits a filter.

    record: by field name a str, Decimal, int, bool, aware datetime, mapping of texts (labels), set
    of texts (`:` asks for an element), or None where the field is not set. tz: the zone of dates.
    Raises UnknownFilterField, FilterValueInvalid or OperatorNotSupported. All terms are evaluated,
    so that a filter is refused for every record or for none.
    """
    match expression:
        case Not(term):
            return not evaluate(term, record, tz=tz)
        case And(terms):
            verdicts = [evaluate(term, record, tz=tz) for term in terms]
            return all(verdicts)
        case Or(terms):
            verdicts = [evaluate(term, record, tz=tz) for term in terms]
            return any(verdicts)
        case Restriction():
            return _holds(expression, record, tz)


def _holds(restriction: Restriction, record: Mapping[str, object], tz: ZoneInfo | None) -> bool:
    name = restriction.path[0]
    if name not in record:
        allowed = ", ".join(sorted(record))
        raise UnknownFilterField(
            f"there is no field {name!r} to filter by; there are {allowed}",
            position=restriction.position,
            field=name,
            allowed=allowed,
        )
    held = record[name]
    if isinstance(held, Mapping):
        return _label_holds(restriction, held)
    if restriction.key:
        raise UnknownFilterField(
            f"{name} has no keys inside; remove .{restriction.key}",
            position=restriction.position,
            field=".".join(restriction.path),
            allowed=name,
        )
    if isinstance(held, AbstractSet):
        return _contains(restriction, held)
    value = read_value(restriction, _type_of(held), tz=tz)
    return _compare(held, restriction.comparator, value)


def _label_holds(restriction: Restriction, labels: Mapping[str, object]) -> bool:
    value = read_value(restriction, FieldType.LABELS)
    if restriction.key:
        return _compare(labels.get(restriction.key), restriction.comparator, value)
    if restriction.comparator is not Comparator.HAS or not isinstance(value, str):
        raise _needs_has(restriction)
    return bool(labels.get(value))


def _contains(restriction: Restriction, elements: AbstractSet[object]) -> bool:
    if restriction.comparator is not Comparator.HAS:
        raise _needs_has(restriction)
    value = read_value(restriction, FieldType.STRING)
    return bool(elements) if isinstance(value, Pattern) else value in elements


def _needs_has(restriction: Restriction) -> OperatorNotSupported:
    name = restriction.path[0]
    return OperatorNotSupported(
        f"{name} holds several values; ask for one with {name}:value",
        position=restriction.position,
        field=name,
        operator=restriction.comparator.value,
        allowed=":",
    )


def _type_of(held: object) -> FieldType:
    # bool before int: True is an int as well.
    kinds = (
        (bool, FieldType.BOOLEAN),
        (int, FieldType.INTEGER),
        (Decimal, FieldType.NUMBER),
        (datetime, FieldType.TIMESTAMP),
    )
    return next((found for kind, found in kinds if isinstance(held, kind)), FieldType.STRING)


def _compare(held: object, comparator: Comparator, value: FilterValue) -> bool:
    if comparator is Comparator.NOT_EQUAL:
        return not _compare(held, Comparator.EQUAL, value)
    if isinstance(value, Pattern):
        is_set = held is not None and held != ""
        return is_set and (value.is_anything or value.matches(str(held)))
    if comparator is Comparator.EQUAL:
        return (held or "") == value if isinstance(value, str) else held == value
    # Text compares by code point, as SQL's "C" collation does over UTF-8.
    return held is not None and _COMPARE[comparator](held, value)
