"""Query parameters: reading them into the JSON value of a message.

Every field of the request that neither path nor body holds is a parameter, nested ones by dotted
path, repeated ones by repetition, maps as `field[key]=value`; names in proto or JSON spelling.
Source: google/api/http.proto, and grpc-gateway's runtime/query.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from protobuf import DescEnum, DescField, DescFieldValueMap, DescMessage, ScalarType

from gateway.errors import MalformedBody, MalformedPath, UnknownParameter
from gateway.fields import (
    FIELD_MASK,
    LIST_VALUE,
    STRUCT,
    TEXTUAL,
    VALUE,
    camel_case,
    element_of,
    is_repeated,
    oneof_of,
    resolve,
    spelled,
)
from services.kernel.errors import FieldViolations

PARAMETERS_MAX = 1000
URL_MASK_PATTERN = (
    r"^(?:\*|[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*"
    r"(?:,[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)*)?$"
)
_MAP_ENTRY = re.compile(r"(?P<path>[^\[\]]+)\[(?P<key>.*)\]", re.DOTALL)
_INTEGER = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_BOOLEANS = {"true": True, "false": False}


def parse_query(query: bytes) -> list[tuple[str, str]]:
    """Returns the parameters in order, decoded.

    Raises MalformedPath where they are not UTF-8 or more than `PARAMETERS_MAX`.
    """
    if not query:
        return []
    try:
        return parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=PARAMETERS_MAX,
        )
    except UnicodeDecodeError as error:
        raise MalformedPath("the query's percent-encoding is not UTF-8") from error
    except ValueError as error:
        raise MalformedPath(f"the query has more than {PARAMETERS_MAX} parameters") from error


class Parameters:
    """Reads text values, each named by a field path, into one JSON value of a message."""

    def __init__(self, message: DescMessage, taken: Iterable[str] = ()) -> None:
        """Takes the message and the paths, in proto names, that another part of the call gives."""
        self._message = message
        self._taken = tuple(taken)

    def read(self, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Returns the JSON value that the pairs describe, in JSON names.

        Raises UnknownParameter, and FieldViolations where a text cannot be the field's value.
        """
        document: dict[str, Any] = {}
        for name, text in pairs:
            entry = _MAP_ENTRY.fullmatch(name)
            path = self._resolve(entry["path"] if entry else name, name)
            key = entry["key"] if entry else None
            self._put(document, path, key, text)
        return document

    def _resolve(self, path: str, name: str) -> tuple[DescField, ...]:
        fields = resolve(self._message, path)
        if fields is None:
            short = name[:100]
            raise UnknownParameter(f"there is no parameter {short!r}", parameter=short)
        proto_path = spelled(fields)
        for taken in self._taken:
            if proto_path == taken or proto_path.startswith(f"{taken}."):
                raise UnknownParameter(
                    f"{proto_path!r} is given by the path or the body, not by the query",
                    parameter=proto_path,
                )
        return fields

    def _put(
        self, document: dict[str, Any], path: tuple[DescField, ...], key: str | None, text: str
    ) -> None:
        node = document
        for field in path[:-1]:
            if is_repeated(field) or isinstance(field.value, DescFieldValueMap):
                raise FieldViolations([(spelled(path), "a list has no fields of its own")])
            _check_oneof(node, field, path)
            node = node.setdefault(field.json_name, {})
        leaf = path[-1]
        is_map = isinstance(leaf.value, DescFieldValueMap)
        if is_map != (key is not None):
            wanted = "a map takes name[key]=value" if is_map else "only a map takes name[key]"
            raise FieldViolations([(spelled(path), wanted)])
        value = _json_value(element_of(leaf), text, spelled(path))
        if key is not None:
            node.setdefault(leaf.json_name, {})[key] = value
        elif is_repeated(leaf):
            node.setdefault(leaf.json_name, []).append(value)
        elif leaf.json_name in node:
            raise FieldViolations([(spelled(path), "the parameter may stand only once")])
        else:
            _check_oneof(node, leaf, path)
            node[leaf.json_name] = value


def _check_oneof(node: dict[str, Any], field: DescField, path: tuple[DescField, ...]) -> None:
    oneof = oneof_of(field)
    if oneof is None:
        return
    for other in oneof.fields:
        if other is not field and other.json_name in node:
            raise FieldViolations([(spelled(path), f"it excludes {other.name}; give one of them")])


def _json_value(element: ScalarType | DescEnum | DescMessage, text: str, path: str) -> Any:
    if element is ScalarType.BOOL:
        if text not in _BOOLEANS:
            raise FieldViolations([(path, "a boolean is `true` or `false`")])
        return _BOOLEANS[text]
    if isinstance(element, DescEnum):
        return int(text) if _INTEGER.fullmatch(text) else text
    if isinstance(element, DescMessage):
        return _message_value(element, text, path)
    return text


def _message_value(message: DescMessage, text: str, path: str) -> Any:
    name = message.type_name
    if name not in TEXTUAL:
        raise FieldViolations([(path, f"give its fields one by one, as {path}.field=value")])
    if name == FIELD_MASK:
        if re.fullmatch(URL_MASK_PATTERN, text) is None:
            raise FieldViolations([(path, "a mask is field paths, with commas between them")])
        return ",".join(_mask_path(part) for part in text.split(","))
    if name == "google.protobuf.BoolValue":
        return _json_value(ScalarType.BOOL, text, path)
    if name in (STRUCT, LIST_VALUE, VALUE):
        return _parsed(text, path, is_strict=name != VALUE)
    return text


def _mask_path(path: str) -> str:
    return ".".join(camel_case(part) for part in path.split("."))


def _parsed(text: str, path: str, *, is_strict: bool) -> Any:
    try:
        return parse_json(text)
    except MalformedBody as error:
        if is_strict:
            raise FieldViolations([(path, "it takes JSON")]) from error
        return text


def parse_json(text: str | bytes) -> Any:
    """Parses JSON, refusing NaN and infinities. Raises MalformedBody."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise MalformedBody(f"the body is not JSON: {str(error)[:200]}") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")
