"""Converts ordinary events in one pass that also proves them valid; ingest runs through here.

An ordinary event has attributes that the validator has passed before, and nothing else that needs
more than a glance. For all others the full rules decide, at ten times the cost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from sys import intern

from finops.usage.v1 import usage_model_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.money import INTEGER_DIGITS_MAX
from services.usage.domain.event import (
    EVENT_ID_LENGTH_MAX,
    SOURCE_LENGTH_MAX,
    UTILIZATION_MAX,
    Attributes,
    Costs,
    Outcome,
    UsageEvent,
)

TENANT_LENGTH_MAX = 63
RETRIES_MAX = 10_000
LATENCY_MS_MAX = 31_536_000_000
VALID_ATTRIBUTES_MAX = 100_000  # about 30 MB; then it starts anew
OUTCOMES = (Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.FAILED, Outcome.PENDING)

# Up to 2106 a float holds an instant to the microsecond.
_SECONDS_MAX = 1 << 32
_NANOS = 1_000_000_000
_POSITIVE = re.compile(r"\d{1,20}(\.\d{1,18})?", re.ASCII)
_Items = tuple[tuple[str, Decimal], ...]
_valid_attributes: dict[tuple[object, ...], Attributes] = {}
_valid_meters: set[tuple[str, ...]] = set()
_tags: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]] = {}
_instant = datetime.fromtimestamp
_new_event = tuple.__new__  # the class's own constructor takes twice as long, once an event


def remember_valid(event: UsageEvent) -> None:
    """Keeps the attributes and meters of an event that the validator has passed.

    Texts are interned, because combinations of attributes share most of them.
    """
    if len(_valid_attributes) >= VALID_ATTRIBUTES_MAX:
        _valid_attributes.clear()
        _valid_meters.clear()
        _tags.clear()
    *texts, tags = event.attributes
    pairs = tuple([(intern(key), intern(value)) for key, value in tags])
    kept = Attributes._make([*map(intern, texts), _tags.setdefault(pairs, pairs)])
    _valid_attributes[kept] = kept
    _valid_meters.add(tuple(meter for meter, _ in event.components))


def ordinary_event(message: usage_model_pb2.UsageEvent) -> UsageEvent | None:
    """Converts an event that is plainly valid.

    None proves nothing: the validator then decides. A test holds that what passes here passes
    there, and that both conversions give the same event.
    """
    attributes = _known_attributes(message)
    start = message.start_time
    seconds, nanos = start.seconds, start.nanos
    event_id, source, quantity = message.event_id, message.source, message.quantity
    retries, outcome, tenant_id = message.retries, message.outcome, message.tenant_id
    if not (
        attributes is not None
        and 0 < seconds < _SECONDS_MAX
        and 0 <= nanos < _NANOS
        and 0 < len(event_id) <= EVENT_ID_LENGTH_MAX
        and event_id.isprintable()
        and 0 < len(source) <= SOURCE_LENGTH_MAX
        and source.isprintable()
        and (
            (quantity.isdecimal() and len(quantity) <= INTEGER_DIGITS_MAX and quantity.isascii())
            or _POSITIVE.fullmatch(quantity)
        )
        and 0 <= outcome < len(OUTCOMES)
        and 0 <= retries <= RETRIES_MAX
        and len(tenant_id) <= TENANT_LENGTH_MAX
        and tenant_id.isprintable()
        and not message.error_code
        and not message.HasField("capacity")
    ):
        return None
    start_at = end_at = _instant(seconds + nanos // 1000 / 1_000_000, UTC)
    if message.HasField("end_time"):
        found = _end_at(start, message.end_time)
        if found is None:
            return None
        end_at = found
    costs = _costs(message.cost) if attributes.currency_code else None
    components = _components(message.components) if message.components else ()
    latency_ms = message.latency_ms if message.HasField("latency_ms") else None
    utilization = message.utilization if message.HasField("utilization") else None
    if (
        components is None
        or (costs is None and attributes.currency_code)
        or (latency_ms is not None and not 0 <= latency_ms <= LATENCY_MS_MAX)
        or (utilization is not None and not 0 <= utilization <= UTILIZATION_MAX)
    ):
        return None
    return _new_event(
        UsageEvent,
        (
            *(source, event_id, start_at, end_at, attributes, Decimal(quantity), components),
            *(costs, OUTCOMES[outcome], "", retries, latency_ms, None, utilization, ""),
        ),
    )


def _known_attributes(message: usage_model_pb2.UsageEvent) -> Attributes | None:
    tags = message.tags
    currency_code = ""
    if message.HasField("cost"):
        currency_code = message.cost.currency_code
        if not currency_code:  # would be found as an event without a cost
            return None
    return _valid_attributes.get(
        (
            message.resource_type,
            message.unit,
            currency_code,
            message.user_id,
            message.department,
            message.project,
            message.resource_id,
            message.service,
            message.service_category,
            message.provider,
            message.region,
            message.sub_account_id,
            message.charge_category,
            # Half the time of sorting the items of a map field.
            tuple([(key, tags[key]) for key in sorted(tags)]) if tags else (),
        )
    )


def _end_at(start: Timestamp, end: Timestamp) -> datetime | None:
    seconds, nanos = end.seconds, end.nanos
    if not ((start.seconds, start.nanos) <= (seconds, nanos) and 0 <= nanos < _NANOS):
        return None
    if seconds >= _SECONDS_MAX:
        return None
    return _instant(seconds + nanos // 1000 / 1_000_000, UTC)


def _costs(cost: usage_model_pb2.UsageCost) -> Costs | None:
    billed = cost.billed
    if cost.HasField("effective") or cost.HasField("list") or cost.HasField("contracted"):
        return None
    if not _POSITIVE.fullmatch(billed):
        return None
    amount = Decimal(billed)
    return Costs(amount, amount, amount, amount)


def _components(components: Iterable[usage_model_pb2.UsageComponent]) -> _Items | None:
    found = tuple([(item.meter, item.quantity) for item in components])
    if tuple([meter for meter, _ in found]) not in _valid_meters:
        return None
    for _, quantity in found:
        if not (
            (quantity.isdecimal() and len(quantity) <= INTEGER_DIGITS_MAX and quantity.isascii())
            or _POSITIVE.fullmatch(quantity)
        ):
            return None
    return tuple([(meter, Decimal(quantity)) for meter, quantity in found])
