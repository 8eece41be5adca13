"""Reads one UsageEvent from the contract's JSON form, by plain means: ingest of files is hot.

The rules are those of `finops.usage.v1.UsageEvent`; a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.kernel.money import InvalidCurrency, Money
from services.usage.domain.event import (
    COMPONENTS_MAX,
    EVENT_ID_LENGTH_MAX,
    SOURCE_LENGTH_MAX,
    UTILIZATION_MAX,
    Attributes,
    Costs,
    Outcome,
    UsageEvent,
)
from services.usage.service.importers.attributes import LENGTHS_MAX
from services.usage.service.importers.rows import RowProblem
from services.usage.service.importers.values import (
    Tags,
    bounded,
    checked_tags,
    instant,
    number,
    rounded_number,
)

METER_LENGTH_MAX = 64
ERROR_CODE_LENGTH_MAX = 128
RETRIES_MAX = 10_000
LATENCY_MS_MAX = 31_536_000_000  # a year

EVENT_FIELDS = (
    "event_id",
    "source",
    "tenant_id",
    "start_time",
    "end_time",
    "resource_type",
    "quantity",
    "unit",
    "components",
    "cost",
    "user_id",
    "department",
    "project",
    "resource_id",
    "service",
    "service_category",
    "provider",
    "region",
    "sub_account_id",
    "charge_category",
    "tags",
    "outcome",
    "error_code",
    "retries",
    "latency_ms",
    "capacity",
    "utilization",
)
_COST_FIELDS = ("currency_code", "billed", "effective", "list", "contracted")
_COMPONENT_FIELDS = ("meter", "quantity")
_REQUIRED = ("resource_type", "unit")
_ZONED = re.compile(r"\d{4}-\d\d-\d\d[Tt].*(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f]")
_OUTCOMES: dict[object, Outcome] = {
    "OUTCOME_UNSPECIFIED": Outcome.SUCCEEDED,
    "OUTCOME_SUCCEEDED": Outcome.SUCCEEDED,
    "OUTCOME_FAILED": Outcome.FAILED,
    "OUTCOME_PENDING": Outcome.PENDING,
    0: Outcome.SUCCEEDED,
    1: Outcome.SUCCEEDED,
    2: Outcome.FAILED,
    3: Outcome.PENDING,
}
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def _spellings(names: tuple[str, ...]) -> dict[str, str]:
    """Returns each name by its snake_case and its camelCase spelling."""
    spellings = {name: name for name in names}
    for name in names:
        first, *rest = name.split("_")
        spellings[first + "".join(word.capitalize() for word in rest)] = name
    return spellings


_EVENT_SPELLINGS = _spellings(EVENT_FIELDS)
_COST_SPELLINGS = _spellings(_COST_FIELDS)
_COMPONENT_SPELLINGS = _spellings(_COMPONENT_FIELDS)


def event_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an event's fields by their snake_case names, without those that are null.

    Raises RowProblem for a field that the contract does not have, or that comes twice.
    """
    return _fields(document, _EVENT_SPELLINGS, "")


def event_of(fields: Mapping[str, Any], *, source: str, tenant_id: str) -> UsageEvent:
    """Returns the event of these fields. Raises RowProblem.

    source: of events that name none. tenant_id: the importing tenant; an event may name no other.
    """
    if fields.get("tenant_id", "") not in ("", tenant_id):
        raise RowProblem("tenant_id", "is not the tenant that imports")
    cost, currency_code = _cost(fields.get("cost"))
    quantity = _decimal(fields.get("quantity"), "quantity")
    if quantity < 0 and cost is None:
        raise RowProblem("quantity", "must be zero or more unless the event brings its cost")
    start_at = _instant(fields.get("start_time"), "start_time")
    end_at = _instant(fields["end_time"], "end_time") if "end_time" in fields else start_at
    if end_at < start_at:
        raise RowProblem("end_time", "must not be before start_time")
    return UsageEvent(
        source=_name(fields.get("source") or source, "source", SOURCE_LENGTH_MAX),
        event_id=_name(fields.get("event_id"), "event_id", EVENT_ID_LENGTH_MAX),
        start_at=start_at,
        end_at=end_at,
        attributes=_attributes(fields, currency_code),
        quantity=quantity,
        components=_components(fields.get("components")),
        cost=cost,
        outcome=_outcome(fields.get("outcome")),
        error_code=_text(fields.get("error_code"), "error_code", ERROR_CODE_LENGTH_MAX),
        retries=_whole(fields.get("retries", 0), "retries", RETRIES_MAX),
        latency_ms=_optional_latency(fields.get("latency_ms")),
        capacity=_optional_capacity(fields.get("capacity")),
        utilization=_optional_share(fields.get("utilization")),
    )


