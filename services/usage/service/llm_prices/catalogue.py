"""What both catalogues have in common: entries in, prices and peak schedules out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from services.kernel.money import EXACT
from services.usage.domain.peak import (
    SLOT_MINUTES,
    InvalidPeakSchedule,
    PeakSchedule,
    PeakWindow,
)
from services.usage.domain.price import Price, PricingModel, Tier

RESOURCE_TYPE = "llm"
CURRENCY = "USD"
TOKENS_PER_PRICE = Decimal(1_000_000)
WHOLE_WEEK = frozenset(range(1, 8))
DAY_MINUTES = 24 * 60

# The quantities that make up the prompt; its length chooses the tier of long-context prices.
PROMPT_METERS = (
    "input_token",
    "cached_input_token",
    "cache_write_token",
    "cache_write_1h_token",
    "input_audio_token",
    "cached_input_audio_token",
    "input_image_token",
    "cached_input_image_token",
    "input_video_token",
)
# Where a model has no price for the part, it charges it like the whole.
_PART_OF = {"cached_input_token": "input_token", "reasoning_token": "output_token"}


class TimedAmount(NamedTuple):
    """A price of some hours of some weekdays in UTC; minutes after midnight, half-open."""

    weekdays: frozenset[int]
    start_minute: int
    end_minute: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class MeterPrice:
    """The price of one meter.

    amount: in USD for `per` units. above: (prompt length, amount for all units beyond it), rising.
    timed: where two overlap the earlier wins; outside all of them `amount` holds.
    """

    amount: Decimal
    per: Decimal = TOKENS_PER_PRICE
    above: tuple[tuple[Decimal, Decimal], ...] = ()
    timed: tuple[TimedAmount, ...] = ()


class Entry(NamedTuple):
    """A model's prices in one period. names: its id and aliases, exact or shell patterns."""

    model: str
    provider: str
    names: tuple[str, ...]
    meters: Mapping[str, MeterPrice]
    start_at: datetime | None = None
    end_at: datetime | None = None


@dataclass(slots=True)
class Catalogue:
    """Prices ready for a book. skipped: entries that hold nothing that can be applied, and why."""

    prices: list[Price] = field(default_factory=list)
    schedules: dict[str, PeakSchedule] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


class CatalogueBook(NamedTuple):
    """The book that a catalogue is loaded into; tenant_id "" is for every tenant."""

    price_book_id: str
    recorded_at: datetime
    tenant_id: str = ""


def build(entries: Iterable[Entry], book: CatalogueBook, skipped: Iterable[str] = ()) -> Catalogue:
    """Returns the prices of all entries, in order; ids depend on what a price applies to alone.

    Where two models have one name at a provider, it means the earlier one.
    """
    catalogue = Catalogue(skipped=list(skipped))
    owners: dict[tuple[str, str], str] = {}
    for entry in entries:
        meters = _with_parts(entry.meters)
        for name in entry.names:
            if owners.setdefault((entry.provider, name.lower()), entry.model) != entry.model:
                continue
            for meter, meter_price in meters.items():
                try:
                    schedule_id, amount = _schedule(meter_price, catalogue)
                except InvalidPeakSchedule as error:
                    catalogue.skipped.append(f"{name} {meter}: {error.message}")
                    continue
                catalogue.prices.append(
                    Price(
                        price_id=_price_id(book, entry, name, meter),
                        price_book_id=book.price_book_id,
                        tenant_id=book.tenant_id,
                        resource_type=RESOURCE_TYPE,
                        meter=meter,
                        provider=entry.provider,
                        resource_id=name,
                        currency_code=CURRENCY,
                        model=PricingModel.VOLUME if meter_price.above else PricingModel.PER_UNIT,
                        tiers=_tiers(amount, meter_price),
                        threshold_meters=PROMPT_METERS if meter_price.above else (),
                        per=meter_price.per,
                        effective_start_at=entry.start_at,
                        effective_end_at=entry.end_at,
                        peak_schedule_id=schedule_id,
                        recorded_at=book.recorded_at,
                    )
                )
    return catalogue


def _with_parts(meters: Mapping[str, MeterPrice]) -> dict[str, MeterPrice]:
    """Adds a price for every part that the model charges like the whole."""
    completed = dict(meters)
    for part, whole in _PART_OF.items():
        if whole in meters:
            completed.setdefault(part, meters[whole])
    return completed


def _price_id(book: CatalogueBook, entry: Entry, name: str, meter: str) -> str:
    start = entry.start_at.isoformat() if entry.start_at else ""
    text = f"{book.price_book_id}\0{entry.provider}\0{name.lower()}\0{meter}\0{start}"
    return f"{RESOURCE_TYPE}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _tiers(amount: Decimal, price: MeterPrice) -> tuple[Tier, ...]:
    edges = [edge for edge, _ in price.above]
    amounts = [amount, *(beyond for _, beyond in price.above)]
    return tuple(Tier(edge, each) for edge, each in zip([*edges, None], amounts, strict=True))


def _schedule(price: MeterPrice, catalogue: Catalogue) -> tuple[str, Decimal]:
    """Returns the id of the schedule for a price's hours, and the amount it multiplies.

    Where an hour's price is no exact multiple of the usual one, the amount is 1 and the
    multipliers are the prices themselves.
    """
    if not price.timed:
        return "", price.amount
    windows = _multiples(price)
    amount = price.amount
    if windows is None:
        amount = Decimal(1)
        always = TimedAmount(WHOLE_WEEK, 0, DAY_MINUTES, price.amount)
        windows = tuple(PeakWindow(*timed) for timed in (*price.timed, always))
    content = repr(
        [(sorted(w.weekdays), w.start_minute, w.end_minute, w.multiplier) for w in windows]
    )
    schedule_id = f"hours-{hashlib.sha256(content.encode()).hexdigest()[:24]}"
    catalogue.schedules.setdefault(schedule_id, PeakSchedule(schedule_id, "UTC", windows))
    return schedule_id, amount


def _multiples(price: MeterPrice) -> tuple[PeakWindow, ...] | None:
    if price.amount == 0 or any(
        minute % SLOT_MINUTES for timed in price.timed for minute in timed[1:3]
    ):
        return None
    windows = []
    for timed in price.timed:
        multiplier = EXACT.divide(timed.amount, price.amount)
        rounded = multiplier.quantize(Decimal("0.000001"), context=EXACT)
        if rounded != multiplier:
            return None
        windows.append(PeakWindow(*timed[:3], rounded.normalize()))
    return tuple(windows)
