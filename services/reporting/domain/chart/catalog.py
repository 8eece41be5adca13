"""All charts there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.reporting.domain.chart.bars import bars
from services.reporting.domain.chart.canvas import Canvas, Spec
from services.reporting.domain.chart.over_time import cost_over_time
from services.reporting.domain.chart.rows import CostStep, GroupCost, Row, from_json


@dataclass(frozen=True, slots=True)
class ChartKind:
    """A declared chart. row: the kind of its rows; parameters: arguments of GetChart it takes.

    permission: what a caller needs beside `charts.read`; empty for nothing.
    """

    name: str
    title: str
    row: type[Any]
    spec: Callable[[Sequence[Any], Canvas], Spec]
    parameters: tuple[str, ...]
    permission: str = ""

    def rows(self, written: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Returns rows that were kept as JSON. Raises KeyError, TypeError, ValueError."""
        return [from_json(self.row, each) for each in written]


LOOK: Final = ("format", "theme", "width", "height")
COSTS: Final = (*LOOK, "start", "end", "filter", "currency")
GROUPED: Final = (*COSTS, "group_by")

COST_OVER_TIME: Final = ChartKind(
    "cost-over-time",
    "Cost over time, with its forecast",
    CostStep,
    cost_over_time,
    (*GROUPED, "granularity"),
)
COST_BREAKDOWN: Final = ChartKind(
    "cost-breakdown", "Cost by group, largest first", GroupCost, bars, GROUPED
)
COST_BY_REGION: Final = ChartKind(
    "cost-by-region", "Cost by region, largest first", GroupCost, bars, COSTS
)

CHARTS: Final[Mapping[str, ChartKind]] = {
    kind.name: kind
    for kind in sorted((COST_OVER_TIME, COST_BREAKDOWN, COST_BY_REGION), key=lambda kind: kind.name)
}
