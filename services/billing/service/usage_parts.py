"""Parts of a billed period, each under one plan, with the usage of it that is ours to price."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.billing.domain.metering import Metered, metered_period, total_of
from services.billing.domain.plan import PlanRates
from services.billing.domain.subscription import Phase
from services.billing.service.routed_usage import RoutedUsage
from services.billing.store import metering
from services.kernel.period import Period
from services.kernel.transaction import Transaction


@dataclass(slots=True)
class UsagePart:
    """Usage of a part of a period under one plan.

    usage: all, or what an invoice has counted of it. late: what came since. may_be_routed: a
    provider may price some of it.
    """

    phase: Phase
    rates: PlanRates
    part: Period
    may_be_routed: bool = False
    usage: dict[str, Metered] = field(default_factory=dict)
    late: dict[str, Metered] = field(default_factory=dict)


async def read_usage(
    tx: Transaction, tenant_id: str, parts: Sequence[UsagePart], routed: RoutedUsage
) -> None:
    """Adds what is metered of the parts' hours and is ours to price."""

    async def read(within: Period) -> dict[str, Metered]:
        return (await metering.usage_of(tx, [(tenant_id, within)]))[0]

    wanted = [(part, hours) for part in parts if (hours := metered_period(part.part)) is not None]
    found = await metering.usage_of(tx, [(tenant_id, hours) for _, hours in wanted])
    for (part, hours), usage in zip(wanted, found, strict=True):
        ours = await routed.ours(tx, hours, usage, read) if part.may_be_routed else usage
        for dimension_id, amount in ours.items():
            add_usage(part.usage, dimension_id, amount)


async def read_billed_late(
    tx: Transaction, tenant_id: str, part: UsagePart, hours: Period, routed: RoutedUsage
) -> None:
    """Adds what came late to an earlier part and is billed already."""

    async def read(within: Period) -> dict[str, Metered]:
        return await metering.billed_late_usage(tx, tenant_id, within)

    billed = await read(hours)
    ours = await routed.ours(tx, hours, billed, read) if part.may_be_routed else billed
    for dimension_id, amount in ours.items():
        add_usage(part.usage, dimension_id, amount)


def part_of(parts: Iterable[UsagePart], hour_at: datetime) -> UsagePart | None:
    """Returns the part that an hour counts to, None for none."""
    for part in parts:
        hours = metered_period(part.part)
        if hours is not None and hour_at in hours:
            return part
    return None


def add_usage(usage: dict[str, Metered], dimension_id: str, amount: Metered) -> None:
    """Adds an amount to what there is of its dimension."""
    known = usage.get(dimension_id)
    usage[dimension_id] = amount if known is None else total_of((known, amount))
