"""What loading a catalogue changes in a price book: pure, so that it can be tested alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.usage.domain.price import Price, match_key, require_no_overlap


@dataclass(slots=True)
class PriceChange:
    """superseded: rows that stand no longer. added: rows to add, those with a new end included.

    created: prices that are new or differ. unchanged: prices that held already.
    """

    superseded: list[Price] = field(default_factory=list)
    added: list[Price] = field(default_factory=list)
    created: int = 0
    unchanged: int = 0


def from_then_on(prices: Iterable[Price], start_at: datetime | None) -> list[Price]:
    """Returns the prices cut to what holds from an instant on; None leaves them as they are."""
    if start_at is None:
        return list(prices)
    return [
        replace(price, effective_start_at=max(price.start_at, start_at))
        for price in prices
        if price.end_at > start_at
    ]


def load_change(current: Iterable[Price], loaded: Iterable[Price], at: datetime) -> PriceChange:
    """Returns what brings a book's current prices to those loaded.

    A price that holds already through the whole time is unchanged. One that differs ends what held
    from its start on. Raises PriceOverlap where two loaded prices exclude each other.
    """
    wanted = list(loaded)
    require_no_overlap(wanted)
    change = PriceChange()
    standing: dict[tuple[str, ...], list[Price]] = defaultdict(list)
    for price in current:
        standing[match_key(price)].append(price)
    stored = {id(price) for prices in standing.values() for price in prices}
    for price in sorted(wanted, key=lambda price: (price.start_at, price.price_id)):
        held = standing[match_key(price)]
        if any(_holds_already(other, price) for other in held):
            change.unchanged += 1
            continue
        change.created += 1
        kept = []
        for other in held:
            if other.end_at <= price.start_at or price.end_at <= other.start_at:
                kept.append(other)
                continue
            if id(other) in stored:
                change.superseded.append(other)
            if other.start_at < price.start_at:
                kept.append(
                    replace(other, effective_end_at=price.effective_start_at, recorded_at=at)
                )
        standing[match_key(price)] = [*kept, replace(price, recorded_at=at)]
    change.added = [
        price for prices in standing.values() for price in prices if id(price) not in stored
    ]
    return change


def _holds_already(held: Price, price: Price) -> bool:
    covers = held.start_at <= price.start_at and price.end_at <= held.end_at
    return covers and _value(held) == _value(price)


def _value(price: Price) -> tuple[object, ...]:
    return (
        price.currency_code,
        price.model,
        price.tiers,
        price.per,
        price.peak_schedule_id,
        price.charge_on,
        price.threshold_meters,
    )
