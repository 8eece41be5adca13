"""Messages as JSON Schema: one shape for what callers send, one for what services answer.

The two differ because ProtoJSON reads more than it writes: numbers as text, enums by number, null
for an absent field. Names are the JSON names; the proto names are read as well.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import Enum
from functools import cache, cached_property
from typing import Any, Final

import protovalidate
from protobuf import (
    DescEnum,
    DescField,
    DescFieldValueList,
    DescFieldValueMap,
    DescMessage,
    Registry,
    ScalarType,
)

from gateway.descriptors import FIELD_BEHAVIOR, FIELD_RULES, Catalog, option
from gateway.fields import (
    ANY,
    DURATION,
    FIELD_MASK,
    LIST_VALUE,
    STRUCT,
    TIMESTAMP,
    VALUE,
    WRAPPERS,
    Element,
    element_of,
)
from gateway.query import URL_MASK_PATTERN
from gateway.rules import (
    INTEGER_BOUNDS,
    WIDE_INTEGERS,
    Schema,
    integer_schema,
    is_ignored,
    key_keywords,
    list_keywords,
    map_keywords,
    number_schema,
    string_schema,
    timestamp_schema,
    typed_rules,
)

REQUIRED: Final = 2  # google.api.FieldBehavior.REQUIRED
OUTPUT_ONLY: Final = 3
IMPLICIT: Final = 2  # FeatureSet.FieldPresence.IMPLICIT
DURATION_PATTERN: Final = r"^-?[0-9]{1,11}(\.[0-9]{1,9})?s$"
BASE64_PATTERN: Final = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
MASK_PATTERN: Final = r"^([a-z][a-zA-Z0-9]*(\.[a-z][a-zA-Z0-9]*)*(,[a-z][a-zA-Z0-9]*)*)?$"
_EXAMPLE = re.compile(r"for example `([^`]+)`")
_INT32_LOW, _INT32_HIGH = INTEGER_BOUNDS[ScalarType.INT32]


class Side(Enum):
    """Which way a value travels."""

    REQUEST = "request"
    RESPONSE = "response"
    URL = "url"
    # A part of a request that its method validates by itself, element by element.
    UNCHECKED = "unchecked"

    @property
    def is_sent(self) -> bool:
        """Whether callers send it as JSON."""
        return self in (Side.REQUEST, Side.UNCHECKED)


_SUFFIXES: Final = {
    Side.REQUEST: "Input",
    Side.UNCHECKED: "Unchecked",
    Side.RESPONSE: "",
    Side.URL: "",
}


class Schemas:
    """Collects the schemas that operations refer to."""

    def __init__(self, catalog: Catalog) -> None:
        """Takes the catalog whose comments become descriptions."""
        self._registry: Registry = catalog.registry
        self._comments = catalog.comments
        self._found: dict[str, Schema] = {}

    @property
    def components(self) -> dict[str, Schema]:
        """The schemas referred to so far, by name."""
        return dict(sorted(self._found.items()))

    def message(self, message: DescMessage, side: Side) -> Schema:
        """Returns the schema of a message: a reference, or what its own JSON form is."""
        special = self._special(message, None, side)
        if special is not None:
            return special
        name = self._names[message.type_name] + _SUFFIXES[side]
        if name not in self._found:
            self._found[name] = {}  # a message that holds itself refers to this entry
            self._found[name] = self._object(message, side)
        return {"$ref": f"#/components/schemas/{name}"}

    def field(self, field: DescField, side: Side) -> Schema:
        """Returns the schema of a field with its comment, rules and example."""
        schema = self.shape(field, side)
        is_required = side is Side.REQUEST and field in self.required(field.parent)
        if side.is_sent and not is_required:
            schema = nullable(schema)
        return self._described(schema, field)

    def required(self, message: DescMessage) -> list[DescField]:
        """Returns the fields that a request must bring: declared so, or refused when empty."""
        refused = _refused_when_empty(message)
        return [
            field
            for field in message.fields
            if field.name in refused or REQUIRED in self._behavior(field)
        ]

    def comment(self, name: str) -> str:
        """Returns the comment of an element by its full name."""
        return self._comments.get(name, "")

    def is_written_by_service(self, field: DescField) -> bool:
        """Tells whether callers cannot set the field."""
        return OUTPUT_ONLY in self._behavior(field)

    @cached_property
    def _names(self) -> dict[str, str]:
        """Shortest name of each message and enum that no other one bears."""
        types = [t for t in self._registry if isinstance(t, DescMessage | DescEnum)]
        short = {t.type_name: _local_name(t) for t in types}
        counts = Counter(short.values())
        return {full: name if counts[name] == 1 else full for full, name in short.items()}

    def _behavior(self, field: DescField) -> list[int]:
        return [int(value) for value in option(self._registry, field, FIELD_BEHAVIOR) or ()]

    def _object(self, message: DescMessage, side: Side) -> Schema:
        schema: Schema = {"type": "object"}
        comment = self.comment(message.type_name)
        if comment:
            schema["description"] = comment
        schema["properties"] = {
            field.json_name: self.field(field, side) for field in message.fields
        }
        if side.is_sent:
            demanded = self.required(message) if side is Side.REQUEST else []
            required = [field.json_name for field in demanded]
            schema["additionalProperties"] = False
            choices = [
                {"oneOf": [{"required": [member.json_name]} for member in oneof.fields]}
                for oneof in message.oneofs
                if side is Side.REQUEST and oneof.name in _refused_when_empty(message)
            ]
            if choices:
                schema["allOf"] = choices
        else:
            required = [f.json_name for f in message.fields if f.presence == IMPLICIT]
        if required:
            schema["required"] = required
        return schema

    def shape(self, field: DescField, side: Side) -> Schema:
        """Returns the schema of a field that is there, without its comment."""
        rules = option(self._registry, field, FIELD_RULES)
        checked = rules if side in (Side.REQUEST, Side.URL) else None
        inside = element_of(field)
        if isinstance(field.value, DescFieldValueList):
            many = typed_rules(checked, "repeated")
            inner = None if many is None else many.items
            is_unchecked = side is Side.REQUEST and inner is not None and is_ignored(inner)
            items = self._element(inside, inner, Side.UNCHECKED if is_unchecked else side)
            return {"type": "array", "items": items, **(list_keywords(many) if many else {})}
        if isinstance(field.value, DescFieldValueMap):
            pairs = typed_rules(checked, "map")
            values = self._element(inside, None if pairs is None else pairs.values, side)
            return {
                "type": "object",
                "additionalProperties": values,
                **(map_keywords(pairs) if pairs else {}),
                **key_keywords(field.value.key),
            }
        return self._element(inside, checked, side)

    def _element(self, element: Element, rules: Any, side: Side) -> Schema:
        if isinstance(element, DescEnum):
            return self._enum(element, typed_rules(rules, "enum"), side)
        if isinstance(element, DescMessage):
            return self._special(element, rules, side) or self.message(element, side)
        return _scalar(element, rules, side)

    def _enum(self, enum: DescEnum, rules: Any, side: Side) -> Schema:
        values = list(enum.values)
        if rules is not None and getattr(rules, "in_", None):
            values = [value for value in values if value.number in rules.in_]
        if rules is not None and getattr(rules, "not_in", None):
            values = [value for value in values if value.number not in rules.not_in]
        names: list[Any] = [value.name for value in values]
        lines = [f"* `{v.name}`: {self.comment(f'{enum.type_name}.{v.name}')}" for v in values]
        schema: Schema = {"type": "string", "enum": names, "description": "\n".join(lines)}
        if side is Side.RESPONSE:
            return schema
        if rules is not None and (rules.defined_only or getattr(rules, "in_", None)):
            names.extend(dict.fromkeys(value.number for value in values))
            return {**schema, "type": ["string", "integer"]}
        number = {"type": "integer", "minimum": _INT32_LOW, "maximum": _INT32_HIGH}
        name = {"type": "string", "enum": names}
        return {"description": schema["description"], "anyOf": [name, number]}

    def _special(self, message: DescMessage, rules: Any, side: Side) -> Schema | None:
        """Returns the schema of a message with a JSON form of its own; None for the others."""
        name = message.type_name
        if name in WRAPPERS:
            inside = _scalar(element_of(message.fields[0]), rules, side)
            return inside if side is Side.URL else nullable(inside)
        if name == TIMESTAMP:
            if side is Side.RESPONSE:
                return {"type": "string", "format": "date-time"}
            return timestamp_schema(typed_rules(rules, "timestamp"))
        plain: dict[str, Schema] = {
            DURATION: {"type": "string", "pattern": DURATION_PATTERN},
            FIELD_MASK: {
                "type": "string",
                "pattern": URL_MASK_PATTERN if side is Side.URL else MASK_PATTERN,
            },
            STRUCT: {"type": "object", "additionalProperties": True},
            LIST_VALUE: {"type": "array", "items": {}},
            VALUE: {},
            ANY: {
                "type": "object",
                "properties": {"@type": {"type": "string"}},
                "required": ["@type"],
                "additionalProperties": True,
            },
        }
        return plain.get(name)

    def _described(self, schema: Schema, field: DescField) -> Schema:
        comment = self.comment(f"{field.parent.type_name}.{field.name}")
        if not comment:
            return schema
        parts = [comment, schema.get("description", "")]
        found = {**schema, "description": "\n\n".join(part for part in parts if part)}
        example = _EXAMPLE.search(comment)
        if example is not None and _takes_text(schema, example[1]):
            found["examples"] = [example[1]]
        return found


@cache
def _refused_when_empty(message: DescMessage) -> frozenset[str]:
    """Returns the fields and oneofs that the rules want where the message is empty."""
    found = protovalidate.collect_violations(message.type())
    paths = (violation.proto.field for violation in found)
    return frozenset(p.elements[0].field_name for p in paths if p is not None and p.elements)


def _scalar(scalar: Element, rules: Any, side: Side) -> Schema:
    assert isinstance(scalar, ScalarType)  # noqa: S101 - enums and messages went another way
    if scalar is ScalarType.STRING:
        return string_schema(typed_rules(rules, "string"))
    if scalar is ScalarType.BOOL:
        return {"type": "boolean"}
    if scalar is ScalarType.BYTES:
        return {"type": "string", "contentEncoding": "base64", "pattern": BASE64_PATTERN}
    if side is Side.RESPONSE:
        return _number_answered(scalar)
    found = typed_rules(rules, scalar.name.lower())
    if scalar in INTEGER_BOUNDS:
        return integer_schema(scalar, found, is_text=side is Side.URL)
    return number_schema(scalar, found, is_text=side is Side.URL)


def _number_answered(scalar: ScalarType) -> Schema:
    if scalar in WIDE_INTEGERS:
        return {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"}
    if scalar in INTEGER_BOUNDS:
        return {"type": "integer", "format": "int32"}
    special = {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}
    return {"anyOf": [{"type": "number"}, special]}


def nullable(schema: Schema) -> Schema:
    """Returns the schema that also takes null, which means the same as leaving the field out."""
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]} if schema else schema
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if "null" in kinds:
        return schema
    found = {**schema, "type": [*kinds, "null"]}
    if "enum" in schema:
        found["enum"] = [*schema["enum"], None]
    return found


def _takes_text(schema: Schema, text: str) -> bool:
    kinds = schema.get("type")
    if kinds != "string" and (not isinstance(kinds, list) or "string" not in kinds):
        return False
    pattern = schema.get("pattern")
    is_listed = text in schema.get("enum", [text])
    return is_listed and (pattern is None or re.search(pattern, text) is not None)


def _local_name(described: DescMessage | DescEnum) -> str:
    package = described.file.proto.package
    return described.type_name.removeprefix(f"{package}.").replace(".", "")
