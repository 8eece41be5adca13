"""Requests against the rules in their contracts (protovalidate)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from protovalidate import FieldPathPb, Validator, ViolationPb

from services.kernel.errors import FieldViolations

VIOLATIONS_MAX: Final = 50  # more tell a caller nothing, and a status has to fit its metadata
KEY_LENGTH_MAX: Final = 64  # characters of a map key that a path shows; the key is the caller's own

_validator: Final = Validator()


def violations_of(message: Message) -> list[tuple[str, str]]:
    """Returns (field path, what is wrong) pairs in field order, at most VIOLATIONS_MAX.

    A path is written `events[2].tags["team"]`, empty for the message itself. A valid message of
    twenty fields takes some 3 us.
    """
    found = _validator.collect_violations(message)
    return [_pair(violation.proto) for violation in found[:VIOLATIONS_MAX]] if found else []


def validate(message: Message, raw: bytes | None = None) -> None:
    """Raises FieldViolations unless the message keeps every rule of its contract.

    No text may hold U+0000, which PostgreSQL cannot store. raw: what the message was parsed from,
    where it is at hand: without a zero byte there it holds none, which saves looking at each field.
    """
    violations = violations_of(message)
    if not violations and (raw is None or b"\0" in raw):
        violations = list(islice(_nul_violations(message), VIOLATIONS_MAX))
    if violations:
        raise FieldViolations(violations)


def _nul_violations(message: Message, prefix: str = "") -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        path = prefix + field.name
        for text in _texts(field, value):
            if "\0" in text:
                yield path, "must not hold the character U+0000"
        for part in _messages(field, value):
            yield from _nul_violations(part, f"{path}.")


def _texts(field: FieldDescriptor, value: Any) -> Iterator[str]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        for pair in value.items():
            yield from (part for part in pair if isinstance(part, str))
    elif field.type == FieldDescriptor.TYPE_STRING:
        yield from (value if field.is_repeated else (value,))


def _messages(field: FieldDescriptor, value: Any) -> Iterator[Message]:
    if field.message_type is None:
        return
    if field.message_type.GetOptions().map_entry:
        yield from (part for part in value.values() if isinstance(part, Message))
    else:
        yield from (value if field.is_repeated else (value,))


def _pair(violation: ViolationPb) -> tuple[str, str]:
    path = _path(violation.field) if violation.field is not None else ""
    return path, violation.message or violation.rule_id


def _path(path: FieldPathPb) -> str:
    return ".".join(element.field_name + _subscript(element.subscript) for element in path.elements)


def _subscript(subscript: object) -> str:
    if subscript is None:
        return ""
    value = getattr(subscript, "value", "")
    if isinstance(value, bool):
        return f"[{str(value).lower()}]"
    return f'["{value[:KEY_LENGTH_MAX]}"]' if isinstance(value, str) else f"[{value}]"
