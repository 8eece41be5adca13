"""Reads litellm's price catalogue, a JSON object of models with prices in USD a unit."""

from __future__ import annotations

import glob
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeGuard

from services.kernel.errors import InvalidArgument
from services.kernel.money import EXACT
from services.usage.service.llm_prices.catalogue import (
    DAY_MINUTES,
    TOKENS_PER_PRICE,
    WHOLE_WEEK,
    Catalogue,
    CatalogueBook,
    Entry,
    MeterPrice,
    TimedAmount,
    build,
)

CONTENT_BYTES_MAX = 64 * 1024 * 1024  # unpacked; the newest catalogue has 3 MB

_GZIP_HEADER = 16  # asks zlib for a gzip header
_GZIP = b"\x1f\x8b"
_EXAMPLE = "sample_spec"
_METERS = {
    "input_cost_per_token": "input_token",
    "output_cost_per_token": "output_token",
    "cache_read_input_token_cost": "cached_input_token",
    "cache_creation_input_token_cost": "cache_write_token",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_token",
    "output_cost_per_reasoning_token": "reasoning_token",
    "input_cost_per_audio_token": "input_audio_token",
    "output_cost_per_audio_token": "output_audio_token",
    "cache_read_input_audio_token_cost": "cached_input_audio_token",
    "input_cost_per_image_token": "input_image_token",
    "output_cost_per_image_token": "output_image_token",
    "cache_read_input_image_token_cost": "cached_input_image_token",
    "input_cost_per_video_token": "input_video_token",
    "output_cost_per_video_token": "output_video_token",
    "input_cost_per_character": "input_character",
    "output_cost_per_character": "output_character",
    "input_cost_per_image": "input_image",
    "output_cost_per_image": "output_image",
    "input_cost_per_second": "input_second",
    "output_cost_per_second": "output_second",
    "input_cost_per_query": "query",
    "input_cost_per_request": "request",
    "ocr_cost_per_page": "document_page",
}
_THRESHOLD = re.compile(r"(?P<key>\w+?)_above_(?P<thousands>\d+)k_tokens", re.ASCII)
_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)


class InvalidCatalogue(InvalidArgument):
    """A price catalogue is a JSON object of models, plain or gzip, of at most 64 MiB."""

    reason = "INVALID_CATALOGUE"


def load(
    content: bytes,
    book: CatalogueBook,
    *,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
) -> Catalogue:
    """Returns the prices of a catalogue, which hold in the period given (None is open).

    A key is the model's name with any provider's prefix it is called with, so its price holds for
    every provider. Numbers are read as exact decimals. Raises InvalidCatalogue.
    """
    entries, skipped = [], []
    for name, fields in _models(content).items():
        if name == _EXAMPLE:
            continue
        meters = dict(_meters(fields)) if isinstance(fields, dict) else {}
        if meters:
            entries.append(Entry(name, "", (glob.escape(name),), meters, start_at, end_at))
        else:
            skipped.append(f"{name}: no price for a known meter")
    return build(entries, book, skipped)


def _models(content: bytes) -> dict[str, Any]:
    try:
        text = _unpacked(content) if content.startswith(_GZIP) else content
        models = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError, zlib.error) as error:
        raise InvalidCatalogue(f"not a JSON catalogue: {error}") from error
    if not isinstance(models, dict):
        raise InvalidCatalogue
    return models


def _unpacked(content: bytes) -> bytes:
    text = zlib.decompressobj(zlib.MAX_WBITS | _GZIP_HEADER).decompress(
        content, CONTENT_BYTES_MAX + 1
    )
    if len(text) > CONTENT_BYTES_MAX:
        raise InvalidCatalogue
    return text


def _meters(fields: Mapping[str, Any]) -> Iterator[tuple[str, MeterPrice]]:
    tiers = _tiers(fields)
    hours = fields.get("off_peak_pricing")
    for key, meter in _METERS.items():
        steps = tiers.get(key, {})
        amount = steps.get(Decimal(0), fields.get(key))
        if not _is_amount(amount):
            continue
        per = TOKENS_PER_PRICE if meter.endswith("_token") else Decimal(1)
        above = [(edge, EXACT.multiply(steps[edge], per)) for edge in sorted(steps) if edge]
        timed = tuple(_timed(hours, key, per)) if isinstance(hours, dict) and not above else ()
        yield meter, MeterPrice(EXACT.multiply(amount, per), per, tuple(above), timed)


def _tiers(fields: Mapping[str, Any]) -> dict[str, dict[Decimal, Decimal]]:
    """Returns by key the amounts that hold beyond a prompt length."""
    tiers: dict[str, dict[Decimal, Decimal]] = {}
    for name, amount in fields.items():
        match = _THRESHOLD.fullmatch(name)
        if match is not None and _is_amount(amount):
            tiers.setdefault(match["key"], {})[Decimal(match["thousands"]) * 1000] = amount
    steps = fields.get("tiered_pricing")
    for step in steps if isinstance(steps, list) else ():
        edge = next(iter(step.get("range") or ()), None)  # steps by number of results have none
        if not _is_amount(edge):
            continue
        for key in _METERS.keys() & step.keys():
            tiers.setdefault(key, {})[edge] = step[key]
    return tiers


def _timed(hours: Mapping[str, Any], key: str, per: Decimal) -> Iterator[TimedAmount]:
    amount = hours.get(key)
    if not _is_amount(amount):
        return
    for window in hours.get("windows", ()):
        days = frozenset(int(day) for day in window.get("weekdays", ())) or WHOLE_WEEK
        texts = window.get("hours_utc", ())
        for text in [texts] if isinstance(texts, str) else texts:
            match = _HOURS.fullmatch(text)
            if match is not None:
                start, end = (int(match[at]) * 60 + int(match[at + 1]) for at in (1, 3))
                yield TimedAmount(days, start, end or DAY_MINUTES, EXACT.multiply(amount, per))


def _is_amount(value: object) -> TypeGuard[Decimal]:
    return isinstance(value, Decimal) and value.is_finite() and value >= 0
