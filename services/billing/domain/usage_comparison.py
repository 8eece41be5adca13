"""Usage as billing has it beside usage as its source has it: what differs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from services.billing.domain.metering import Metered, UsageGroup
from services.billing.domain.reconciliation import Diff, DiffKind
from services.kernel.money import format_decimal

NOTHING = Metered(quantity=Decimal(0), cost=Decimal(0), events=0)


def compare_groups(
    ours: Mapping[UsageGroup, Metered], theirs: Mapping[UsageGroup, Metered]
) -> Iterator[Diff]:
    """Yields the sorts of usage of which more or less was metered than the usage service has."""
    for group in sorted({*ours, *theirs}, key=_name):
        mine, other = ours.get(group, NOTHING), theirs.get(group, NOTHING)
        if not _is_same(mine, other):
            yield Diff(
                kind=DiffKind.USAGE,
                ours=_text(mine, group.unit, group.currency_code),
                theirs=_text(other, group.unit, group.currency_code),
                action=f"Find out which changes of {_name(group)} the meter has not, or twice.",
                provider_object_id=_name(group),
            )


def compare_lines(
    invoice_id: str, billed: Mapping[str, Metered], metered: Mapping[str, Metered]
) -> Iterator[Diff]:
    """Yields the dimensions of which a period's lines bill another amount than was metered.

    billed, metered: by dimension; what no line bills is what no charge of the plan takes.
    """
    for dimension_id in sorted(billed):
        mine, other = billed[dimension_id], metered.get(dimension_id, NOTHING)
        if not _is_same(mine, other):
            yield Diff(
                kind=DiffKind.USAGE,
                ours=_text(mine),
                theirs=_text(other),
                action="Credit or bill what differs: the lines are not what was metered.",
                invoice_id=invoice_id,
                provider_object_id=dimension_id,
            )


def _is_same(mine: Metered, other: Metered) -> bool:
    return (mine.quantity, mine.cost, mine.events) == (other.quantity, other.cost, other.events)


def _name(group: UsageGroup) -> str:
    names = (group.resource_type, group.service, group.provider, group.unit, group.currency_code)
    return " / ".join(name for name in names if name)


def _text(found: Metered, unit: str = "", currency_code: str = "") -> str:
    words = (
        *(format_decimal(found.quantity), unit, "for", format_decimal(found.cost)),
        *(currency_code, "in", str(found.events), "events"),
    )
    return " ".join(word for word in words if word)
