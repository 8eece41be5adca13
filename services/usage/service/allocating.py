"""Answers cost questions after allocation rules have moved shared cost."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from services.kernel.database import Transaction
from services.kernel.filter import compile_filter, evaluate, parse_filter
from services.kernel.money import EXACT
from services.kernel.period import Period
from services.usage.domain.allocation import (
    Allocation,
    AllocationLine,
    QuantityDriver,
    allocate,
)
from services.usage.domain.allocation import CostCell as SharedCost
from services.usage.domain.allocation_rule import (
    AllocationMethod,
    AllocationRule,
    rules_in_force,
)
from services.usage.domain.dimension import moved_to, value_of
from services.usage.domain.event import Attributes
from services.usage.domain.question import CostQuestion
from services.usage.errors import TooManyGroups
from services.usage.service.converting import add_cells
from services.usage.service.lines import Lines, filtered_dimensions, rewritten
from services.usage.store.allocation import (
    allocation_rules,
    managers_of_users,
    parent_departments,
)
from services.usage.store.attribution import attributed_dimensions, dimension_fields
from services.usage.store.costs import CostCell, cost_cells

CELLS_MAX = 200_000  # about 100 MB in this process; a question that needs more wants narrowing
_ZERO = Decimal(0)
_Bucket = tuple[datetime | date | None, date | None]
_Place = tuple[tuple[str, ...], datetime | date | None, date | None, str]


class AllocatedCells(NamedTuple):
    """The cells of an answer, and the rules that moved cost into each group."""

    cells: list[CostCell]
    rule_ids: Mapping[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Stretch:
    """What the rules in force did to the cost of one bucket."""

    bucket: _Bucket
    cells: Sequence[tuple[Attributes, CostCell]]
    allocation: Allocation


class PreviewedAllocation(NamedTuple):
    """Lines by rule and target, and the cost by currency before and after."""

    lines: list[AllocationLine]
    before: Mapping[str, Decimal]
    after: Mapping[str, Decimal]


async def allocated_cells(
    tx: Transaction, question: CostQuestion, group_by: Sequence[str], *, by_date: bool
) -> AllocatedCells:
    """Returns the cost of each group and bucket where it ends, and the usage where it happened.

    Shared cost is moved before the filter is applied, which may name a group that receives it.
    Raises TooManyGroups, AllocationCycle, AllocationTooLarge, InvalidFilter.
    """
    # Refuses what the filter of any other question refuses.
    dims = attributed_dimensions(question.tenant_id)
    compile_filter(question.filter, dimension_fields(dims, question.tenant_id))
    plain = parse_filter(question.filter)
    expression = rewritten(plain)
    rules = await allocation_rules(tx, question.tenant_id)
    lines = Lines(
        await parent_departments(tx, question.tenant_id),
        await managers_of_users(tx, question.tenant_id),
    )
    names = needed_dimensions(rules, [*group_by, *filtered_dimensions(plain)])
    answer = _Answer(question.tenant_id, group_by, lines)
    async for stretch in _stretches(tx, question, names, rules, by_date=by_date):
        for attributes, cell in stretch.cells:
            if evaluate(expression, lines.record(attributes), tz=question.tz):
                answer.add_usage(attributes, cell)
        for cost in stretch.allocation.costs:
            if evaluate(expression, lines.record(cost.attributes), tz=question.tz):
                ids = [rule.allocation_rule_id for rule in cost.rules if rule.is_distributed]
                answer.add_cost(cost.attributes, cost.amount, stretch.bucket, ids)
    return answer.cells()


async def preview(
    tx: Transaction, question: CostQuestion, rules: Sequence[AllocationRule]
) -> PreviewedAllocation:
    """Returns what these rules move in the question's period. Raises as `allocated_cells`."""
    names = needed_dimensions(rules, [])
    lines: dict[tuple[str, int, str, str, str], AllocationLine] = {}
    before: dict[str, Decimal] = defaultdict(Decimal)
    after: dict[str, Decimal] = defaultdict(Decimal)
    driven = {rule.allocation_rule_id for rule in rules if rule.method.is_proportional}
    async for stretch in _stretches(tx, question, names, rules, by_date=False):
        for attributes, cell in stretch.cells:
            code = attributes.currency_code
            before[code] = EXACT.add(before[code], cell.cost)
        for cost in stretch.allocation.costs:
            code = cost.attributes.currency_code
            after[code] = EXACT.add(after[code], cost.amount)
        for line in stretch.allocation.lines:
            key = (*line[:4], line.currency_code)
            known = lines.get(key)
            if known is not None:
                weight = known.weight
                if line.allocation_rule_id in driven:
                    weight = EXACT.add(weight, line.weight)
                amount = EXACT.add(known.amount, line.amount)
                lines[key] = known._replace(weight=weight, amount=amount)
            else:
                lines[key] = line
    return PreviewedAllocation(list(lines.values()), before, after)


