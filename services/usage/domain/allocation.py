"""Moves shared cost to those who caused it, to the last digit.

Rules apply one after the other, each once. A later rule may share what an earlier one moved: where
its source names the value that the cost was moved to, or where it moves along another dimension.
It never splits anew, along the same dimension, what an earlier rule has placed there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, TypeVar

from services.kernel.errors import InvalidArgument
from services.kernel.money import EXACT, split_by_weight
from services.usage.domain.allocation_rule import (
    AllocationMethod,
    AllocationRule,
    in_order,
    require_no_cycle,
)
from services.usage.domain.dimension import moved_to, value_of
from services.usage.domain.event import Attributes

ALLOCATED_MAX = 1_000_000  # cells of one result; 1,000 sources over 1,000 targets

_ZERO = Decimal(0)


class AllocationTooLarge(InvalidArgument):
    """The rules spread this cost over more than a million cells; group or filter it first."""

    reason = "ALLOCATION_TOO_LARGE"


class CostCell(NamedTuple):
    """Cost with one combination of attributes, in their currency, at most 18 fraction digits."""

    attributes: Attributes
    amount: Decimal


class QuantityDriver(NamedTuple):
    """Quantity used with one combination of attributes, in their unit."""

    attributes: Attributes
    quantity: Decimal


class AppliedRule(NamedTuple):
    """A rule that moved cost, or that could not (is_distributed false: it had no driver)."""

    allocation_rule_id: str
    version: int
    target_dimension: str
    is_distributed: bool


class AllocatedCost(NamedTuple):
    """Cost where it ended, and the rules that met it, in order; none for cost that never moved."""

    attributes: Attributes
    rules: tuple[AppliedRule, ...]
    amount: Decimal


class AllocationLine(NamedTuple):
    """What one rule moved to one target in one currency.

    target: "" for cost that stayed for want of a driver; weight is 0 then. weight: the target's
    own, as its method counts it: 1, the fixed weight, the cost or the quantity.
    """

    allocation_rule_id: str
    version: int
    target_dimension: str
    target: str
    weight: Decimal
    currency_code: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Allocation:
    """Costs by attributes, and lines by rule and target, each in a fixed order."""

    costs: tuple[AllocatedCost, ...]
    lines: tuple[AllocationLine, ...]


_Cells = dict[tuple[Attributes, tuple[AppliedRule, ...]], Decimal]
_Key = TypeVar("_Key")
_Weights = tuple[tuple[str, Decimal], ...]


def allocate(
    cells: Iterable[CostCell], drivers: Iterable[QuantityDriver], rules: Iterable[AllocationRule]
) -> Allocation:
    """Applies the rules in force to the cost of one period.

    cells: the period's cost, in any order and any number of currencies. drivers: what was used in
    it. rules: at most one version of each, see `rules_in_force`.
    Per currency the result adds up to the cost given. Positive cost never becomes negative, and
    cost that a rule finds no driver for stays where it is and says so. The result depends on
    neither order. O(cells x targets).
    Raises AllocationCycle, AllocationTooLarge.
    """
    ordered = in_order(rules)
    require_no_cycle(ordered)
    original: dict[Attributes, Decimal] = {}
    for attributes, amount in cells:
        _add(original, attributes, amount)
    quantities = _Quantities(drivers)
    placed: _Cells = {(attributes, ()): original[attributes] for attributes in sorted(original)}
    lines: dict[AllocationLine, Decimal] = {}
    for place, rule in enumerate(ordered):
        weights_by_currency: dict[str, _Weights] = {}
        result: _Cells = {}
        for (attributes, trail), amount in placed.items():
            if not (rule.matches(attributes) and _may_move(rule, trail)):
                _add(result, (attributes, trail), amount)
                continue
            currency_code = attributes.currency_code
            weights = weights_by_currency.get(currency_code)
            if weights is None:
                weights = _weights(rule, ordered[:place], original, quantities, currency_code)
                weights_by_currency[currency_code] = weights
            for share in _shares(rule, attributes, amount, weights):
                _add(result, (share.attributes, (*trail, share.applied)), share.amount)
                _add(lines, share.line, share.amount)
            if len(result) > ALLOCATED_MAX:
                raise AllocationTooLarge
        placed = result
    costs = [AllocatedCost(*where, amount) for where, amount in placed.items()]
    return Allocation(
        costs=tuple(sorted(costs)),
        lines=tuple(line._replace(amount=amount) for line, amount in lines.items()),
    )


def _may_move(rule: AllocationRule, trail: Sequence[AppliedRule]) -> bool:
    if rule.source_value is not None:
        return True
    return not any(
        applied.is_distributed and applied.target_dimension == rule.target_dimension
        for applied in trail
    )


class _Share(NamedTuple):
    """One part of a cell: where it goes, and its line without the amount."""

    attributes: Attributes
    amount: Decimal
    applied: AppliedRule
    line: AllocationLine


def _shares(
    rule: AllocationRule, attributes: Attributes, amount: Decimal, weights: _Weights
) -> Iterator[_Share]:
    """Splits one cell between the targets, or leaves it where no weight is above zero."""
    dimension = rule.target_dimension
    applied = AppliedRule(rule.allocation_rule_id, rule.version, dimension, bool(weights))
    currency_code = attributes.currency_code
    if not weights:
        stays = AllocationLine(*applied[:3], "", _ZERO, currency_code, amount=_ZERO)
        yield _Share(attributes, amount, applied, stays)
        return
    parts = split_by_weight(amount, [weight for _, weight in weights])
    for (target, weight), part in zip(weights, parts, strict=True):
        line = AllocationLine(*applied[:3], target, weight, currency_code, amount=_ZERO)
        yield _Share(moved_to(attributes, dimension, target), part, applied, line)


def _add(amounts: dict[_Key, Decimal], key: _Key, amount: Decimal) -> None:
    amounts[key] = EXACT.add(amounts.get(key, _ZERO), amount)


class _Quantities:
    """Sums of drivers, by resource type, unit and value along a dimension."""

    def __init__(self, drivers: Iterable[QuantityDriver]) -> None:
        self._drivers = list(drivers)
        self._sums: dict[tuple[str, str, str], dict[str, Decimal]] = {}

    def by_value(self, rule: AllocationRule) -> dict[str, Decimal]:
        key = (rule.driver_resource_type, rule.driver_unit, rule.target_dimension)
        if key not in self._sums:
            self._sums[key] = _sum_by_value(
                (
                    (driver.attributes, driver.quantity)
                    for driver in self._drivers
                    if driver.attributes.resource_type == rule.driver_resource_type
                    and driver.attributes.unit == rule.driver_unit
                ),
                rule.target_dimension,
            )
        return self._sums[key]


def _sum_by_value(
    amounts: Iterable[tuple[Attributes, Decimal]], dimension: str
) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for attributes, amount in amounts:
        _add(sums, value_of(attributes, dimension), amount)
    return sums


def _weights(
    rule: AllocationRule,
    earlier: Sequence[AllocationRule],
    original: dict[Attributes, Decimal],
    quantities: _Quantities,
    currency_code: str,
) -> _Weights:
    """Returns (target, weight above zero) in the targets' order of text; empty without driver."""
    match rule.method:
        case AllocationMethod.DIRECT | AllocationMethod.EVEN:
            found = {value: Decimal(1) for value, _ in rule.targets}
        case AllocationMethod.FIXED:
            found = dict(rule.targets)
        case AllocationMethod.PROPORTIONAL_TO_COST:
            own = (
                (attributes, amount)
                for attributes, amount in original.items()
                if attributes.currency_code == currency_code and not rule.matches(attributes)
            )
            found = _driven(rule, earlier, _sum_by_value(own, rule.target_dimension))
        case AllocationMethod.PROPORTIONAL_TO_QUANTITY:
            found = _driven(rule, earlier, quantities.by_value(rule))
    return tuple((value, weight) for value, weight in sorted(found.items()) if weight > 0)


def _driven(
    rule: AllocationRule, earlier: Sequence[AllocationRule], drivers: dict[str, Decimal]
) -> dict[str, Decimal]:
    """Confines drivers to the rule's targets, or to values that are no pool given away already."""
    if rule.targets:
        return {value: drivers.get(value, _ZERO) for value, _ in rule.targets}
    pools = {
        other.source_value
        for other in (*earlier, rule)
        if other.target_dimension == rule.target_dimension
    }
    return {value: amount for value, amount in drivers.items() if value and value not in pools}
