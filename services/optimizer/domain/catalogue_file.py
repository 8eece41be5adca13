"""Files of instance types: CSV or JSON, one type a row.

Columns: `instance_type`, `vcpus`, `memory_gib`, `hourly_price`; and where they are known `family`,
`provider`, `region`, `gpus`, `gpu_model`, `currency_code`, `reserved_hourly_price`,
`architecture`, `generation` (current or previous), `burstable`, `idle_watts`, `busy_watts`. The
price columns of instances.vantage.sh exports (`linux_on_demand_usd_h`, `linux_reserved_usd_h`)
are taken as US dollars.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from services.optimizer.domain.catalogue import InstanceType, family_of
from services.optimizer.errors import UnreadableFile

PROBLEMS_MAX = 1000
TYPES_MAX = 50_000
_PRICES = ("hourly_price", "linux_on_demand_usd_h")
_RESERVED = ("reserved_hourly_price", "linux_reserved_usd_h")
_ARM = ("graviton", "arm", "ampere", "altra", "axion", "cobalt")


class CatalogueFile(NamedTuple):
    """What a file holds. problems: `row N: why`, at most PROBLEMS_MAX."""

    types: Sequence[InstanceType]
    problems: Sequence[str]


def read_catalogue(content: bytes, *, catalogue_id: str) -> CatalogueFile:
    """Reads a file; a row that cannot be used is named and left out.

    Raises UnreadableFile when it is not text or has no usable row.
    """
    found: dict[tuple[str, str], InstanceType] = {}
    problems: list[str] = []
    for number, row in enumerate(table_rows(content), start=1):
        try:
            one = _type(row, catalogue_id)
        except ValueError as error:
            problems.append(f"row {number}: {error}")
            continue
        found[one.name, one.region] = one
        if len(found) > TYPES_MAX:
            raise UnreadableFile(f"a catalogue has at most {TYPES_MAX} types", limit=TYPES_MAX)
    if not found:
        reason = problems[0] if problems else "it is empty"
        raise UnreadableFile(f"no row of the file can be used: {reason}")
    return CatalogueFile(list(found.values()), problems[:PROBLEMS_MAX])


def table_rows(content: bytes) -> list[dict[str, str]]:
    """Returns the rows of a CSV file with a header, or of a JSON list of objects, as texts.

    Raises UnreadableFile.
    """
    try:
        text = content.decode("utf-8-sig")
        if text.lstrip().startswith(("[", "{")):
            loaded = json.loads(text)
            listed = loaded if isinstance(loaded, list) else loaded.get("instance_types", [])
            return [
                {str(key): "" if value is None else str(value) for key, value in row.items()}
                for row in listed
            ]
        reader = csv.DictReader(io.StringIO(text))
        return [{key: value or "" for key, value in row.items() if key} for row in reader]
    except (UnicodeDecodeError, ValueError, AttributeError, csv.Error) as error:
        raise UnreadableFile(f"the file is neither CSV nor a list in JSON: {error}") from error


def first_of(row: Mapping[str, str], names: Sequence[str]) -> str:
    """Returns the first of some columns that has a value, "" when none has."""
    return next((row[name].strip() for name in names if row.get(name, "").strip()), "")


def number_of(text: str, column: str) -> Decimal:
    """Reads a decimal of zero or more. Raises ValueError."""
    try:
        value = Decimal(text.replace(",", ".") if text.count(",") == 1 else text)
    except InvalidOperation:
        raise ValueError(f"{column} is no number: {text[:40]!r}") from None
    if not value.is_finite() or value < 0:
        raise ValueError(f"{column} must be zero or more, not {text[:40]!r}")
    return value


def _type(row: Mapping[str, str], catalogue_id: str) -> InstanceType:
    name = first_of(row, ("instance_type",))
    if not name:
        raise ValueError("instance_type is empty")
    price = first_of(row, _PRICES)
    if not price:
        raise ValueError(f"{name} has no price")
    reserved = first_of(row, _RESERVED)
    processor = f"{row.get('processor', '')} {row.get('architecture', '')}".lower()
    provider = row.get("provider", "").strip() or catalogue_id.partition("-")[0].upper()
    return InstanceType(
        name=name,
        family=row.get("family", "").strip() or family_of(name),
        provider=provider,
        region=row.get("region", "").strip(),
        vcpus=_positive(row, "vcpus"),
        memory_gib=_positive(row, "memory_gib"),
        hourly_price=number_of(price, "hourly_price"),
        currency_code=row.get("currency_code", "").strip() or "USD",
        gpus=number_of(row.get("gpus", "").strip() or "0", "gpus"),
        gpu_model=row.get("gpu_model", "").strip(),
        reserved_hourly_price=number_of(reserved, "reserved_hourly_price") if reserved else None,
        architecture="arm" if any(word in processor for word in _ARM) else "x86",
        is_current=row.get("generation", "").strip().lower() != "previous",
        is_burstable=row.get("burstable", "").strip().lower() == "true",
        idle_watts=_optional(row, "idle_watts"),
        busy_watts=_optional(row, "busy_watts"),
        catalogue_id=catalogue_id,
    )


def _positive(row: Mapping[str, str], column: str) -> Decimal:
    value = number_of(row.get(column, "").strip() or "0", column)
    if value == 0:
        raise ValueError(f"{column} must be above zero")
    return value


def _optional(row: Mapping[str, str], column: str) -> Decimal | None:
    text = row.get(column, "").strip()
    return number_of(text, column) if text else None
