"""Answers to cost questions: groups, their order and totals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cmp_to_key
from typing import NamedTuple, TypeAlias

from services.kernel.money import EXACT
from services.kernel.period import Period

_ZERO = Decimal(0)
OrderValue: TypeAlias = str | Decimal | datetime


class CostGroup(NamedTuple):
    """Cost of one group in one bucket and currency.

    keys: values of the dimensions asked. start_at: of the bucket, None for a total. quantity: None
    where units differ. rule_ids: of the allocation rules that moved cost here.
    """

    keys: tuple[str, ...]
    start_at: datetime | None
    currency_code: str
    cost: Decimal
    quantity: Decimal | None
    unit: str
    events: int
    failed_events: int
    unpriced_events: int
    previous_cost: Decimal | None = None
    rule_ids: tuple[str, ...] = ()


class CostSum(NamedTuple):
    """Sum over all groups of one currency, each usage counted once."""

    currency_code: str
    cost: Decimal
    events: int
    unpriced_events: int
    groups: int
    previous_cost: Decimal | None = None


class AppliedRate(NamedTuple):
    """An exchange rate that was applied to the usage of one day."""

    from_currency: str
    to_currency: str
    usage_date: date
    rate_date: date
    rate: Decimal


@dataclass(frozen=True, slots=True)
class CostAnswer:
    """All groups of an answer, before it is cut to pages.

    position: up to where of the change feed the answer is complete, as the feed writes it.
    newest: position of the newest change that it counts.
    """

    groups: Sequence[CostGroup]
    totals: Sequence[CostSum]
    period: Period
    time_zone: str
    position: str
    rates: Sequence[AppliedRate] = ()
    newest: str = ""


class GroupOrder:
    """An order of groups: terms first, then everything that tells two groups apart."""

    def __init__(self, terms: Sequence[tuple[str, bool]], group_by: Sequence[str]) -> None:
        """Takes (field, is_descending) pairs: `amount`, `start_time` or a dimension asked."""
        named = [name for name, _ in terms]
        rest = [name for name in ("start_time", *group_by, "currency_code") if name not in named]
        self._terms = [*terms, *((name, False) for name in rest)]
        self._places = {name: place for place, name in enumerate(group_by)}

    def key(self, group: CostGroup) -> tuple[OrderValue, ...]:
        """Returns the group's place in the order, for a page token."""
        return tuple(self._value(group, name) for name, _ in self._terms)

    def sort(self, groups: Iterable[CostGroup]) -> list[CostGroup]:
        """Returns the groups in order."""
        ordered = list(groups)
        for name, is_descending in reversed(self._terms):
            ordered.sort(key=lambda group: self._value(group, name), reverse=is_descending)
        return ordered

    def after(self, groups: Sequence[CostGroup], key: Sequence[OrderValue]) -> Sequence[CostGroup]:
        """Returns the sorted groups after a key, whether or not its group still exists."""
        compare = cmp_to_key(self._compare)
        low, high = 0, len(groups)
        wanted = compare(tuple(key))
        while low < high:
            middle = (low + high) // 2
            if wanted < compare(self.key(groups[middle])):
                high = middle
            else:
                low = middle + 1
        return groups[low:]

    def _compare(self, left: tuple[OrderValue, ...], right: tuple[OrderValue, ...]) -> int:
        for (_, is_descending), one, two in zip(self._terms, left, right, strict=True):
            if one != two:
                is_less = one < two  # type: ignore[operator]
                return 1 if is_less == is_descending else -1
        return 0

    def _value(self, group: CostGroup, name: str) -> OrderValue:
        match name:
            case "amount":
                return group.cost
            case "start_time":
                return "" if group.start_at is None else group.start_at
            case "currency_code":
                return group.currency_code
            case _:
                return group.keys[self._places[name]]


def sum_groups(groups: Iterable[CostGroup]) -> list[CostSum]:
    """Returns the sum of each currency, in the currencies' order."""
    sums: dict[str, CostSum] = {}
    for group in groups:
        found = sums.get(group.currency_code) or CostSum(group.currency_code, _ZERO, 0, 0, 0)
        previous = found.previous_cost
        if group.previous_cost is not None:
            previous = EXACT.add(previous or _ZERO, group.previous_cost)
        sums[group.currency_code] = CostSum(
            group.currency_code,
            EXACT.add(found.cost, group.cost),
            found.events + group.events,
            found.unpriced_events + group.unpriced_events,
            found.groups + 1,
            previous,
        )
    return [sums[code] for code in sorted(sums)]


def with_previous(
    groups: Sequence[CostGroup],
    previous: Sequence[CostGroup],
    *,
    starts: Sequence[datetime],
    previous_starts: Sequence[datetime],
) -> list[CostGroup]:
    """Puts each group's cost in the period before beside it.

    starts, previous_starts: the buckets of each period, matched by their number; none for a total.
    A group that has cost only in the period before is added with cost 0 where the answer has no
    buckets, so that what vanished shows.
    """
    number = {start: place for place, start in enumerate(starts)}
    previous_number = {start: place for place, start in enumerate(previous_starts)}

    def place(group: CostGroup, numbers: Mapping[datetime, int]) -> int:
        return -1 if group.start_at is None else numbers[group.start_at]

    earlier = {
        (group.keys, place(group, previous_number), group.currency_code): group
        for group in previous
    }
    joined = []
    for group in groups:
        match = earlier.pop((group.keys, place(group, number), group.currency_code), None)
        joined.append(group._replace(previous_cost=match.cost if match else _ZERO))
    joined.extend(
        gone._replace(
            cost=_ZERO,
            quantity=None if gone.quantity is None else _ZERO,
            events=0,
            failed_events=0,
            unpriced_events=0,
            previous_cost=gone.cost,
        )
        for gone in earlier.values()
        if gone.start_at is None
    )
    return joined
