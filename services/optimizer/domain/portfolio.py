"""What a set of advice saves together: overlaps count once, and never more than is spent.

Advice touches series with a share of their cost. Applied one after another, each takes its share
of what the ones before it have left; what excludes each other on a series is taken once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from services.kernel.money import EXACT, add_exactly
from services.optimizer.domain.finding import Estimate, Kind, Part, rounded

ZERO = Estimate(Decimal(0), Decimal(0), Decimal(0))
# Each of a group replaces the others on the same resource.
_EXCLUSIVE = (
    frozenset({Kind.IDLE_RESOURCE, Kind.RIGHTSIZING, Kind.SCALING, Kind.CONSOLIDATION}),
    frozenset({Kind.IDLE_RESOURCE, Kind.SHUTDOWN, Kind.SCALING, Kind.CONSOLIDATION}),
    frozenset({Kind.IDLE_RESOURCE, Kind.REGION_MOVE, Kind.CARBON}),
    frozenset({Kind.IDLE_RESOURCE, Kind.SCHEDULING}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What a portfolio knows of a recommendation. saving, parts: of an average month."""

    recommendation_id: str
    kind: Kind
    saving: Estimate
    parts: Sequence[Part]

    @property
    def cost(self) -> Decimal:
        """What it touches."""
        return add_exactly(part.monthly_cost for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One recommendation's part. marginal: what it adds to those before it."""

    recommendation_id: str
    separate: Estimate
    marginal: Estimate
    is_excluded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JointSaving:
    """What a set saves. baseline: what all series cost without it. conflicts: (taken, left)."""

    saving: Estimate
    baseline: Decimal
    shares: Sequence[Share]
    conflicts: Sequence[tuple[str, str]]

    @property
    def separate(self) -> Decimal:
        """The sum of what each would save alone, for comparison."""
        return add_exactly(share.separate.expected for share in self.shares)

    def scaled(self, factor: Decimal) -> JointSaving:
        """Returns it over another time than a month."""
        return JointSaving(
            saving=self.saving.scaled(factor),
            baseline=rounded(EXACT.multiply(self.baseline, factor)),
            shares=[
                replace(
                    share,
                    separate=share.separate.scaled(factor),
                    marginal=share.marginal.scaled(factor),
                )
                for share in self.shares
            ],
            conflicts=self.conflicts,
        )


def are_exclusive(first: Kind, second: Kind) -> bool:
    """Tells whether only one of two kinds can be followed on the same resource."""
    return any(first in group and second in group for group in _EXCLUSIVE)


def joint_saving(
    advice: Sequence[Advice], baseline: Mapping[int, Decimal] | None = None
) -> JointSaving:
    """Applies advice in its order.

    baseline: by series what it costs; default what the advice says it touches.
    """
    spend = dict(baseline) if baseline is not None else largest_parts(advice)
    left = {bound: dict(spend) for bound in Estimate._fields}
    taken: dict[int, list[Advice]] = {}
    shares, conflicts = [], []
    for one in advice:
        touched = {part.series_id for part in one.parts if spend.get(part.series_id, 0) > 0}
        rival = _rival(one, touched, taken)
        if rival is not None:
            conflicts.append((rival.recommendation_id, one.recommendation_id))
            marginal = ZERO
        else:
            marginal = Estimate(
                *(_take(left[bound], touched, _ratio(one, bound)) for bound in Estimate._fields)
            )
            for series_id in touched:
                taken.setdefault(series_id, []).append(one)
        shares.append(
            Share(
                recommendation_id=one.recommendation_id,
                separate=_alone(one, [spend[series_id] for series_id in sorted(touched)]),
                marginal=marginal,
                is_excluded=rival is not None,
            )
        )
    total = add_exactly(spend.values())
    saving = Estimate(
        *(EXACT.subtract(total, add_exactly(left[bound].values())) for bound in Estimate._fields)
    )
    return JointSaving(saving=saving, baseline=total, shares=shares, conflicts=conflicts)


def largest_parts(advice: Iterable[Advice]) -> dict[int, Decimal]:
    """Returns by series the largest cost that any advice says it has."""
    found: dict[int, Decimal] = {}
    for one in advice:
        for part in one.parts:
            found[part.series_id] = max(found.get(part.series_id, Decimal(0)), part.monthly_cost)
    return found


def overlaps(advice: Sequence[Advice]) -> dict[str, list[str]]:
    """Returns by recommendation the others that touch a series that it touches."""
    by_series: dict[int, list[str]] = {}
    for one in advice:
        for part in one.parts:
            by_series.setdefault(part.series_id, []).append(one.recommendation_id)
    found: dict[str, dict[str, None]] = {one.recommendation_id: {} for one in advice}
    for names in by_series.values():
        for name in names:
            found[name].update(dict.fromkeys(other for other in names if other != name))
    return {name: list(others) for name, others in found.items()}


def _rival(one: Advice, touched: set[int], taken: Mapping[int, Sequence[Advice]]) -> Advice | None:
    for series_id in sorted(touched):
        for other in taken.get(series_id, ()):
            if are_exclusive(one.kind, other.kind):
                return other
    return None


def _alone(one: Advice, costs: Sequence[Decimal]) -> Estimate:
    """Returns what advice would save by itself of what its series cost."""
    return Estimate(
        *(
            add_exactly(rounded(EXACT.multiply(cost, _ratio(one, bound))) for cost in costs)
            for bound in Estimate._fields
        )
    )


def _ratio(one: Advice, bound: str) -> Decimal:
    cost = one.cost
    if cost <= 0:
        return Decimal(0)
    amount: Decimal = getattr(one.saving, bound)
    return min(max(EXACT.divide(amount, cost), Decimal(0)), Decimal(1))


def _take(left: dict[int, Decimal], touched: set[int], ratio: Decimal) -> Decimal:
    """Takes a share of what is left of series, and returns how much that was."""
    total = Decimal(0)
    for series_id in touched:
        amount = min(rounded(EXACT.multiply(left[series_id], ratio)), left[series_id])
        left[series_id] = EXACT.subtract(left[series_id], amount)
        total = EXACT.add(total, amount)
    return total
