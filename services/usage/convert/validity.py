"""What no rule on a single field says about an event, or none says cheaply."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from finops.usage.v1 import usage_model_pb2

_FIRST_PRINTABLE = 0x20
_NANOS = 1_000_000_000
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def semantic_violations(message: usage_model_pb2.UsageEvent) -> list[tuple[str, str]]:
    """Returns what no rule on a single field says, or none says cheaply."""
    found = [*_time_violations(message), *_text_violations(message)]
    if message.quantity.startswith("-") and not message.HasField("cost"):
        found.append(("quantity", "must be zero or more unless the event brings its cost"))
    meters = [component.meter for component in message.components]
    if len(set(meters)) < len(meters):
        found.append(("components", "must name each meter once"))
    return found


def _time_violations(message: usage_model_pb2.UsageEvent) -> Iterator[tuple[str, str]]:
    start, end = message.start_time, message.end_time
    if not 0 <= start.seconds < _LATEST.timestamp():
        yield "start_time", "must be from 1970 up to 2200"
    if message.HasField("end_time"):
        if not (start.seconds, start.nanos) <= (end.seconds, end.nanos):
            yield "end_time", "must not be before start_time"
        elif end.seconds >= _LATEST.timestamp():
            yield "end_time", "must be before 2200"
    if not (0 <= start.nanos < _NANOS and 0 <= end.nanos < _NANOS):
        yield "start_time", "nanos must be from 0 to 999,999,999"


def _text_violations(message: usage_model_pb2.UsageEvent) -> Iterator[tuple[str, str]]:
    for field, text in _texts(message):
        if "\x00" in text:
            yield field, "must not hold the character U+0000"
    for field in ("event_id", "source"):
        if any(ord(character) < _FIRST_PRINTABLE for character in getattr(message, field)):
            yield field, "must not hold control characters"


def _texts(message: usage_model_pb2.UsageEvent) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        if isinstance(value, str):
            yield field.name, value
    for component in message.components:
        yield "components", component.meter
    for key, value in message.tags.items():
        yield "tags", key + value
