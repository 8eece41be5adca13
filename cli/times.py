"""Instants as commands read and write them."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from cli.errors import UsageError


def utc_text(instant: Timestamp) -> str:
    """Returns `2026-01-31T23:00:00Z`, with fractions where there are any; empty for none."""
    return instant.ToJsonString() if instant.seconds or instant.nanos else ""


def parse_instant(text: str, option: str) -> Timestamp:
    """Returns the instant of an RFC 3339 text, or midnight UTC of a date. Raises UsageError."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is not a time; write for example 2026-01-31T12:00:00Z"
        ) from None
    instant = Timestamp()
    instant.FromDatetime(value if value.tzinfo else value.replace(tzinfo=UTC))
    return instant