def needed_dimensions(rules: Sequence[AllocationRule], asked: Sequence[str]) -> tuple[str, ...]:
    """Returns the dimensions that cost is cut by: what is asked and what the rules look at."""
    names: dict[str, None] = {}
    for name in asked:
        if name != "tenant":
            names["user" if name == "manager" else name] = None
    for rule in rules:
        names.update(dict.fromkeys(dimension for dimension, _ in rule.source))
        names[rule.target_dimension] = None
        if rule.method is AllocationMethod.PROPORTIONAL_TO_QUANTITY:
            names |= {"resource_type": None, "unit": None}
    return tuple(names)


def split_at_edges(period: Period, rules: Sequence[AllocationRule]) -> list[Period]:
    """Cuts a period wherever a rule begins or ends."""
    edges = {period.start, period.end}
    edges.update(edge for rule in rules for edge in (rule.start_at, rule.end_at) if edge in period)
    return [Period(start, end) for start, end in itertools.pairwise(sorted(edges))]


async def _stretches(
    tx: Transaction,
    question: CostQuestion,
    names: Sequence[str],
    rules: Sequence[AllocationRule],
    *,
    by_date: bool,
) -> AsyncIterator[Stretch]:
    found = 0
    for period in split_at_edges(question.period, rules):
        part = replace(question, period=period, filter="")
        cells = await cost_cells(tx, part, names, limit=CELLS_MAX + 1, by_date=by_date)
        found += len(cells)
        if found > CELLS_MAX:
            raise TooManyGroups(groups_max=CELLS_MAX)
        in_force = rules_in_force(rules, period.start)
        by_bucket: dict[_Bucket, list[tuple[Attributes, CostCell]]] = defaultdict(list)
        for cell in cells:
            placed = (_attributes(names, cell), cell)
            by_bucket[cell.bucket, cell.usage_date].append(placed)
        for bucket, group in by_bucket.items():
            yield Stretch(bucket, group, _allocation(group, in_force))


def _allocation(
    group: Sequence[tuple[Attributes, CostCell]], rules: Sequence[AllocationRule]
) -> Allocation:
    costs = [SharedCost(attributes, cell.cost) for attributes, cell in group]
    drivers = [
        QuantityDriver(attributes, cell.quantity)
        for attributes, cell in group
        if cell.quantity is not None
    ]
    return allocate(costs, drivers, rules)


def _attributes(names: Sequence[str], cell: CostCell) -> Attributes:
    attributes = Attributes("", "", cell.currency_code)
    for name, value in zip(names, cell.keys, strict=True):
        attributes = moved_to(attributes, name, value)
    return attributes


class _Answer:
    """Sums usage and cost by group; cost may end in groups that had no usage."""

    def __init__(self, tenant_id: str, group_by: Sequence[str], lines: Lines) -> None:
        self._tenant_id = tenant_id
        self._group_by = group_by
        self._lines = lines
        self._usage: dict[_Place, CostCell] = {}
        self._costs: dict[_Place, Decimal] = {}
        self._rule_ids: dict[tuple[str, ...], dict[str, None]] = defaultdict(dict)

    def add_usage(self, attributes: Attributes, cell: CostCell) -> None:
        for keys in self._keys(attributes):
            place = (keys, cell.bucket, cell.usage_date, cell.currency_code)
            one = cell._replace(keys=keys, cost=_ZERO)
            known = self._usage.get(place)
            self._usage[place] = one if known is None else add_cells(known, one)

    def add_cost(
        self, attributes: Attributes, amount: Decimal, bucket: _Bucket, rule_ids: Sequence[str]
    ) -> None:
        for keys in self._keys(attributes):
            place = (keys, *bucket, attributes.currency_code)
            self._costs[place] = EXACT.add(self._costs.get(place, _ZERO), amount)
            if rule_ids:
                self._rule_ids[keys].update(dict.fromkeys(rule_ids))

    def cells(self) -> AllocatedCells:
        cells = []
        for place in dict.fromkeys((*self._usage, *self._costs)):
            usage = self._usage.get(place) or CostCell(*place, "", None, _ZERO, 0, 0, 0)
            cells.append(usage._replace(cost=self._costs.get(place, _ZERO)))
        return AllocatedCells(cells, {keys: tuple(ids) for keys, ids in self._rule_ids.items()})

    def _keys(self, attributes: Attributes) -> Iterator[tuple[str, ...]]:
        values: list[tuple[str, ...]] = []
        for name in self._group_by:
            if name == "tenant":
                values.append((self._tenant_id,))
            elif name == "manager":
                values.append(self._lines.managers_of(attributes.user_id))
            else:
                values.append((value_of(attributes, name),))
        return itertools.product(*values)
