"""Finding fields by either spelling, and knowing the messages with a JSON form of their own.

Source of the JSON forms: the ProtoJSON specification of protobuf.dev.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from protobuf import (
    DescEnum,
    DescField,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescFieldValueScalar,
    DescMessage,
    DescOneof,
    ScalarType,
)

HTTP_BODY: Final = "google.api.HttpBody"
TIMESTAMP: Final = "google.protobuf.Timestamp"
DURATION: Final = "google.protobuf.Duration"
FIELD_MASK: Final = "google.protobuf.FieldMask"
STRUCT: Final = "google.protobuf.Struct"
VALUE: Final = "google.protobuf.Value"
LIST_VALUE: Final = "google.protobuf.ListValue"
ANY: Final = "google.protobuf.Any"
WRAPPERS: Final = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
)
# Messages whose JSON is not an object with one member a field.
SPECIAL: Final = WRAPPERS | {TIMESTAMP, DURATION, FIELD_MASK, STRUCT, VALUE, LIST_VALUE, ANY}
# Those of them that one query parameter can hold.
TEXTUAL: Final = SPECIAL - {ANY}

Element = ScalarType | DescEnum | DescMessage


@cache
def fields_by_name(message: DescMessage) -> dict[str, DescField]:
    """Returns the message's fields under their proto names and their JSON names."""
    found = {field.json_name: field for field in message.fields}
    return found | {field.name: field for field in message.fields}


def resolve(message: DescMessage, path: str) -> tuple[DescField, ...] | None:
    """Returns the fields along a dotted path in either spelling; None where one is missing."""
    found: list[DescField] = []
    inside: DescMessage | None = message
    for name in path.split("."):
        field = fields_by_name(inside).get(name) if inside is not None else None
        if field is None:
            return None
        found.append(field)
        inside = nested_of(field)
    return tuple(found)


def spelled(path: tuple[DescField, ...]) -> str:
    """Returns the dotted path in proto names."""
    return ".".join(field.name for field in path)


def is_special(message: DescMessage) -> bool:
    """Tells whether the message has a JSON form of its own."""
    return message.type_name in SPECIAL


def nested_of(field: DescField) -> DescMessage | None:
    """Returns the message of a singular field whose own fields can be named; else None."""
    value = field.value
    if isinstance(value, DescFieldValueMessage) and not is_special(value.message):
        return value.message
    return None


def is_repeated(field: DescField) -> bool:
    """Tells whether the field is a list; maps are not lists."""
    return isinstance(field.value, DescFieldValueList)


def element_of(field: DescField) -> Element:
    """Returns the type of the field, or of one element where it is a list or map."""
    match field.value:
        case DescFieldValueScalar(scalar=scalar):
            return scalar
        case DescFieldValueEnum(enum=enum):
            return enum
        case DescFieldValueMessage(message=message):
            return message
        case DescFieldValueList(element=element):
            return element
        case DescFieldValueMap(value=value):
            return value


def oneof_of(field: DescField) -> DescOneof | None:
    """Returns the oneof the field belongs to; None where it stands alone."""
    return getattr(field.value, "oneof", None)


def camel_case(name: str) -> str:
    """Returns a snake-case name as JSON spells it: `display_name` -> `displayName`."""
    head, *tail = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in tail)


def has_oneofs(message: DescMessage) -> bool:
    """Tells whether the message, or one it can hold, has a oneof; special messages do not count."""
    seen: set[DescMessage] = set()
    waiting = [message]
    while waiting:
        current = waiting.pop()
        if current in seen or is_special(current):
            continue
        seen.add(current)
        if current.oneofs:
            return True
        elements = (element_of(field) for field in current.fields)
        waiting.extend(element for element in elements if isinstance(element, DescMessage))
    return False
