"""Events as they are stored: with their costs, revisions and the prices that were applied."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.kernel.errors import FailedPrecondition
from services.kernel.money import EXACT
from services.usage.domain.event import Costs, UsageEvent
from services.usage.domain.price import Price
from services.usage.domain.rate_plan import linear_amount, round_cost, threshold_quantity
from services.usage.domain.rating import RatingLine, metered_quantities

_ZERO = Decimal(0)


class EventVoided(FailedPrecondition):
    """The event was voided; record the usage under another id."""

    reason = "EVENT_VOIDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedLine:
    """One meter's price as it was applied. quantity, amount: of events rated by themselves."""

    meter: str
    price_id: str
    multiplier: Decimal
    quantity: Decimal | None = None
    amount: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One row of an event.

    costs: as stored. applied: the prices, None where the event brought its cost. weight: -1 where
    the row takes the revision back.
    """

    tenant_id: str
    event: UsageEvent
    costs: Costs
    sequence: int
    recorded_at: datetime
    revision: int
    dimension_id: int
    weight: int = 1
    is_voided: bool = False
    is_unpriced: bool = False
    resolved_department: str = ""
    amend_reason: str = ""
    applied: tuple[AppliedLine, ...] | None = None


def rating_lines(stored: StoredEvent, prices: dict[str, Price]) -> list[RatingLine]:
    """Returns how the cost came about, from the prices that were applied.

    prices: by id; a line whose price is no longer known shows its id and amount without unit price.
    """
    if stored.applied is None:
        return []
    meters, quantities = metered_quantities(stored.event)
    by_meter = dict(zip(meters, quantities, strict=True))
    lines = []
    for line in stored.applied:
        quantity = line.quantity if line.quantity is not None else by_meter.get(line.meter, _ZERO)
        price = prices.get(line.price_id)
        unit_price, amount = None, line.amount or _ZERO
        if price is not None and not price.is_stateful:
            threshold = threshold_quantity(price, meters, quantities)
            one = linear_amount(price, Decimal(1), multiplier=Decimal(1), threshold=threshold)
            unit_price = round_cost(one)
            if line.amount is None:
                amount = linear_amount(
                    price, quantity, multiplier=line.multiplier, threshold=threshold
                )
        lines.append(
            RatingLine(
                line.meter, quantity, unit_price, line.multiplier, line.price_id, amount, amount
            )
        )
    return lines


def negated(costs: Costs) -> Costs:
    """Returns the costs that take these back."""
    return Costs(*(EXACT.minus(cost) for cost in costs))
