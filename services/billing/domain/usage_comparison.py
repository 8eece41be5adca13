"""Usage as billing has it beside usage as its source has it: what differs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal

from services.billing.domain.metering import Dimension, Metered, UsageGroup, total_of
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

    billed, metered: by dimension; what no line bills is told by `unbilled`.
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


def unbilled(
    invoice_id: str,
    billed: Collection[str],
    metered: Mapping[str, Metered],
    dimensions: Mapping[str, Dimension],
) -> Iterator[Diff]:
    """Yields the sorts of usage of a period that no line bills, because no charge takes them.

    metered: by dimension, without what a provider's meters price.
    """
    groups: dict[UsageGroup, list[Metered]] = {}
    for dimension_id, amount in metered.items():
        found = dimensions[dimension_id]
        if dimension_id in billed or _is_same(amount, NOTHING):
            continue
        names = ("resource_type", "unit", "service", "provider", "currency_code")
        group = UsageGroup(**{name: getattr(found, name) for name in names})
        groups.setdefault(group, []).append(amount)
    for group in sorted(groups, key=_name):
        yield Diff(
            kind=DiffKind.UNBILLED,
            ours="",
            theirs=_text(total_of(groups[group]), group.unit, group.currency_code),
            action=f"Add a charge that takes {_name(group)} to the plan, or leave it free.",
            invoice_id=invoice_id,
            provider_object_id=_name(group),
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
