"""Usage as billing meters it: hours of dimensions, and which charge of a plan takes which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from services.billing.domain.charges import UsageSum
from services.billing.domain.plan import PlanCharge, PlanRates
from services.kernel.filter import evaluate, parse_filter
from services.kernel.filter.syntax import Expression
from services.kernel.money import add_exactly
from services.kernel.period import Period

# What a charge can group its lines by, and the field of UsageSum that bears it.
_GROUPS: Mapping[str, tuple[str, str]] = {
    "department": ("department", "department_id"),
    "project": ("project", "project"),
    "resource_type": ("resource_type", "resource_type"),
    "resource_id": ("resource_id", "resource_id"),
    "user": ("user_id", "user_id"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """Attributes that usage is metered by. dimension_id: the usage service's own."""

    dimension_id: str
    resource_type: str
    unit: str
    currency_code: str
    user_id: str = ""
    department: str = ""
    project: str = ""
    resource_id: str = ""
    service: str = ""
    service_category: str = ""
    provider: str = ""
    region: str = ""
    sub_account_id: str = ""
    charge_category: str = ""
    tags: Mapping[str, str]

    def values(self) -> dict[str, object]:
        """Returns what the filter of a charge sees."""
        return {
            "resource_type": self.resource_type,
            "resource_id": self.resource_id,
            "service": self.service,
            "provider": self.provider,
            "region": self.region,
            "project": self.project,
            "department": self.department,
            "tags": self.tags,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """A change of usage, or a sum of them; negative where usage was taken back."""

    quantity: Decimal
    cost: Decimal
    events: int
    unpriced_events: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageChange:
    """One change of the cost feed. hour_at: when the usage happened."""

    hour_at: datetime
    dimension: Dimension
    metered: Metered
    recorded_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageGroup:
    """Usage of one sort, as billing and the usage service both name it."""

    resource_type: str
    unit: str
    service: str
    provider: str
    currency_code: str


def total_of(parts: Iterable[Metered]) -> Metered:
    """Returns the exact sum."""
    parts = list(parts)
    return Metered(
        quantity=add_exactly(part.quantity for part in parts),
        cost=add_exactly(part.cost for part in parts),
        events=sum(part.events for part in parts),
        unpriced_events=sum(part.unpriced_events for part in parts),
    )


def hour_of(instant: datetime) -> datetime:
    """Returns the first instant of the UTC hour, the finest that usage is metered by."""
    return instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def metered_period(period: Period) -> Period | None:
    """Returns the hours that count to a period: an hour cut by its edge counts to what begins.

    None where the period is so short that it has no hour of its own.
    """
    start, end = hour_of(period.start), hour_of(period.end)
    return Period(start, end) if start < end else None


class ChargeMatcher:
    """Knows which charge takes which usage: the first whose filter and unit match."""

    def __init__(self, rates: PlanRates) -> None:
        """Takes the plan's prices. Raises InvalidFilter."""
        self._charges: list[tuple[PlanCharge, Expression]] = [
            (charge, parse_filter(charge.filter)) for charge in rates.charges
        ]

    def charge_of(self, dimension: Dimension) -> PlanCharge | None:
        """Returns the charge, None where the plan charges nothing for it."""
        values = dimension.values()
        for charge, expression in self._charges:
            if charge.unit not in ("", dimension.unit) or charge.meter not in ("", dimension.unit):
                continue
            if not charge.filter or evaluate(expression, values):
                return charge
        return None

    def sums(
        self,
        metered: Sequence[tuple[Dimension, Metered]],
        period: Period,
        *,
        is_free: bool = False,
    ) -> list[tuple[UsageSum, list[tuple[Dimension, Metered]]]]:
        """Returns a period's usage by charge and group, each with what it is made of.

        period: becomes that of the lines. Usage that no charge takes is left out: it is free.
        """
        parted: dict[tuple[str, str, str, str], list[tuple[Dimension, Metered]]] = {}
        charges: dict[str, PlanCharge] = {}
        for dimension, amount in metered:
            charge = self.charge_of(dimension)
            if charge is None:
                continue
            charges[charge.charge_id] = charge
            attribute = _GROUPS.get(charge.group_by)
            group = str(getattr(dimension, attribute[0])) if attribute else ""
            key = (charge.charge_id, group, dimension.unit, dimension.currency_code)
            parted.setdefault(key, []).append((dimension, amount))
        return [
            (_sum(charges[key[0]], key, members, period, is_free=is_free), members)
            for key, members in sorted(parted.items())
        ]


def _sum(
    charge: PlanCharge,
    key: tuple[str, str, str, str],
    members: Sequence[tuple[Dimension, Metered]],
    period: Period,
    *,
    is_free: bool,
) -> UsageSum:
    _, group, unit, currency_code = key
    total = total_of(amount for _, amount in members)
    attribute = _GROUPS.get(charge.group_by)
    return UsageSum(
        charge_id=charge.charge_id,
        period=period,
        quantity=total.quantity,
        unit=unit,
        cost=total.cost,
        cost_currency=currency_code,
        event_count=total.events,
        is_free=is_free,
        **({attribute[1]: group} if attribute else {}),
    )
