"""Turns the usage service's answer into series without holes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from services.reporting.errors import MixedUnits, NoHistory, TooManyGroups
from services.reporting.service.peers import SeriesAnswer

Floats = NDArray[np.float64]
Group = tuple[tuple[str, str], ...]

GROUPS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Histories:
    """One series a group, largest first, and their sum; steps without usage are zero.

    starts: first instants of the steps of the sum, from the first usage on.
    """

    groups: tuple[Group, ...]
    parts: tuple[Floats, ...]
    total: Floats
    starts: tuple[datetime, ...]
    unit: str


def histories(answer: SeriesAnswer, steps: Sequence[datetime], *, measure: str) -> Histories:
    """Lays the points out over the steps. Raises NoHistory, MixedUnits, TooManyGroups."""
    place_of = {start: place for place, start in enumerate(steps)}
    values: dict[Group, Floats] = defaultdict(lambda: np.zeros(len(steps)))
    units = set()
    for point in answer.points:
        place = place_of.get(point.start)
        if place is None:
            continue
        if measure == "quantity":
            if point.quantity is None:
                raise MixedUnits
            units.add(point.unit)
            values[point.group][place] += float(point.quantity)
        else:
            value = point.cost
            values[point.group][place] += float(value)
    if not values:
        raise NoHistory
    if len(units) > 1:
        raise MixedUnits(units=", ".join(sorted(units)))
    if len(values) > GROUPS_MAX:
        raise TooManyGroups(groups=len(values))
    # A credit may exceed a step's cost; a forecast of cost begins at nothing.
    positive = {group: np.maximum(column, 0) for group, column in values.items()}
    ordered = sorted(positive, key=lambda group: (-float(positive[group].sum()), group))
    total = np.sum([positive[group] for group in ordered], axis=0)
    first = first_use(total)
    return Histories(
        groups=tuple(ordered),
        parts=tuple(positive[group][first_use(positive[group]) :] for group in ordered),
        total=total[first:],
        starts=tuple(steps[first:]),
        unit=next(iter(units), ""),
    )


def first_use(values: Floats) -> int:
    """Returns the first step with usage; that of the last step where there is none."""
    used = np.flatnonzero(values)
    return int(used[0]) if len(used) else len(values) - 1
