"""Request headers: reading them, and turning those that services know into call metadata."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry import propagate
from starlette.datastructures import Headers

from gateway.errors import MalformedHeader, UnsupportedMediaType
from services.kernel.errors import Unauthenticated

REQUEST_ID: Final = "x-request-id"
IDEMPOTENCY_KEY: Final = "idempotency-key"
LAST_EVENT_ID: Final = "last-event-id"
GRPC_TIMEOUT: Final = "grpc-timeout"
TENANT_METADATA: Final = "x-finops-tenant"

IDEMPOTENCY_KEY_MAX: Final = 128  # characters, as contracts bound request_id
# A call's metadata has 16 KiB; the trace and the request id take their part.
CREDENTIAL_CHARACTERS_MAX: Final = 8192
FORWARDED_CHARACTERS_MAX: Final = 2048  # a signature header with many signatures

JSON_TYPES: Final = re.compile(r"application/(?:[\w.+-]+\+)?json|text/json", re.ASCII)
NDJSON_TYPES: Final = re.compile(
    r"application/(?:x-ndjson|ndjson|jsonl|x-jsonlines|json-lines|json)", re.ASCII
)

_VISIBLE = re.compile(r"[\x20-\x7e]+")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNIT_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


@dataclass(frozen=True, slots=True)
class ContentType:
    """A content type without its parameters, lower-case; empty where the caller sent none."""

    kind: str
    charset: str


def request_id_of(headers: Headers) -> str:
    """Returns the caller's X-Request-Id, or a new one where it sent none that is usable."""
    given = headers.get(REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def content_type_of(headers: Headers) -> ContentType:
    """Reads Content-Type. Raises UnsupportedMediaType for a charset other than UTF-8."""
    kind, *parameters = headers.get("content-type", "").split(";")
    charset = ""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(f"the charset is UTF-8, not {charset[:40]}")
    return ContentType(kind.strip().lower(), charset)


def deadline_of(headers: Headers, default: float, longest: float) -> float:
    """Returns the call's time-out in seconds: Grpc-Timeout where given, at most `longest`.

    Raises MalformedHeader where it is not a number of at most 8 digits and one of H M S m u n.
    """
    text = headers.get(GRPC_TIMEOUT)
    if text is None:
        return default
    match = _TIMEOUT.fullmatch(text)
    if match is None:
        raise MalformedHeader("Grpc-Timeout is up to 8 digits and one of H M S m u n")
    return min(int(match[1]) * _UNIT_SECONDS[match[2]], longest)


def metadata_of(
    headers: Headers, request_id: str, forwarded: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Returns the metadata of a call: credential, trace context and request id.

    forwarded: further headers that the method wants. Raises Unauthenticated where the credential,
    MalformedHeader where another header cannot be sent on.
    """
    metadata = [(REQUEST_ID, request_id)]
    credential = headers.get("authorization")
    if credential is not None:
        if len(credential) > CREDENTIAL_CHARACTERS_MAX:
            raise Unauthenticated("the Authorization header is longer than any credential")
        if _VISIBLE.fullmatch(credential) is None:
            raise Unauthenticated("the Authorization header holds characters no credential has")
        metadata.append(("authorization", credential))
    for name in forwarded:
        value = headers.get(name)
        if value is None:
            continue
        if len(value) > FORWARDED_CHARACTERS_MAX or _VISIBLE.fullmatch(value) is None:
            raise MalformedHeader(f"{name} is too long or holds other than visible ASCII")
        metadata.append((name, value))
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    metadata.extend((name, value) for name, value in carrier.items() if _VISIBLE.fullmatch(value))
    return metadata


def accepts_events(headers: Headers) -> bool:
    """Tells whether the caller asks for server-sent events."""
    return "text/event-stream" in headers.get("accept", "").lower()


def overrides_of(
    headers: Mapping[str, str], *, has_request_id: bool, has_position: bool
) -> dict[str, str]:
    """Returns the request fields that headers give: Idempotency-Key and Last-Event-ID.

    Raises MalformedHeader where a value is not visible ASCII or too long.
    """
    found: dict[str, str] = {}
    for header, field, wanted in (
        (IDEMPOTENCY_KEY, "request_id", has_request_id),
        (LAST_EVENT_ID, "after_sequence", has_position),
    ):
        value = headers.get(header, "")
        if not wanted or not value:
            continue
        if header == IDEMPOTENCY_KEY and len(value) > IDEMPOTENCY_KEY_MAX:
            raise MalformedHeader(f"{header} has at most {IDEMPOTENCY_KEY_MAX} characters")
        if _VISIBLE.fullmatch(value) is None:
            raise MalformedHeader(f"{header} holds characters other than visible ASCII")
        found[field] = value
    return found
