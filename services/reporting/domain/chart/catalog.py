"""All charts there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.reporting.domain.chart.bars import bars
from services.reporting.domain.chart.burn_down import burn_down
from services.reporting.domain.chart.canvas import Canvas, Spec
from services.reporting.domain.chart.gauge import gauge
from services.reporting.domain.chart.heatmap import heatmap
from services.reporting.domain.chart.over_time import cost_over_time
from services.reporting.domain.chart.priorities import priorities
from services.reporting.domain.chart.rows import (
    AlertMark,
    BudgetUse,
    BurnStep,
    CostStep,
    GroupCost,
    HourCost,
    Row,
    SavingChoice,
    VarianceStep,
    from_json,
)
from services.reporting.domain.chart.timeline import timeline
from services.reporting.domain.chart.treemap import treemap
from services.reporting.domain.chart.variance import variance


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

COST_TREEMAP: Final = ChartKind(
    "cost-treemap", "Cost as area, group within group", GroupCost, treemap, GROUPED
)
COST_HEATMAP: Final = ChartKind(
    "cost-heatmap", "Cost by hour of the day and weekday", HourCost, heatmap, COSTS
)
COST_VARIANCE: Final = ChartKind(
    "cost-variance",
    "What changed since the period before, by group",
    VarianceStep,
    variance,
    GROUPED,
)
BUDGET_GAUGE: Final = ChartKind(
    "budget-gauge",
    "How much of a budget is used, and where it will end",
    BudgetUse,
    gauge,
    (*LOOK, "budget_id"),
    "budgets.read",
)
BUDGET_BURN_DOWN: Final = ChartKind(
    "budget-burn-down",
    "What remains of a budget, and until when",
    BurnStep,
    burn_down,
    (*LOOK, "budget_id"),
    "budgets.read",
)
PRIORITIES: Final = ChartKind(
    "recommendation-priorities",
    "Open recommendations by effort and saving",
    SavingChoice,
    priorities,
    (*LOOK, "currency"),
    "recommendations.read",
)
ALERT_TIMELINE: Final = ChartKind(
    "alert-timeline",
    "When alerts fired, by severity",
    AlertMark,
    timeline,
    (*LOOK, "start", "end"),
    "alerts.read",
)

_ALL: Final = (
    *(ALERT_TIMELINE, BUDGET_BURN_DOWN, BUDGET_GAUGE, COST_BREAKDOWN, COST_BY_REGION),
    *(COST_HEATMAP, COST_OVER_TIME, COST_TREEMAP, COST_VARIANCE, PRIORITIES),
)
CHARTS: Final[Mapping[str, ChartKind]] = {kind.name: kind for kind in _ALL}
