"""Parts of a period's fee, by the second: what a change credits and charges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from services.billing.domain.charges import net_flat_fee
from services.billing.domain.invoice import ExactLine, LineKind
from services.billing.domain.plan import Discount, PlanRates
from services.kernel.period import Period

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a subscription pays in advance: a plan, a quantity, and what is taken off."""

    plan_id: str
    plan_version: int
    display_name: str
    rates: PlanRates
    quantity: Decimal
    discounts: Sequence[Discount] = ()

    def fee(self, begins_at: datetime) -> Fraction:
        """Returns the fee of a whole period, after the discounts by ratio of what begins then."""
        discounts = (*self.rates.discounts, *self.discounts)
        return net_flat_fee(self.rates, self.quantity, discounts, begins_at)


def whole_second(instant: datetime) -> datetime:
    """Returns the instant without its fraction of a second: periods are cut by the second."""
    return instant.replace(microsecond=0)


def share_of(period: Period, part: Period) -> Fraction:
    """Returns which share of a period a part of it is, by whole seconds.

    Raises ValueError for a part that reaches beyond the period.
    """
    if part.start < period.start or part.end > period.end:
        raise ValueError(f"{part} is not inside {period}")
    whole = whole_second(period.end) - whole_second(period.start)
    used = whole_second(part.end) - whole_second(part.start)
    return Fraction(used // _SECOND, whole // _SECOND)


def unused_share(period: Period, at: datetime) -> Fraction:
    """Returns the share of a period from an instant on: 1 at its start, 0 from its end on."""
    at = max(whole_second(at), period.start)
    return share_of(period, Period(at, period.end)) if at < period.end else Fraction(0)


def change_lines(
    old: Terms | None, new: Terms | None, period: Period, at: datetime
) -> list[ExactLine]:
    """Returns what a change in a period credits and charges: unused old below zero, unused new.

    old, new: None for nothing, as before a subscription's first fee and after its end. Lines
    already hold the terms' discounts, so no discount takes from them again.
    """
    share = unused_share(period, at)
    if not share:
        return []
    part = Period(max(whole_second(at), period.start), period.end)
    lines = []
    # What is given back was charged in advance, by the discounts of the period's start.
    if old is not None and (fee := old.fee(period.start)):
        lines.append(_line(old, -fee * share, part, "Unused time of", "unused"))
    if new is not None and (fee := new.fee(period.start)):
        lines.append(_line(new, fee * share, part, "Remaining time of", "remaining"))
    return lines


def _line(terms: Terms, exact: Fraction, part: Period, words: str, kind: str) -> ExactLine:
    return ExactLine(
        key=f"proration:{kind}:{terms.plan_id}:{terms.plan_version}:{part.start.isoformat()}",
        kind=LineKind.PRORATION,
        description=f"{words} {terms.display_name}",
        exact=exact,
        period=part,
        quantity=terms.quantity,
        unit_price=terms.rates.flat_fee,
        proration_of=f"{terms.plan_id}:{terms.plan_version}",
        is_discountable=False,
    )
