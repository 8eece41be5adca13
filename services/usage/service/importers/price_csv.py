"""Reads prices from CSV with the columns of a price."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from services.kernel.errors import Error, InvalidArgument
from services.kernel.ids import new_id
from services.kernel.money import parse_decimal
from services.usage.domain.price import ChargeOn, Price, PricingModel, Tier
from services.usage.service.llm_prices.catalogue import CatalogueBook

COLUMNS = frozenset(
    {
        "price_id",
        "price_book_id",
        "resource_type",
        "meter",
        "provider",
        "service",
        "region",
        "resource_id",
        "currency_code",
        "model",
        "unit_price",
        "tiers",
        "per_quantity",
        "effective_start_time",
        "effective_end_time",
        "peak_schedule_id",
        "charge_on",
    }
)


class InvalidPriceFile(InvalidArgument):
    """A price file is UTF-8 CSV whose header names columns of a price."""

    reason = "INVALID_PRICE_FILE"


def read_prices(content: bytes, book: CatalogueBook, *, time_zone: str) -> list[Price]:
    """Returns the prices of a file. time_zone: of the months of prices with tiers.

    `tiers` is the JSON of a price's tiers; `unit_price` stands for a single one.
    Raises InvalidPriceFile, which names the row.
    """
    try:
        text = content.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        unknown = set(reader.fieldnames or ()) - COLUMNS
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidPriceFile(f"not a CSV file: {error}") from error
    if unknown or not reader.fieldnames:
        named = ", ".join(sorted(map(repr, unknown))) or "none at all"
        known = ", ".join(sorted(COLUMNS))
        raise InvalidPriceFile(f"the columns {named} are not known; there are {known}")
    prices = []
    for number, row in enumerate(rows, start=2):
        try:
            fields = {key: value or "" for key, value in row.items()}
            prices.append(_price(fields, book, time_zone))
        except (Error, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = error.message if isinstance(error, Error) else str(error)
            raise InvalidPriceFile(f"row {number}: {reason}", row=number) from error
    return prices


def _price(row: Mapping[str, str], book: CatalogueBook, time_zone: str) -> Price:
    return Price(
        price_id=row.get("price_id") or new_id(),
        price_book_id=book.price_book_id,
        tenant_id=book.tenant_id,
        resource_type=row.get("resource_type", ""),
        meter=row.get("meter", ""),
        provider=row.get("provider", ""),
        service=row.get("service", ""),
        region=row.get("region", ""),
        resource_id=row.get("resource_id", ""),
        currency_code=row.get("currency_code", ""),
        model=PricingModel[(row.get("model") or "PER_UNIT").removeprefix("PRICING_MODEL_")],
        tiers=_tiers(row),
        per=parse_decimal(row.get("per_quantity") or "1"),
        effective_start_at=_instant(row.get("effective_start_time", "")),
        effective_end_at=_instant(row.get("effective_end_time", "")),
        peak_schedule_id=row.get("peak_schedule_id", ""),
        charge_on=ChargeOn[(row.get("charge_on") or "SUCCESS_ONLY").removeprefix("CHARGE_ON_")],
        time_zone=time_zone,
        recorded_at=book.recorded_at,
    )


def _tiers(row: Mapping[str, str]) -> tuple[Tier, ...]:
    if not row.get("tiers"):
        return (Tier(None, parse_decimal(row.get("unit_price", ""))),)
    return tuple(
        Tier(
            up_to=parse_decimal(str(tier["up_to"])) if tier.get("up_to") else None,
            unit_price=parse_decimal(str(tier["unit_price"])),
            flat_fee=parse_decimal(str(tier.get("flat_fee") or "0")),
        )
        for tier in json.loads(row["tiers"], parse_float=Decimal)
    )


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text} names no time zone; add Z")
    return instant.astimezone(UTC)
