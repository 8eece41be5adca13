"""A call as an HTTP request: the same rules as the gateway's, read from the contracts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from google.api import httpbody_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from finops_sdk.methods import Method

_VARIABLE = re.compile(r"\{([a-z0-9_.]+)(?:=([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One HTTP request. path: begins with a slash, percent-encoded."""

    verb: str
    path: str
    query: httpx.QueryParams
    body: bytes | None
    content_type: str


def to_http(method: Method, request: Message) -> HttpCall:
    """Returns the HTTP request that carries the message. Raises ValueError without a REST route."""
    if not method.verb:
        raise ValueError(f"{method.path} is not served over REST; use its gRPC address")
    used: set[str] = set()

    def substitute(match: re.Match[str]) -> str:
        used.add(match.group(1))
        pattern = match.group(2) or "*"
        has_slashes = "/" in pattern or "**" in pattern
        return quote(str(_field(request, match.group(1))), safe="/" if has_slashes else "")

    path = _VARIABLE.sub(substitute, method.template)
    fields = json_format.MessageToDict(request, preserving_proto_field_name=True)
    for name in used:
        _remove(fields, name.split("."))
    if method.body == "*":
        return HttpCall(
            method.verb, path, httpx.QueryParams(), json.dumps(fields).encode(), "application/json"
        )
    body, content_type = None, "application/json"
    if method.body:
        body, content_type = _body(request, method.body, fields.get(method.body, {}))
        fields.pop(method.body, None)
    return HttpCall(method.verb, path, _query(fields), body, content_type)


def from_http(method: Method, content_type: str, body: bytes) -> Message:
    """Returns the message that an HTTP answer carries. Raises ValueError when it is not one."""
    if method.response_class is httpbody_pb2.HttpBody:
        file: Message = httpbody_pb2.HttpBody(content_type=content_type, data=body)
        return file
    return parse_message(method, json.loads(body))


def parse_message(method: Method, content: Any) -> Message:
    """Returns the answer that decoded JSON carries; fields not known here are ignored."""
    answer: Message = method.response_class()
    if method.response_body:
        content = {method.response_body: content}
    return json_format.ParseDict(content, answer, ignore_unknown_fields=True)


def _field(message: Message, path: str) -> Any:
    value: Any = message
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _remove(fields: dict[str, Any], path: list[str]) -> None:
    for name in path[:-1]:
        fields = fields.get(name, {})
    fields.pop(path[-1], None)


def _body(request: Message, name: str, fields: Any) -> tuple[bytes, str]:
    value = _field(request, name)
    if isinstance(value, httpbody_pb2.HttpBody):
        return value.data, value.content_type or "application/octet-stream"
    return json.dumps(fields).encode(), "application/json"


def _query(fields: dict[str, Any], prefix: str = "") -> httpx.QueryParams:
    """Returns nested fields as `outer.inner=value`, repeated ones as one pair a value."""
    query = httpx.QueryParams()
    for name, value in fields.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            for inner, text in _query(value, f"{path}.").multi_items():
                query = query.add(inner, text)
            continue
        for item in value if isinstance(value, list) else [value]:
            query = query.add(path, item)  # httpx writes booleans as JSON does
    return query
