"""Which events are valid: a quick proof for ordinary ones, the full rules for all others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from finops.usage.v1 import usage_model_pb2

from services.kernel.money import INTEGER_DIGITS_MAX
from services.usage.domain.event import (
    COMPONENTS_MAX,
    EVENT_ID_LENGTH_MAX,
    SOURCE_LENGTH_MAX,
    Attributes,
    UsageEvent,
)

METER_LENGTH_MAX = 64
TENANT_LENGTH_MAX = 63
RETRIES_MAX = 10_000
LATENCY_MS_MAX = 31_536_000_000
VALID_ATTRIBUTES_MAX = 100_000  # about 60 MB; then it starts anew
_FIRST_PRINTABLE = 0x20
_NANOS = 1_000_000_000
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_POSITIVE = re.compile(r"\d{1,20}(\.\d{1,18})?", re.ASCII)
_valid_attributes: set[Attributes] = set()


def is_plainly_valid(message: usage_model_pb2.UsageEvent, event: UsageEvent) -> bool:
    """Says, in a tenth of the validator's time, that an ordinary event is valid.

    False proves nothing: the validator then decides. A test holds that what passes here passes
    there. Attributes are looked up among those that the validator has passed before.
    """
    return (
        event.attributes in _valid_attributes
        and event.event_id.isprintable()
        and 0 < len(event.event_id) <= EVENT_ID_LENGTH_MAX
        and event.source.isprintable()
        and 0 < len(event.source) <= SOURCE_LENGTH_MAX
        and _is_plain_decimal(message.quantity)
        and (event.cost is None or _is_plain_cost(message.cost))
        and (not event.components or _are_plain_components(message.components))
        and _are_plain_times(message, event)
        and message.outcome >= 0  # the conversion has refused those above the last
        and not event.error_code
        and 0 <= event.retries <= RETRIES_MAX
        and (event.latency_ms is None or 0 <= event.latency_ms <= LATENCY_MS_MAX)
        and event.capacity is None
        and (event.utilization is None or 0 <= event.utilization <= 1)
        and len(message.tenant_id) <= TENANT_LENGTH_MAX
        and message.tenant_id.isprintable()
    )


def _are_plain_times(message: usage_model_pb2.UsageEvent, event: UsageEvent) -> bool:
    start, end = event.start_at, event.end_at
    if not (start > _EARLIEST and end < _LATEST):  # an absent start reads as the earliest
        return False
    if start == end and start is not end:  # what is below a microsecond was cut off
        return message.start_time.nanos <= message.end_time.nanos
    return start <= end


def _is_plain_decimal(text: str) -> bool:
    if text.isdecimal() and text.isascii():
        return len(text) <= INTEGER_DIGITS_MAX
    return _POSITIVE.fullmatch(text) is not None


def _is_plain_cost(cost: usage_model_pb2.UsageCost) -> bool:
    # Known attributes without a currency are those of events without a cost.
    return (
        bool(cost.currency_code)
        and _is_plain_decimal(cost.billed)
        and not (cost.HasField("effective") or cost.HasField("list") or cost.HasField("contracted"))
    )


def _are_plain_components(components: Sequence[usage_model_pb2.UsageComponent]) -> bool:
    meters = {item.meter for item in components}
    return (
        len(meters) == len(components) <= COMPONENTS_MAX
        and all(0 < len(meter) <= METER_LENGTH_MAX and meter.isprintable() for meter in meters)
        and all(_is_plain_decimal(item.quantity) for item in components)
    )


def remember_valid(attributes: Attributes) -> None:
    """Keeps attributes that the validator has passed."""
    if len(_valid_attributes) >= VALID_ATTRIBUTES_MAX:
        _valid_attributes.clear()
    _valid_attributes.add(attributes)


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
