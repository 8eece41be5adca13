"""One binding as an OpenAPI operation: what it takes, what it answers, and how it can fail."""

from __future__ import annotations

import copy
from typing import Any, Final

from protobuf import DescField, DescFieldValueMessage, DescMessage

from gateway.descriptors import Method
from gateway.errors import DOCUMENTED, NOT_MODIFIED, OK
from gateway.fields import HTTP_BODY, element_of, fields_by_name, resolve
from gateway.frames import EVENTS, NDJSON
from gateway.headers import IDEMPOTENCY_KEY_MAX
from gateway.parameters import path_parameters, query_parameters
from gateway.routes import Route
from gateway.rules import Schema
from gateway.schemas import Schemas, Side, nullable
from gateway.transcode import AFTER_SEQUENCE, BYTES, JSON, REQUEST_ID

_COMPONENT: Final = "#/components/schemas/"
_ALLOW: Final = {"description": "Methods that the path takes.", "schema": {"type": "string"}}
_SECONDS: Final = {"type": "integer", "minimum": 0}
_COMMON_HEADERS: Final[dict[str, Any]] = {
    "X-Request-Id": {"description": "Id of the request.", "schema": {"type": "string"}},
    "RateLimit-Limit": {"description": "Requests in a window.", "schema": _SECONDS},
    "RateLimit-Remaining": {"description": "Requests left in it.", "schema": _SECONDS},
    "RateLimit-Reset": {"description": "Seconds until it begins anew.", "schema": _SECONDS},
}
_RETRY: Final = {"description": "Seconds to wait.", "schema": _SECONDS}
_EXTRA_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}},
    405: {"Allow": _ALLOW},
    429: {"Retry-After": _RETRY},
    503: {"Retry-After": _RETRY},
}


def operation(route: Route, schemas: Schemas, names: list[str]) -> dict[str, Any]:
    """Returns the OpenAPI operation of one binding. names: of the path's parameters, in order."""
    method, binding = route.method, route.binding
    comment = schemas.comment(f"{method.service}.{method.name}")
    index = method.bindings.index(binding)
    suffix = f"_{index + 1}" if index else ""
    found: dict[str, Any] = {
        "operationId": f"{method.service}.{method.name}{suffix}",
        "tags": [method.service.rpartition(".")[2]],
        "summary": _first_sentence(comment),
        "description": comment,
        "parameters": [
            *path_parameters(route, schemas, names),
            *([] if binding.body == "*" else query_parameters(route, schemas)),
            *_header_parameters(method),
        ],
    }
    if binding.body:
        found["requestBody"] = _request_body(route, schemas)
    found["responses"] = _responses(route, schemas)
    if method.policy.permission:
        found["x-permission"] = method.policy.permission
    if method.policy.is_public:
        found["security"] = []
    if method.descriptor.deprecated:
        found["deprecated"] = True
    return found


def _first_sentence(comment: str) -> str:
    text = " ".join(comment.split())
    head, stop, _ = text.partition(". ")
    return head + "." if stop else text


def _header_parameters(method: Method) -> list[dict[str, Any]]:
    known = fields_by_name(method.input)
    found: list[dict[str, Any]] = []
    if REQUEST_ID in known:
        schema = {"type": "string", "pattern": "^[ -~]*$", "maxLength": IDEMPOTENCY_KEY_MAX}
        text = "Stands for `requestId` where the request has none."
        found.append(_header("Idempotency-Key", text, schema))
    if method.gives_stream and AFTER_SEQUENCE in known:
        text = "Position after which the stream goes on; browsers send it when they reconnect."
        found.append(_header("Last-Event-ID", text, {"type": "string", "pattern": "^[ -~]*$"}))
    if method.policy.cacheable:
        text = "Tag of the answer the caller holds; the answer is 304 where it is still right."
        found.append(_header("If-None-Match", text, {"type": "string"}))
    return found


def _header(name: str, description: str, schema: Schema) -> dict[str, Any]:
    shown = {key: value for key, value in schema.items() if key != "description"}
    return {"name": name, "in": "header", "description": description, "schema": shown}


def _request_body(route: Route, schemas: Schemas) -> dict[str, Any]:
    method, body = route.method, route.binding.body
    if method.takes_stream:
        text = "One JSON object a line, each as the schema for one, application/json, says."
        item = schemas.message(method.input, Side.REQUEST)
        return {
            "description": text,
            "content": {JSON: {"schema": item}, NDJSON: {"schema": {"type": "string"}}},
        }
    if body == "*":
        if method.input.type_name == HTTP_BODY:
            return _raw_body(is_required=False)
        schema = schemas.message(method.input, Side.REQUEST)
        required = [field.name for field in schemas.required(method.input)]
        schema, is_required = _relaxed(schema, route, schemas, prefix="", required=required)
        return {"required": is_required, "content": {JSON: {"schema": schema}}}
    field = _field(method.input, body)
    is_required = field in schemas.required(method.input)
    inside = element_of(field)
    if isinstance(inside, DescMessage) and inside.type_name == HTTP_BODY:
        return _raw_body(is_required=is_required)
    schema = schemas.shape(field, Side.REQUEST)
    if isinstance(inside, DescMessage) and "$ref" in schema:
        prefix = f"{field.name}."
        schema, _ = _relaxed(schema, route, schemas, prefix=prefix, required=[])
        if any(v.field.startswith(prefix) for v in route.template.variables):
            # What the path gives makes the message be there, with an empty body too.
            is_required = "required" in schema
    return {"required": is_required, "content": {JSON: {"schema": schema}}}


