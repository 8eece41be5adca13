"""Answers questions that differ only in their groups from one reading of the roll-ups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    BigInteger,
    Select,
    SmallInteger,
    case,
    cast,
    func,
    literal,
    select,
    tuple_,
    union_all,
)

from services.kernel.database import Transaction
from services.kernel.filter import compile_filter
from services.kernel.period import Period
from services.usage.domain.question import CostQuestion
from services.usage.store.attribution import attributed_dimensions, dimension_fields
from services.usage.store.costs import CostCell, dimension_key, stored_parts

_COUNTED = ("events", "failed_events", "unpriced_events")


async def grouped_cells(
    tx: Transaction,
    reading: CostQuestion,
    periods: Sequence[Period],
    groupings: Sequence[Sequence[str]],
    *,
    limit: int,
) -> list[list[list[CostCell]]] | None:
    """Returns the totals of each group, by grouping and then by period.

    reading: what the questions have in common. periods: disjoint ones. groupings: dimensions, none
    of them overlapping, in the order of each cell's keys. None where there are more than `limit`.
    """
    names = sorted({name for grouping in groupings for name in grouping})
    rows = (await tx.execute(_statement(reading, periods, groupings, names).limit(limit + 1))).all()
    if len(rows) > limit:
        return None
    width = len(names)
    found: dict[tuple[int, int], list[Sequence[Any]]] = defaultdict(list)
    for row in rows:
        found[row[width], row[width + 1]].append(row)

    def cells(grouping: Sequence[str], place: int) -> list[CostCell]:
        # A set's number has a bit for each name that it does not group by, the last name's lowest.
        number = sum(1 << bit for bit, name in enumerate(reversed(names)) if name not in grouping)
        columns = [names.index(name) for name in grouping]
        return [
            CostCell(tuple(row[each] for each in columns), None, None, *row[width + 2 :])
            for row in found[number, place]
        ]

    return [[cells(grouping, place) for place in range(len(periods))] for grouping in groupings]


def _statement(
    reading: CostQuestion,
    periods: Sequence[Period],
    groupings: Sequence[Sequence[str]],
    names: Sequence[str],
) -> Select[*tuple[Any, ...]]:
    every = union_all(
        *(
            part.add_columns(literal(place, SmallInteger).label("place"))
            for place, period in enumerate(periods)
            for part in stored_parts(replace(reading, period=period), by_date=False)
        )
    ).subquery("cell")
    # The days of each dimension are summed but once, which is nearly all of the work.
    folded = (
        select(
            every.c.dimension_id,
            every.c.place,
            func.sum(every.c.quantity).label("quantity"),
            func.sum(every.c.cost).label("cost"),
            *(cast(func.sum(every.c[name]), BigInteger).label(name) for name in _COUNTED),
        )
        .group_by(every.c.dimension_id, every.c.place)
        .subquery("folded")
    )
    dims = attributed_dimensions(reading.tenant_id)
    keyed = (
        select(
            *(dimension_key(dims, name).label(f"key_{place}") for place, name in enumerate(names)),
            dims.c.currency_code,
            dims.c.unit,
            *(folded.c[name] for name in ("place", "quantity", "cost", *_COUNTED)),
        )
        .select_from(folded.join(dims, dims.c.dimension_id == folded.c.dimension_id))
        .where(compile_filter(reading.filter, dimension_fields(dims, reading.tenant_id)))
        .subquery("keyed")
    )
    c = keyed.c
    keys = {name: c[f"key_{place}"] for place, name in enumerate(names)}
    same_unit = func.min(c.unit) == func.max(c.unit)
    sets = {tuple(sorted(grouping)) for grouping in groupings}
    return select(
        *keys.values(),
        func.grouping(*keys.values()) if keys else literal(0),
        c.place,
        c.currency_code,
        case((same_unit, func.min(c.unit)), else_=""),
        case((same_unit, func.sum(c.quantity))),
        func.sum(c.cost),
        *(cast(func.sum(c[name]), BigInteger) for name in _COUNTED),
    ).group_by(
        func.grouping_sets(
            *(
                tuple_(*(keys[name] for name in names), c.place, c.currency_code)
                for names in sorted(sets)
            )
        )
    )
