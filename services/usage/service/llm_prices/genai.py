"""Reads the public prices that the `genai_prices` package carries.

Context of a request that changes its price (batch, priority and flex processing) is no attribute of
usage and is left out: prices are those of standard processing. A price per request applies to the
meter `request`, which the reporter has to send.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

from services.usage.service.llm_prices.catalogue import (
    DAY_MINUTES,
    WHOLE_WEEK,
    Catalogue,
    CatalogueBook,
    Entry,
    MeterPrice,
    TimedAmount,
    build,
)

BOOK_ID = "public-llm-prices"
SOURCE = "genai_prices"
PROVIDER_CACHE_MAX = 1024  # distinct spellings of a few dozen providers

_METERS = {
    "cache_read_tokens": "cached_input_token",
    "cache_write_tokens": "cache_write_token",
    "cache_write_5m_tokens": "cache_write_5m_token",
    "cache_write_1h_tokens": "cache_write_1h_token",
    "cache_audio_read_tokens": "cached_input_audio_token",
    "cache_image_read_tokens": "cached_input_image_token",
    "output_reasoning_tokens": "reasoning_token",
}
# A model called free has no prices in the package; without one it would cost what its maker takes.
_FREE = {meter: MeterPrice(Decimal(0)) for meter in ("input_token", "output_token")}
_DIGIT = "[0-9]"
# What the package's patterns are made of: an escaped character, digits, a set of two, a letter.
_PIECE = re.compile(r"\\d\{(\d)\}|(\\d)|\\(.)|\[(-@)\]|([\w/-])", re.ASCII)


def load(recorded_at: datetime, *, price_book_id: str = BOOK_ID, tenant_id: str = "") -> Catalogue:
    """Returns the prices of every model the package knows, now and in the past, in USD.

    A model's names are the id and every name the package matches to it, patterns as shell
    patterns. Where a model is named without a provider, the price of the maker holds, whom the
    package takes too; so it does for a provider without a price of its own for that model.
    Takes about a second.
    """
    # Imported here: the package's tables take 13 MB that a process without imports need not hold.
    from genai_prices.data import providers  # noqa: PLC0415

    skipped: list[str] = []
    entries: list[Entry] = []
    makers = [(provider.id, provider.model_match) for provider in providers]
    for provider in providers:
        for model in provider.models:
            own_id = [glob.escape(model.id)] if model.is_match(model.id) else []
            found = [*own_id, *_names(model.match)]
            names = tuple(dict.fromkeys(name.lower() for name in found))
            meters_by_period = list(_periods(model.prices))
            if not any(meters for _, _, meters in meters_by_period):
                if not model.id.endswith("free"):
                    skipped.append(f"{provider.id} {model.id}: no price")
                    continue
                meters_by_period = [(None, None, _FREE)]
            own = tuple(name for name in names if _is_maker(provider.id, name, makers))
            for start, end, meters in meters_by_period:
                key = f"{provider.id} {model.id}"
                entries.append(Entry(key, provider.id, names, meters, start, end))
                if own:
                    entries.append(Entry(key, "", own, meters, start, end))
    return build(entries, CatalogueBook(price_book_id, recorded_at, tenant_id), skipped)


@lru_cache(maxsize=PROVIDER_CACHE_MAX)
def canonical_provider(provider: str) -> str:
    """Returns the package's id of a provider, such as `google` for `gcp.vertex_ai`.

    A provider it does not know is returned as it is.
    """
    from genai_prices.data_snapshot import find_provider_by_id, get_snapshot  # noqa: PLC0415

    found = find_provider_by_id(get_snapshot().providers, provider) if provider else None
    return found.id if found is not None else provider


def _is_maker(provider_id: str, name: str, makers: Sequence[tuple[str, Any]]) -> bool:
    """Tells whether the package takes this provider for a model named alone."""
    text = re.sub(r"\[(.)[^]]*\]", r"\1", name).strip("*").lower()
    # What a pattern leaves open in front must not change the answer.
    examples = [text, f"any-{text}"] if name.startswith("*") else [text]
    return all(
        next((found for found, match in makers if match and match.is_match(example)), "")
        == provider_id
        for example in examples
    )


def _names(clause: Any) -> Iterator[str]:
    """Yields the shell patterns that a clause of the package stands for."""
    match type(clause).__name__:
        case "ClauseEquals":
            yield glob.escape(clause.equals)
        case "ClauseStartsWith":
            yield glob.escape(clause.starts_with) + "*"
        case "ClauseEndsWith":
            yield "*" + glob.escape(clause.ends_with)
        case "ClauseContains":
            yield "*" + glob.escape(clause.contains) + "*"
        case "ClauseOr":
            for part in clause.or_:
                yield from _names(part)
        case "ClauseAnd":
            # Each is a prefix without speech models, which have longer names of their own.
            yield from _names(clause.and_[0])
        case "ClauseRegex":
            yield from _patterns(clause.regex)


def _patterns(regex: str) -> Iterator[str]:
    """Yields shell patterns that match what a regular expression of the package matches."""
    optional = re.fullmatch(r"\^(?:\((.*?)\)\?)?(.*?)(?:\((.*?)\)\?)?(\$?)", regex)
    if optional is None:
        return
    before, middle, after, end = optional.groups()
    for prefix in {before or "", ""}:
        for suffix in {after or "", ""}:
            pattern = _pattern(prefix + middle + suffix)
            if pattern:
                yield pattern if end else pattern + "*"


def _pattern(regex: str) -> str:
    pieces, position = [], 0
    while position < len(regex):
        piece = _PIECE.match(regex, position)
        if piece is None:
            return ""
        count, digit, escaped, two, letter = piece.groups()
        if count or digit:
            pieces.append(_DIGIT * int(count or 1))
        else:
            pieces.append(f"[{two}]" if two else glob.escape(escaped or letter))
        position = piece.end()
    return "".join(pieces)


_Period = tuple[datetime | None, datetime | None, dict[str, MeterPrice]]


def _periods(prices: Any) -> Iterator[_Period]:
    """Yields the prices of a model by the period they hold in, in order of time.

    The last condition of a list that is met holds; where none is, the first does.
    """
    conditions = prices if isinstance(prices, list) else [_Always(prices)]
    if not conditions:
        return
    dates: list[date] = sorted(
        {each.start_date for each in map(_constraint, conditions) if hasattr(each, "start_date")}
    )
    starts = [None, *(datetime.combine(day, time.min, tzinfo=UTC) for day in dates)]
    ends = [*starts[1:], None]
    for start, end in zip(starts, ends, strict=True):
        base = 0
        for place, condition in enumerate(conditions):
            is_dated = _kind(condition) == "StartDateConstraint"
            began = is_dated and start is not None and condition.constraint.active(start)
            if _kind(condition) == "NoneType" or began:
                base = place
        timed = [c for c in conditions[base + 1 :] if _kind(c) == "TimeOfDateConstraint"]
        yield start, end, _meters(conditions[base].prices, timed)


class _Always:
    """A condition that is always met."""

    constraint = None

    def __init__(self, prices: Any) -> None:
        self.prices = prices


def _constraint(condition: Any) -> Any:
    return condition.constraint


def _kind(condition: Any) -> str:
    return type(condition.constraint).__name__


def _meters(prices: Any, timed: Sequence[Any]) -> dict[str, MeterPrice]:
    from genai_prices.units import UnitRegistry  # noqa: PLC0415

    units = _units(UnitRegistry)
    meters = {}
    for key, value in vars(prices).items():
        if value is None or key not in units:
            continue
        meter, per = units[key]
        meters[meter] = MeterPrice(
            amount=getattr(value, "base", value),
            per=per,
            above=tuple((Decimal(tier.start), tier.price) for tier in getattr(value, "tiers", ())),
            timed=tuple(_timed(key, reversed(timed))),
        )
    return meters


def _timed(key: str, conditions: Iterable[Any]) -> Iterator[TimedAmount]:
    for condition in conditions:
        amount = getattr(condition.prices, key)
        if amount is None:
            continue
        start, end = (
            moment.hour * 60 + moment.minute
            for moment in (condition.constraint.start_time, condition.constraint.end_time)
        )
        if start < end:
            yield TimedAmount(WHOLE_WEEK, start, end, amount)
        else:
            yield TimedAmount(WHOLE_WEEK, start, DAY_MINUTES, amount)
            if end:
                yield TimedAmount(WHOLE_WEEK, 0, end, amount)


@lru_cache(maxsize=1)
def _units(registry: Any) -> dict[str, tuple[str, Decimal]]:
    """Returns the meter and the number of units by the package's price key."""
    from genai_prices.data_units import unit_data  # noqa: PLC0415

    return {
        unit.price_key: (_meter(unit.usage_key), Decimal(unit.per))
        for unit in registry(unit_data).units.values()
    }


def _meter(usage_key: str) -> str:
    """Returns the singular: `web_search` for `web_searches`."""
    named = _METERS.get(usage_key)
    return named or usage_key.removesuffix("es" if usage_key.endswith("ches") else "s")
