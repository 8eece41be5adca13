"""Filters as SQL conditions. Callers' text reaches the database in bound parameters only."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Numeric,
    String,
    and_,
    collate,
    false,
    literal,
    or_,
    true,
)

from services.kernel.filter.errors import OperatorNotSupported, UnknownFilterField
from services.kernel.filter.syntax import (
    And,
    Comparator,
    Expression,
    Not,
    Or,
    Restriction,
    parse_filter,
)
from services.kernel.filter.value import FieldType, FilterValue, Pattern, read_value

_ESCAPE = "\\"

Condition: TypeAlias = ColumnElement[bool]
Meaning: TypeAlias = Callable[[Comparator, FilterValue], Condition | None]

_COMPARE: Mapping[Comparator, Callable[[Any, Any], Condition]] = {
    Comparator.LESS: operator.lt,
    Comparator.LESS_OR_EQUAL: operator.le,
    Comparator.GREATER: operator.gt,
    Comparator.GREATER_OR_EQUAL: operator.ge,
}


@dataclass(frozen=True, slots=True)
class FilterField:
    """One field that a list can be filtered by.

    column: what is compared; for LABELS a JSON object of texts. None where `meaning` answers alone.
    meaning: a field's own sense of a comparison, asked first; None from it is the usual one. It
      never sees `!=`: that is the negation of its `=`.
    choices: of a CHOICE, each name and the value that the column stores for it.
    """

    type: FieldType
    column: ColumnElement[Any] | None = None
    meaning: Meaning | None = None
    choices: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def compile_filter(
    text: str, fields: Mapping[str, FilterField], *, tz: ZoneInfo | None = None
) -> Condition:
    """Returns the condition of a filter for a WHERE clause; an empty filter is true.

    tz: the zone in which dates begin, UTC by default. Where a column is null the condition may be
    null instead of false, which WHERE treats alike and which keeps indexes usable.
    Raises InvalidFilter and its kinds, each with the position and, where it helps, what is allowed.
    """
    return compile_expression(parse_filter(text), fields, tz=tz)


def compile_expression(
    expression: Expression, fields: Mapping[str, FilterField], *, tz: ZoneInfo | None = None
) -> Condition:
    """Returns the condition of a parsed filter; see `compile_filter`."""
    return _Compiler(fields, tz).condition(expression, negated=False)


class _Compiler:
    """Pushes negations down to the comparisons, so that only these must mind nulls."""

    def __init__(self, fields: Mapping[str, FilterField], tz: ZoneInfo | None) -> None:
        self._fields = fields
        self._tz = tz

    def condition(self, expression: Expression, *, negated: bool) -> Condition:
        match expression:
            case Not(term):
                return self.condition(term, negated=not negated)
            case And(terms):
                return self._join(terms, negated=negated, is_conjunction=not negated)
            case Or(terms):
                return self._join(terms, negated=negated, is_conjunction=negated)
            case Restriction():
                return self._restriction(expression, negated=negated)

    def _join(
        self, terms: tuple[Expression, ...], *, negated: bool, is_conjunction: bool
    ) -> Condition:
        conditions = [self.condition(term, negated=negated) for term in terms]
        return and_(true(), *conditions) if is_conjunction else or_(false(), *conditions)

    def _restriction(self, restriction: Restriction, *, negated: bool) -> Condition:
        name = restriction.path[0]
        spec = self._fields.get(name)
        if spec is None:
            allowed = ", ".join(sorted(self._fields))
            raise UnknownFilterField(
                f"there is no field {name!r} to filter by; there are {allowed}",
                position=restriction.position,
                field=name,
                allowed=allowed,
            )
        if restriction.key and spec.type is not FieldType.LABELS:
            raise UnknownFilterField(
                f"{name} has no keys inside; remove .{restriction.key}",
                position=restriction.position,
                field=".".join(restriction.path),
                allowed=name,
            )
        value = read_value(restriction, spec.type, choices=spec.choices.keys(), tz=self._tz)
        comparator = restriction.comparator
        if comparator is Comparator.NOT_EQUAL:
            comparator, negated = Comparator.EQUAL, not negated
        special = spec.meaning(comparator, value) if spec.meaning else None
        if special is not None:
            return special.is_not(true()) if negated else special
        if spec.column is None:
            raise OperatorNotSupported(
                f"{name} has no {restriction.comparator.value} with such a value",
                position=restriction.position,
                field=name,
                operator=restriction.comparator.value,
                allowed="",
            )
        column, field_type = spec.column, spec.type
        if field_type is FieldType.LABELS:
            column, comparator, value = _label(restriction, comparator, column, value)
            field_type = FieldType.STRING
        if field_type is FieldType.CHOICE and not isinstance(value, Pattern):
            value = spec.choices[str(value)]
        return _compare(column, comparator, value, field_type=field_type, negated=negated)


def _label(
    restriction: Restriction, comparator: Comparator, column: ColumnElement[Any], value: FilterValue
) -> tuple[ColumnElement[Any], Comparator, FilterValue]:
    """Returns the label's text as a column; `tags:env` asks whether the key env is set."""
    key = restriction.key
    if not key:
        if comparator is not Comparator.HAS or not isinstance(value, str):
            raise OperatorNotSupported(
                f"name a key of {restriction.path[0]}, as in {restriction.path[0]}.env = "
                f'"prod", or ask for one with {restriction.path[0]}:env',
                position=restriction.position,
                field=restriction.path[0],
                operator=restriction.comparator.value,
                allowed=":",
            )
        key, value = value, Pattern(("", ""))
    return column[key].as_string(), comparator, value


def _compare(
    column: ColumnElement[Any],
    comparator: Comparator,
    value: FilterValue,
    *,
    field_type: FieldType,
    negated: bool,
) -> Condition:
    is_text = field_type is FieldType.STRING
    if isinstance(value, Pattern):
        condition = _fits(column, value, is_text=is_text)
    elif is_text and comparator is Comparator.HAS:
        condition = column.contains(str(value), autoescape=True)
    elif is_text and value == "" and comparator is Comparator.EQUAL:
        # A text that is not set reads as "" in an answer, so it has to be found as "".
        condition = or_(column.is_(None), column == literal("", String()))
    elif comparator is Comparator.EQUAL:
        bound = _bound(column, value)
        return column.is_distinct_from(bound) if negated else column == bound
    else:
        condition = _ordered(column, comparator, value, is_text=is_text)
    return condition.is_not(true()) if negated else condition


def _fits(column: ColumnElement[Any], pattern: Pattern, *, is_text: bool) -> Condition:
    if pattern.is_anything:
        is_set = column.is_not(None)
        return and_(is_set, column != literal("", String())) if is_text else is_set
    escaped = (
        piece.replace(_ESCAPE, _ESCAPE * 2).replace("%", r"\%").replace("_", r"\_")
        for piece in pattern.pieces
    )
    return column.like("%".join(escaped), escape=_ESCAPE)


def _ordered(
    column: ColumnElement[Any], comparator: Comparator, value: FilterValue, *, is_text: bool
) -> Condition:
    # Code point order: the database's own collation would make the answer depend on its set-up.
    left = collate(column, "C") if is_text else column
    return _COMPARE[comparator](left, _bound(column, value))


def _bound(column: ColumnElement[Any], value: Any) -> ColumnElement[Any]:
    if isinstance(value, Decimal):
        # The column's own scale would round the caller's number before it is compared.
        return literal(value, Numeric())
    if isinstance(column.type, DateTime):
        return literal(value, DateTime(timezone=True))
    return literal(value, column.type)