def _fields(document: object, spellings: Mapping[str, str], parent: str) -> dict[str, Any]:
    if not isinstance(document, Mapping):
        raise RowProblem(parent.rstrip("."), "is not a JSON object")
    fields: dict[str, Any] = {}
    for key, value in document.items():
        name = spellings.get(key)
        if name is None:
            raise RowProblem(f"{parent}{key[:60]}", "is not a field of the contract")
        if name in fields:
            raise RowProblem(f"{parent}{name}", "is given in both spellings")
        if value is not None:
            fields[name] = value
    return fields


def _attributes(fields: Mapping[str, Any], currency_code: str) -> Attributes:
    texts = {name: _text(fields.get(name), name, limit) for name, limit in LENGTHS_MAX.items()}
    for name in _REQUIRED:
        if not texts[name]:
            raise RowProblem(name, "has no value, and must have one")
    return Attributes(currency_code=currency_code, tags=_tags(fields.get("tags")), **texts)


def _text(value: object, field: str, limit: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowProblem(field, "is not a text")
    return bounded(value, field, limit)


def _name(value: object, field: str, limit: int) -> str:
    text = _text(value, field, limit)
    if not text:
        raise RowProblem(field, "has no value, and must have one")
    if _CONTROL.search(text):
        raise RowProblem(field, "holds a control character")
    return text


def _instant(value: object, field: str) -> datetime:
    if not isinstance(value, str) or not _ZONED.fullmatch(value):
        raise RowProblem(field, "is not a time in RFC 3339 such as 2026-01-31T12:00:00Z")
    return instant(value.upper(), field)


def _decimal(value: object, field: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise RowProblem(field, "is not a decimal such as 12.5")
    return number(str(value), field)


def _non_negative(value: object, field: str) -> Decimal:
    amount = _decimal(value, field)
    if amount < 0:
        raise RowProblem(field, "must be zero or more")
    return amount


def _whole(value: object, field: str, limit: int) -> int:
    text = str(value)
    if isinstance(value, bool) or not _WHOLE.fullmatch(text) or not 0 <= int(text) <= limit:
        raise RowProblem(field, f"is not a whole number from 0 to {limit}")
    return int(text)


def _outcome(value: object) -> Outcome:
    if value is None:
        return Outcome.SUCCEEDED
    outcome = _OUTCOMES.get(value) if type(value) in (str, int) else None
    if outcome is None:
        raise RowProblem("outcome", "is not one of OUTCOME_SUCCEEDED, _FAILED and _PENDING")
    return outcome


def _components(value: object) -> tuple[tuple[str, Decimal], ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > COMPONENTS_MAX:
        raise RowProblem("components", f"is not a list of at most {COMPONENTS_MAX}")
    components: dict[str, Decimal] = {}
    for index, item in enumerate(value):
        parent = f"components[{index}]."
        fields = _fields(item, _COMPONENT_SPELLINGS, parent)
        meter = _text(fields.get("meter"), f"{parent}meter", METER_LENGTH_MAX)
        if not meter or meter in components:
            raise RowProblem("components", "must name each meter once")
        components[meter] = _non_negative(fields.get("quantity"), f"{parent}quantity")
    return tuple(components.items())


def _cost(value: object) -> tuple[Costs | None, str]:
    if value is None:
        return None, ""
    fields = _fields(value, _COST_SPELLINGS, "cost.")
    billed = _decimal(fields.get("billed"), "cost.billed")
    try:
        money = Money(_text(fields.get("currency_code"), "cost.currency_code", 16), billed)
    except InvalidCurrency as error:
        raise RowProblem("cost.currency_code", error.message) from error
    others = (
        _decimal(fields[name], f"cost.{name}") if name in fields else billed
        for name in _COST_FIELDS[2:]
    )
    return Costs(billed, *others), money.currency_code


def _tags(value: object) -> Tags:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise RowProblem("tags", "is not a JSON object")
    if not all(isinstance(item, str) for item in value.values()):
        raise RowProblem("tags", "has a value that is not a text")
    return checked_tags(value.items(), "tags")


def _optional_latency(value: object) -> int | None:
    return None if value is None else _whole(value, "latency_ms", LATENCY_MS_MAX)


def _optional_capacity(value: object) -> Decimal | None:
    return None if value is None else _non_negative(value, "capacity")


def _optional_share(value: object) -> float | None:
    if value is None:
        return None
    share = _decimal_share(value)
    if not 0 <= share <= UTILIZATION_MAX:
        raise RowProblem("utilization", f"is not a share from 0 to {UTILIZATION_MAX}")
    return float(share)


def _decimal_share(value: object) -> Decimal:
    """Reads a binary fraction: its digits beyond the eighteenth do not matter."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise RowProblem("utilization", "is no share of the capacity")
    return rounded_number(str(value), "utilization")