def _relaxed(
    schema: Schema, route: Route, schemas: Schemas, *, prefix: str, required: list[str]
) -> tuple[Schema, bool]:
    """Returns the body's schema without the demand for what the path gives already.

    Second comes whether any of the `required` fields is left for the body.
    """
    given = [
        variable.field.removeprefix(prefix)
        for variable in route.template.variables
        if variable.field.startswith(prefix)
    ]
    if not given or "$ref" not in schema:
        return schema, bool(required)
    found = copy.deepcopy(schemas.components[schema["$ref"].removeprefix(_COMPONENT)])
    names = {field.name: field.json_name for field in _owner(route, prefix).fields}
    for name in given:
        json_name = names.get(name)
        if json_name is None:
            continue
        text = "Given by the path, which wins."
        found["properties"][json_name] = {"description": text, **_kinds(found, json_name)}
        if json_name in found.get("required", ()):
            found["required"].remove(json_name)
    if not found.get("required"):
        found.pop("required", None)
    return found, bool(set(required) - set(given))


def _kinds(schema: Schema, name: str) -> Schema:
    """Returns the types that a property takes where its value does not matter."""
    kinds = schema["properties"][name].get("type")
    if kinds is None:
        return {}
    listed = kinds if isinstance(kinds, list) else [kinds]
    return {"type": list(dict.fromkeys([*listed, "null"]))}


def _owner(route: Route, prefix: str) -> DescMessage:
    message = route.method.input
    if prefix:
        inside = element_of(_field(message, prefix.rstrip(".")))
        assert isinstance(inside, DescMessage)  # noqa: S101 - the caller found a message there
        return inside
    return message


def _field(message: DescMessage, name: str) -> DescField:
    path = resolve(message, name)
    assert path is not None  # noqa: S101 - the transcoder refused wrong rules at start
    return path[-1]


def _raw_body(*, is_required: bool) -> dict[str, Any]:
    schema: Schema = {"type": "string", "format": "binary"}
    if is_required:
        schema["minLength"] = 1
    return {
        "required": is_required,
        "description": "Bytes of any content type, taken as they are.",
        "content": {BYTES: {"schema": schema}},
    }


def _responses(route: Route, schemas: Schemas) -> dict[str, Any]:
    method = route.method
    content = _content(route, schemas)
    headers = dict(_COMMON_HEADERS)
    responses: dict[str, Any] = {}
    if method.policy.cacheable and route.binding.verb == "GET":
        headers["ETag"] = {"description": "Tag of the answer.", "schema": {"type": "string"}}
        text = "The answer that the caller holds is still right."
        responses[str(NOT_MODIFIED)] = {"description": text}
    description = schemas.comment(method.output.type_name) or "The answer."
    responses[str(OK)] = {"description": description, "headers": headers, "content": content}
    for status in DOCUMENTED:
        responses[str(status)] = {"$ref": f"#/components/responses/Error{status}"}
    return dict(sorted(responses.items()))


def _content(route: Route, schemas: Schemas) -> dict[str, Any]:
    method, field_name = route.method, route.binding.response_body
    if field_name:
        field = _field(method.output, field_name)
        inside = element_of(field)
        is_raw = isinstance(inside, DescMessage) and inside.type_name == HTTP_BODY
        schema = schemas.shape(field, Side.RESPONSE)
        if isinstance(field.value, DescFieldValueMessage):
            schema = nullable(schema)
    else:
        is_raw = method.output.type_name == HTTP_BODY
        schema = schemas.message(method.output, Side.RESPONSE)
    if is_raw:
        return {"*/*": {}}
    if method.gives_stream:
        text = {"type": "string"}
        return {
            NDJSON: {"schema": text, "x-item": schema},
            EVENTS: {"schema": text, "x-item": schema},
        }
    return {JSON: {"schema": schema}}


def error_responses() -> dict[str, Any]:
    """Returns the component of each documented failure, `Error<status>`."""
    reference = {"$ref": f"{_COMPONENT}Error"}
    return {
        f"Error{status}": {
            "description": description,
            "headers": {"X-Request-Id": _COMMON_HEADERS["X-Request-Id"]}
            | _EXTRA_HEADERS.get(status, {}),
            "content": {JSON: {"schema": reference}},
        }
        for status, description in DOCUMENTED.items()
    }


def error_schema() -> Schema:
    """Returns the AIP-193 document as a schema."""
    detail = {
        "type": "object",
        "description": "A google.rpc detail, for example ErrorInfo, BadRequest or RetryInfo.",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
    }
    error = {
        "type": "object",
        "properties": {
            "code": {"type": "integer", "description": "The HTTP status."},
            "status": {"type": "string", "description": "The gRPC code, as `NOT_FOUND`."},
            "message": {"type": "string", "description": "What is wrong and what to do."},
            "details": {"type": "array", "items": detail},
        },
        "required": ["code", "status", "message", "details"],
    }
    return {"type": "object", "properties": {"error": error}, "required": ["error"]}
