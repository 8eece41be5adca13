"""One binding's two translations: an HTTP request to a binary message, and a binary answer to JSON.

JSON goes through a codec in native code straight to the wire format; nothing here knows a message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from protobuf import (
    DescField,
    DescFieldValueMessage,
    DescMessage,
    Message,
    Registry,
    ScalarType,
    merge_from_binary,
    message_from_json_value,
    message_to_json_value,
)

from gateway.documents import check_depth
from gateway.errors import MalformedBody
from gateway.fields import (
    FIELD_MASK,
    HTTP_BODY,
    element_of,
    fields_by_name,
    has_oneofs,
    resolve,
    spelled,
)
from gateway.masks import json_mask, paths_of
from gateway.query import Parameters, parse_json
from gateway.routes import Route
from gateway.violations import find_conflicts, find_violations, readable
from services.kernel.errors import FieldViolations

JSON = "application/json"
BYTES = "application/octet-stream"
REQUEST_ID = "request_id"
AFTER_SEQUENCE = "after_sequence"
SEQUENCE = "sequence"
UPDATE_MASK = "update_mask"

_CODEC_ERRORS = (ValueError, TypeError, OverflowError, RecursionError)


class Transcoder:
    """Translates the calls of one route."""

    def __init__(self, route: Route, registry: Registry, *, depth_max: int) -> None:
        """Raises ValueError where the rule names a field that the message does not have."""
        self._route = route
        self._registry = registry
        self._depth_max = depth_max
        self._input = route.method.input
        self._output = route.method.output
        self._body_field = _named(self._input, route.binding.body)
        self._response_field = _named(self._output, route.binding.response_body)
        self._path_fields = {
            variable.field: _path(self._input, variable.field)
            for variable in route.template.variables
        }
        taken = [spelled(path) for path in self._path_fields.values()]
        if route.binding.body == "*":
            taken = [field.name for field in self._input.fields]
        elif self._body_field is not None:
            taken.append(self._body_field.name)
        self._path_parameters = Parameters(self._input)
        self._query_parameters = Parameters(self._input, taken)
        self._mask_field = _mask_field(route, self._input)
        self._has_oneofs = has_oneofs(self._input)

    @property
    def takes_body(self) -> bool:
        """Whether the binding maps the body to anything."""
        return bool(self._route.binding.body)

    @property
    def takes_raw_body(self) -> bool:
        """Whether the body is stored as it is, of any content type."""
        if self._body_field is not None:
            return _is_http_body(element_of(self._body_field))
        return self._route.binding.body == "*" and _is_http_body(self._input)

    @property
    def gives_raw_body(self) -> bool:
        """Whether the answer is sent as it is, with a content type of its own."""
        if self._response_field is not None:
            return _is_http_body(element_of(self._response_field))
        return _is_http_body(self._output)

    def has_field(self, name: str) -> bool:
        """Tells whether the request has a text field of this name."""
        field = fields_by_name(self._input).get(name)
        return field is not None and element_of(field) is ScalarType.STRING

    def request(
        self,
        body: bytes,
        content_type: str,
        *,
        captured: Mapping[str, str],
        parameters: Sequence[tuple[str, str]],
        overrides: Mapping[str, str],
    ) -> bytes:
        """Returns the binary request.

        overrides: values of top-level text fields that headers give. They win over the rest, but
        for the request id, which is the request's own where it has one.
        Raises MalformedBody, FieldViolations, UnknownParameter.
        """
        message, given = self._from_body(body, content_type)
        if parameters:
            self._merge(message, self._query_parameters.read(parameters))
        if captured:
            for path in self._path_fields.values():
                _clear(message, path)
            self._merge(message, self._path_parameters.read(captured.items()))
        for name, value in overrides.items():
            self._override(message, name, value)
        if self._mask_field is not None and message[self._mask_field] is None:
            self._fill_mask(message, given)
        return self._binary(message)

    def item(self, line: bytes) -> bytes:
        """Returns the binary message of one line of an upload. Raises as `request` does."""
        return self._binary(self._read(self._input, line))

    def response(self, payload: bytes) -> tuple[bytes, str]:
        """Returns body and content type of a binary answer."""
        message = self._output.type.from_binary(payload)
        if self._response_field is None:
            return self._encode(message)
        value = message[self._response_field]
        if isinstance(value, Message):
            return self._encode(value)
        document = message_to_json_value(
            message, registry=self._registry, always_emit_implicit=True
        )
        assert isinstance(document, dict)  # noqa: S101 - a message with named fields is an object
        part = document.get(self._response_field.json_name)
        return json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode(), JSON

    def sequence(self, payload: bytes) -> str:
        """Returns the item's position in its stream; empty where it has none."""
        field = fields_by_name(self._output).get(SEQUENCE)
        if field is None or not isinstance(element_of(field), ScalarType):
            return ""
        return str(self._output.type.from_binary(payload)[field] or "")

    def _encode(self, message: Message) -> tuple[bytes, str]:
        if _is_http_body(message.desc()):
            kind, content = (fields_by_name(message.desc())[n] for n in ("content_type", "data"))
            return message[content], message[kind] or BYTES
        text = message.to_json(registry=self._registry, always_emit_implicit=True)
        return text.encode(), JSON

    def _from_body(self, body: bytes, content_type: str) -> tuple[Message, Any]:
        """Returns the message so far, and the JSON of the body where a field mask needs it."""
        message = self._input.type()
        if not self.takes_body:
            if body.strip():
                raise MalformedBody("the method takes no body; use the path and the query")
            return message, None
        if self.takes_raw_body:
            self._put_raw(message, body, content_type)
            return message, None
        if self._body_field is None:
            return self._read(self._input, body.strip() or b"{}"), None
        inside = self._body_field.value
        if not body.strip():
            return message, None
        if isinstance(inside, DescFieldValueMessage):
            message[self._body_field] = self._read(inside.message, body)
            return message, body
        check_depth(body, self._depth_max)
        document = {self._body_field.json_name: parse_json(body)}
        return self._from_value(document), None

    def _put_raw(self, message: Message, body: bytes, content_type: str) -> None:
        holder = message
        if self._body_field is not None and not body:
            return  # nothing was sent, so the rules can tell that the field is missing
        if self._body_field is not None:
            element = element_of(self._body_field)
            assert isinstance(element, DescMessage)  # noqa: S101 - takes_raw_body said so
            holder = element.type()
        known = fields_by_name(holder.desc())
        holder[known["content_type"]] = content_type
        holder[known["data"]] = body
        if self._body_field is not None:
            message[self._body_field] = holder

    def _read(self, shape: DescMessage, text: bytes) -> Message:
        check_depth(text, self._depth_max)
        try:
            message = shape.type.from_json(text, registry=self._registry)
        except json.JSONDecodeError as error:
            raise MalformedBody(f"the body is not JSON: {error}") from error
        except _CODEC_ERRORS as error:
            document = parse_json(text)
            raise self._violations(shape, document, error) from error
        if self._has_oneofs:
            # The codec keeps the last of two members; the caller meant something else.
            conflicts = find_conflicts(shape, parse_json(text))
            if conflicts:
                raise FieldViolations(conflicts)
        return message

    def _from_value(self, document: dict[str, Any]) -> Message:
        try:
            return message_from_json_value(self._input.type, document, registry=self._registry)
        except _CODEC_ERRORS as error:
            raise self._violations(self._input, document, error) from error

    def _violations(
        self, shape: DescMessage, document: Any, error: BaseException
    ) -> FieldViolations:
        found = find_violations(shape, document, self._registry)
        return FieldViolations(found or [("", readable(error))])

    def _merge(self, message: Message, document: dict[str, Any]) -> None:
        # Over the wire: the codec's merge of messages resets numbers that the second leaves out.
        merge_from_binary(message, self._from_value(document).to_binary())

    def _override(self, message: Message, name: str, value: str) -> None:
        field = fields_by_name(self._input)[name]
        if name != REQUEST_ID or not message[field]:
            message[field] = value

    def _fill_mask(self, message: Message, body: Any) -> None:
        """Derives the mask of a partial update from what the body holds."""
        assert self._mask_field is not None  # noqa: S101 - the caller checked
        assert self._body_field is not None  # noqa: S101 - a mask is only looked for beside a body
        element = element_of(self._body_field)
        assert isinstance(element, DescMessage)  # noqa: S101 - a mask is looked for beside a message
        prefix = f"{self._body_field.name}."
        fixed = {spelled(path).removeprefix(prefix) for path in self._path_fields.values()}
        paths = paths_of(element, parse_json(body or b"{}"), self._registry)
        mask = json_mask([path for path in paths if path not in fixed])
        self._merge(message, {self._mask_field.json_name: mask})

    def _binary(self, message: Message) -> bytes:
        try:
            return message.to_binary()
        except _CODEC_ERRORS as error:
            raise FieldViolations([("", readable(error))]) from error


