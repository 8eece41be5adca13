"""Allocation rules: which shared cost moves to whom, since when, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

from services.kernel.errors import FailedPrecondition, InvalidArgument
from services.usage.domain.dimension import is_dimension, value_of
from services.usage.domain.event import Attributes
from services.usage.domain.price import BEGINNING, NEVER

CONDITIONS_MAX = 16
TARGETS_MAX = 1000
DEFAULT_PRIORITY = 100


class InvalidAllocationRule(InvalidArgument):
    """A rule has conditions on its source, and targets that its method can share between."""

    reason = "INVALID_ALLOCATION_RULE"


class AllocationCycle(FailedPrecondition):
    """These rules would send cost round in a circle; take a target out of one of them."""

    reason = "ALLOCATION_CYCLE"


class AllocationMethod(Enum):
    """How shared cost is split.

    DIRECT: all of it to the one target. EVEN: the same to every target. FIXED: by the targets'
    weights. PROPORTIONAL_TO_COST: by the targets' own cost in the period, as it was before any
    rule. PROPORTIONAL_TO_QUANTITY: by the quantity they used of the driver's kind.
    """

    DIRECT = 1
    EVEN = 2
    FIXED = 3
    PROPORTIONAL_TO_COST = 4
    PROPORTIONAL_TO_QUANTITY = 5

    @property
    def is_proportional(self) -> bool:
        """Whether shares follow what the targets did."""
        return self.value >= AllocationMethod.PROPORTIONAL_TO_COST.value


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationRule:
    """One version of a rule.

    source: dimension and value that the cost must have, all of them; "" is cost without a value.
    target_dimension: what the cost is moved along, one of department, project, user or tag:KEY.
    targets: weight by value; weights count with FIXED only. Empty with the proportional methods:
    every value that has a driver, except values that are the source of this rule or of one applied
    before it, so that what a pool gave away never returns to it.
    driver_resource_type, driver_unit: of the quantity for PROPORTIONAL_TO_QUANTITY.
    effective_start_at, effective_end_at: half-open; None is open. Raises InvalidAllocationRule.
    """

    allocation_rule_id: str
    source: tuple[tuple[str, str], ...]
    method: AllocationMethod
    target_dimension: str
    targets: tuple[tuple[str, Decimal], ...] = ()
    version: int = 1
    priority: int = DEFAULT_PRIORITY
    driver_resource_type: str = ""
    driver_unit: str = ""
    effective_start_at: datetime | None = None
    effective_end_at: datetime | None = None
    display_name: str = ""

    def __post_init__(self) -> None:
        values = [value for value, _ in self.targets]
        weights = [weight for _, weight in self.targets]
        is_fixed = self.method is AllocationMethod.FIXED
        is_driven = self.method is AllocationMethod.PROPORTIONAL_TO_QUANTITY
        wrongs = {
            f"a rule has 1 to {CONDITIONS_MAX} conditions": (
                not 0 < len(self.source) <= CONDITIONS_MAX
            ),
            "a condition is on a dimension of cost, at most one on each": (
                not all(is_dimension(dimension) for dimension, _ in self.source)
                or len(dict(self.source)) < len(self.source)
            ),
            "cost is moved along department, project, user or tag:KEY": (
                self.target_dimension not in ("department", "project", "user")
                and not self.target_dimension.startswith("tag:")
            )
            or not is_dimension(self.target_dimension),
            f"a rule has at most {TARGETS_MAX} targets, each once and not empty": (
                len(values) > TARGETS_MAX or "" in values or len(set(values)) < len(values)
            ),
            "direct allocation has exactly one target": (
                self.method is AllocationMethod.DIRECT and len(values) != 1
            ),
            "this method needs targets": not self.method.is_proportional and not values,
            "fixed weights are zero or more and not all zero": is_fixed
            and (any(not w.is_finite() or w < 0 for w in weights) or not any(weights)),
            "proportional to quantity needs a resource type and a unit": is_driven
            and not (self.driver_resource_type and self.driver_unit),
            "a rule ends after it begins": self.start_at >= self.end_at,
        }
        for text, is_wrong in wrongs.items():
            if is_wrong:
                raise InvalidAllocationRule(text, allocation_rule_id=self.allocation_rule_id)

    @property
    def start_at(self) -> datetime:
        """First instant it applies."""
        return self.effective_start_at or BEGINNING

    @property
    def end_at(self) -> datetime:
        """First instant it no longer applies."""
        return self.effective_end_at or NEVER

    @property
    def source_value(self) -> str | None:
        """The value along the target dimension that the source is confined to, or None."""
        return dict(self.source).get(self.target_dimension)

    def matches(self, attributes: Attributes) -> bool:
        """Tells whether cost with these attributes is shared by the rule."""
        return all(value_of(attributes, dimension) == value for dimension, value in self.source)


def rules_in_force(rules: Iterable[AllocationRule], at: datetime) -> list[AllocationRule]:
    """Returns the latest version of each rule that applies at an instant, in order of applying.

    Rules apply by priority, lowest first, and equal ones by id.
    """
    latest: dict[str, AllocationRule] = {}
    for rule in rules:
        known = latest.get(rule.allocation_rule_id)
        is_later = known is None or rule.version > known.version
        if rule.start_at <= at < rule.end_at and is_later:
            latest[rule.allocation_rule_id] = rule
    return in_order(latest.values())


def in_order(rules: Iterable[AllocationRule]) -> list[AllocationRule]:
    """Returns the rules in the order they apply."""
    return sorted(rules, key=lambda rule: (rule.priority, rule.allocation_rule_id))


def require_no_cycle(rules: Sequence[AllocationRule]) -> None:
    """Raises AllocationCycle where named targets lead cost from rule to rule and back.

    A rule may name its own source among several targets: that share stays.
    """
    followers = {
        rule.allocation_rule_id: [
            other.allocation_rule_id for other in rules if other is not rule and _feeds(rule, other)
        ]
        for rule in rules
    }
    for rule in rules:
        if rule.method is AllocationMethod.DIRECT and rule.source_value == rule.targets[0][0]:
            raise AllocationCycle(rules=rule.allocation_rule_id)
    done: set[str] = set()
    for rule_id in followers:
        circle = _circle(rule_id, followers, done)
        if circle:
            raise AllocationCycle(rules=" -> ".join(circle))


def _circle(start: str, followers: Mapping[str, Sequence[str]], done: set[str]) -> list[str]:
    """Returns the ids along a circle reached from a rule, or nothing. Depth first, no recursion."""
    path, pending = [start], [iter(followers[start])]
    while path:
        following = next(pending[-1], None)
        if following is None:
            done.add(path.pop())
            pending.pop()
        elif following in path:
            return [*path[path.index(following) :], following]
        elif following not in done:
            path.append(following)
            pending.append(iter(followers[following]))
    return []


def _feeds(rule: AllocationRule, other: AllocationRule) -> bool:
    """Tells whether a target of one rule is what another one shares."""
    conditions = dict(other.source)
    landing = conditions.pop(rule.target_dimension, None)
    if landing is None or landing not in dict(rule.targets):
        return False
    own = dict(rule.source)
    return all(own.get(dimension, value) == value for dimension, value in conditions.items())
