"""Short ways to write prices and events in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from services.usage.domain.event import Attributes, Outcome, UsageEvent
from services.usage.domain.price import Price, Tier

RECORDED = datetime(2025, 1, 1, tzinfo=UTC)
NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)  # a Monday


def tier(up_to: str, unit_price: str, flat_fee: str = "0") -> Tier:
    """Writes a tier; up_to "" is open."""
    return Tier(Decimal(up_to) if up_to else None, Decimal(unit_price), Decimal(flat_fee))


def price(unit_price: str = "1", **changes: Any) -> Price:
    """Writes a price per unit of machine hours, changed as named."""
    fields: dict[str, Any] = {
        "price_id": "p",
        "price_book_id": "book",
        "resource_type": "vm",
        "meter": "hour",
        "currency_code": "USD",
        "tiers": (tier("", unit_price),),
        "recorded_at": RECORDED,
    }
    return Price(**(fields | changes))


def token_price(meter: str, per_million: str, **changes: Any) -> Price:
    """Writes a price per million tokens of one meter."""
    fields = {"resource_type": "llm", "meter": meter, "per": Decimal(1_000_000), "price_id": meter}
    return price(per_million, **(fields | changes))


def attributes(**changes: Any) -> Attributes:
    """Writes the attributes of a machine; the currency is left to the prices."""
    fields = {"resource_type": "vm", "unit": "hour", "currency_code": ""}
    return Attributes(**(fields | changes))


def event(
    quantity: str = "1",
    *,
    at: datetime = NOON,
    hours: float = 0,
    components: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    outcome: Outcome = Outcome.SUCCEEDED,
    **of: Any,
) -> UsageEvent:
    """Writes an event of some attributes; components by meter."""
    pairs = components.items() if isinstance(components, Mapping) else components
    return UsageEvent(
        source="test",
        event_id="1",
        start_at=at,
        end_at=at + timedelta(hours=hours),
        attributes=attributes(**of),
        quantity=Decimal(quantity),
        components=tuple((meter, Decimal(amount)) for meter, amount in pairs),
        outcome=outcome,
    )