def _named(message: DescMessage, name: str) -> DescField | None:
    """Returns the field that a rule's body or response_body names; None for `*` and nothing."""
    if name in ("", "*"):
        return None
    return _path(message, name)[-1]


def _path(message: DescMessage, name: str) -> tuple[DescField, ...]:
    path = resolve(message, name)
    if path is None:
        raise ValueError(f"{message.type_name} has no field {name!r}, which its HTTP rule names")
    return path


def _mask_field(route: Route, message: DescMessage) -> DescField | None:
    """Returns the field mask that a PATCH of one field may leave to the gateway."""
    field = fields_by_name(message).get(UPDATE_MASK)
    if field is None or route.binding.verb != "PATCH" or route.binding.body in ("", "*"):
        return None
    body = _path(message, route.binding.body)[-1]
    is_mask = getattr(element_of(field), "type_name", "") == FIELD_MASK
    return field if is_mask and isinstance(body.value, DescFieldValueMessage) else None


def _is_http_body(element: object) -> bool:
    return isinstance(element, DescMessage) and element.type_name == HTTP_BODY


def _clear(message: Message, path: tuple[DescField, ...]) -> None:
    """Empties the field at the path, so that a zero value from the URL wins over the body's."""
    holder: Message | None = message
    for field in path[:-1]:
        holder = holder[field] if holder is not None else None
    if holder is not None:
        del holder[path[-1]]
