"""Who is below whom: managers' lines and departments' subtrees, as filters and groups see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.kernel.filter import And, Comparator, Expression, FieldType, Not, Or, Restriction
from services.kernel.filter.value import read_value
from services.usage.domain.dimension import FIELD_BY_DIMENSION, TAG_PREFIX, value_of
from services.usage.domain.event import Attributes

# Fields that only rewritten filters name; no filter's text can hold a space in a name.
_DEPARTMENTS_ABOVE = "departments above"
_USERS_ABOVE = "users above"


@dataclass(frozen=True, slots=True)
class Lines:
    """parents: parent by department. managers: manager by user. "" is the top."""

    parents: Mapping[str, str]
    managers: Mapping[str, str]

    def managers_of(self, user_id: str) -> tuple[str, ...]:
        """Returns the managers in whose lines a user is, themselves included; ("",) for none."""
        leading = set(self.managers.values())
        return tuple(each for each in _above(user_id, self.managers) if each in leading) or ("",)

    def record(self, attributes: Attributes) -> dict[str, object]:
        """Returns what a rewritten filter is evaluated over."""
        record: dict[str, object] = {
            name: value_of(attributes, name) for name in FIELD_BY_DIMENSION
        }
        record["currency_code"] = attributes.currency_code
        record["manager"] = attributes.user_id
        record["tags"] = {key: value for key, value in attributes.tags if value}
        record[_DEPARTMENTS_ABOVE] = frozenset(_above(attributes.department, self.parents))
        record[_USERS_ABOVE] = frozenset(_above(attributes.user_id, self.managers))
        return record


def _above(start: str, parents: Mapping[str, str]) -> Sequence[str]:
    """Returns a node and all above it."""
    path = [start] if start else []
    while path and (above := parents.get(path[-1], "")) and above not in path:
        path.append(above)
    return path


def rewritten(expression: Expression) -> Expression:
    """Returns the filter with every question for a whole line or subtree under its own field."""
    match expression:
        case Not(term):
            return Not(rewritten(term))
        case And(terms):
            return And(tuple(map(rewritten, terms)))
        case Or(terms):
            return Or(tuple(map(rewritten, terms)))
        case Restriction():
            return _rewritten(expression)


def _rewritten(restriction: Restriction) -> Restriction:
    name = restriction.path[0]
    is_whole = restriction.comparator is Comparator.HAS or (
        name == "manager" and restriction.comparator is Comparator.EQUAL
    )
    field = {"department": _DEPARTMENTS_ABOVE, "user": _USERS_ABOVE, "manager": _USERS_ABOVE}
    if not is_whole or name not in field:
        return restriction
    if not isinstance(read_value(restriction, FieldType.STRING), str):
        return restriction
    return replace(restriction, path=(field[name],), comparator=Comparator.HAS)


def filtered_dimensions(expression: Expression) -> list[str]:
    """Returns the dimensions that a filter, before it is rewritten, depends on."""
    match expression:
        case Not(term):
            return filtered_dimensions(term)
        case And(terms) | Or(terms):
            return [name for term in terms for name in filtered_dimensions(term)]
        case Restriction():
            name = expression.path[0]
            if name == "tags":
                return [f"{TAG_PREFIX}{expression.key or expression.argument.text}"]
            named = "user" if name == "manager" else name
            return [named] if named in FIELD_BY_DIMENSION else []
