"""Stripe's OpenAPI schema, which every request of every test is held against."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

from tests.support.shared import shared_path

_DECIMAL_DIGITS_MAX = 12


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the API. pattern: of its path."""

    operation_id: str
    method: str
    pattern: re.Pattern[str]
    literal_parts: int
    query: dict[str, Any]
    body: dict[str, Any]


class StripeSchema:
    """Finds operations, and says what is wrong with a request."""

    def __init__(self, document: dict[str, Any], overlay: dict[str, Any]) -> None:
        self._components = document["components"]["schemas"]
        self._operations = sorted(
            _operations(document, overlay), key=lambda found: -found.literal_parts
        )

    def operation(self, method: str, path: str) -> Operation | None:
        """Returns the operation that a request calls, None when there is none."""
        for operation in self._operations:
            if operation.method == method and operation.pattern.fullmatch(path):
                return operation
        return None

    def violations(self, method: str, path: str, parameters: dict[str, Any]) -> list[str]:
        """Returns what Stripe would not take, empty when it would."""
        operation = self.operation(method, path)
        if operation is None:
            return [f"there is no operation {method} {path}"]
        schema = operation.query if method == "GET" else operation.body
        if method == "DELETE":
            # The SDK sends there, as a query, what the specification has in the body.
            schema = {
                **schema,
                "properties": schema.get("properties", {}) | operation.query["properties"],
            }
        where = operation.operation_id
        return [f"{where}: {problem}" for problem in self._check(parameters, schema, "")]

    def _check(self, value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
        while "$ref" in schema:
            schema = self._components[schema["$ref"].rpartition("/")[2]]
        choices = schema.get("anyOf")
        if choices is not None:
            found = [list(self._check(value, choice, where)) for choice in choices]
            if all(found):
                yield min(found, key=len)[0]
            return
        kind = schema.get("type", "object")
        if kind == "object":
            yield from self._check_object(value, schema, where)
        elif kind == "array":
            yield from self._check_array(value, schema, where)
        else:
            yield from _check_scalar(value, kind, schema, where)

    def _check_object(self, value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where} is an object, not {value!r}"
            return
        properties = schema.get("properties", {})
        additional = schema.get("additionalProperties", "properties" not in schema)
        for name, inner in value.items():
            path = f"{where}[{name}]" if where else name
            if name in properties:
                yield from self._check(inner, properties[name], path)
            elif isinstance(additional, dict):
                yield from self._check(inner, additional, path)
            elif not additional:
                yield f"{path} is not a parameter"
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{where}[{name}] is required"

    def _check_array(self, value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{where} is a list, not {value!r}"
            return
        for index, inner in enumerate(value):
            yield from self._check(inner, schema["items"], f"{where}[{index}]")


def _check_scalar(value: Any, kind: str, schema: dict[str, Any], where: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{where} is a {kind}, not {value!r}"
    elif kind == "integer" and not re.fullmatch(r"-?\d+", value):
        yield f"{where} is a whole number, not {value!r}"
    elif kind == "boolean" and value not in ("true", "false"):
        yield f"{where} is true or false, not {value!r}"
    elif kind == "number" and not _is_number(value):
        yield f"{where} is a number, not {value!r}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{where} is one of {schema['enum'][:20]}, not {value!r}"
    elif len(value) > schema.get("maxLength", len(value)):
        yield f"{where} has at most {schema['maxLength']} characters"
    elif schema.get("format") == "decimal" and not _is_decimal(value):
        yield f"{where} is a decimal with at most {_DECIMAL_DIGITS_MAX} digits, not {value!r}"


def _is_number(value: str) -> bool:
    try:
        return Decimal(value).is_finite()
    except InvalidOperation:
        return False


def _is_decimal(value: str) -> bool:
    fraction = value.partition(".")[2]
    return _is_number(value) and len(fraction) <= _DECIMAL_DIGITS_MAX


def _operations(document: dict[str, Any], overlay: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        pattern = re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path))
        for method, found in methods.items():
            name = found["operationId"]
            content = found.get("requestBody", {}).get("content", {})
            body = content.get("application/x-www-form-urlencoded", {}).get("schema", {})
            yield Operation(
                operation_id=name,
                method=method.upper(),
                pattern=pattern,
                literal_parts=len(re.sub(r"\{[^}]+\}", "", path)),
                query=_query(found),
                body=_overlaid(body, overlay.get(name, {})),
            )


def _query(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            parameter["name"]: parameter["schema"]
            for parameter in found.get("parameters", ())
            if parameter["in"] == "query"
        },
    }


def _overlaid(body: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Applies how the SDK's version differs from the schema's; what is new is of any shape."""
    properties = dict(body.get("properties", {}))
    for name in change.get("removed", ()):
        properties.pop(name, None)
    for name in change.get("added", ()):
        properties.setdefault(name, {"anyOf": [{"type": "string"}, {"type": "array", "items": {}}]})
    return {**body, "properties": properties}


@cache
def stripe_schema() -> StripeSchema:
    """Reads the schema once; skips the test where it is not there."""
    document = json.loads(
        gzip.decompress(shared_path("stripe", "openapi.min.json.gz").read_bytes())
    )
    overlay = json.loads(shared_path("stripe", "endive.overlay.json").read_text())
    return StripeSchema(document, overlay["changes"])
