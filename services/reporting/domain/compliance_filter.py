"""A filter over entries of all services, as one service is asked it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from services.kernel.filter import (
    And,
    Argument,
    Comparator,
    Expression,
    Not,
    Or,
    Restriction,
    evaluate,
    parse_filter,
)

SERVICE: Final = "service"
ALWAYS: Final = And()
NEVER: Final = Or(())


def read(text: str, now: datetime) -> Expression:
    """Reads a caller's filter over `service`, `actor`, `action`, `resource`, `create_time`.

    Raises InvalidFilter and its kinds.
    """
    expression = parse_filter(text)
    # Refuses what no field or type allows here, in this list's words.
    evaluate(
        expression,
        {SERVICE: "", "actor": "", "action": "", "resource": "", "create_time": now},
    )
    return expression


def for_service(expression: Expression, service: str) -> str | None:
    """Returns the filter that one service understands; None where none of its entries can fit."""
    reduced = _reduced(expression, service)
    return None if reduced == NEVER else _text(reduced)


def _reduced(expression: Expression, service: str) -> Expression:
    match expression:
        case Restriction(path=(name, *_)) if name == SERVICE:
            return ALWAYS if evaluate(expression, {SERVICE: service}) else NEVER
        case Not(term):
            inner = _reduced(term, service)
            if inner == ALWAYS:
                return NEVER
            return ALWAYS if inner == NEVER else Not(inner)
        case And(terms):
            kept = [each for each in _all(terms, service) if each != ALWAYS]
            return NEVER if NEVER in kept else And(tuple(kept))
        case Or(terms):
            kept = [each for each in _all(terms, service) if each != NEVER]
            return ALWAYS if ALWAYS in kept else Or(tuple(kept))
    return expression


def _all(terms: tuple[Expression, ...], service: str) -> list[Expression]:
    return [_reduced(term, service) for term in terms]


def _text(expression: Expression) -> str:
    match expression:
        case Restriction():
            comparator = expression.comparator
            gap = "" if comparator is Comparator.HAS else " "
            path, value = ".".join(expression.path), _argument(expression.argument)
            return f"{path}{gap}{comparator.value}{gap}{value}"
        case Not(term):
            return f"NOT ({_text(term)})"
        case And(terms):
            return " AND ".join(_inner(term) for term in terms)
        case Or(terms):
            return " OR ".join(_inner(term) for term in terms)


def _inner(term: Expression) -> str:
    return _text(term) if isinstance(term, Restriction | Not) else f"({_text(term)})"


def _argument(argument: Argument) -> str:
    pieces = [
        piece.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*")
        for piece in argument.pieces
    ]
    return '"' + "*".join(pieces) + '"'
