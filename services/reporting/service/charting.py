"""GetChart and ListCharts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from services.kernel.caller import current_caller, require_permission
from services.kernel.clock import Clock
from services.kernel.filter import evaluate, parse_filter, parse_order
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.reporting.domain.chart.catalog import (
    ALERT_TIMELINE,
    BUDGET_BURN_DOWN,
    BUDGET_GAUGE,
    CHARTS,
    COST_BREAKDOWN,
    COST_BY_REGION,
    COST_HEATMAP,
    COST_OVER_TIME,
    COST_TREEMAP,
    COST_VARIANCE,
    PRIORITIES,
    ChartKind,
)
from services.reporting.domain.chart.question import ChartFrame, ChartQuestion, frame_of
from services.reporting.errors import ChartNotFound
from services.reporting.service.chart_budgets import BudgetCharts
from services.reporting.service.chart_costs import CostPictures
from services.reporting.service.chart_peers import ChartPeers
from services.reporting.service.charts import MEDIA_TYPES, Charts, Look, Picture
from services.reporting.service.forecasting import Forecasts

NAME: Final = "chart"

Source = Callable[[ChartQuestion, ChartFrame], Awaitable[Picture]]


class Charting:
    """Answers with charts of what the tenant has now."""

    def __init__(
        self,
        charts: Charts,
        peers: ChartPeers,
        forecasts: Forecasts,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """Takes what draws, and whom it asks."""
        self._charts = charts
        self._usage = peers.usage
        costs = CostPictures(peers.usage, forecasts)
        budgets = BudgetCharts(peers)
        self._sources: dict[str, Source] = {
            ALERT_TIMELINE.name: budgets.alerts,
            BUDGET_BURN_DOWN.name: budgets.burn_down,
            BUDGET_GAUGE.name: budgets.gauge,
            COST_BREAKDOWN.name: partial(costs.by_group, COST_BREAKDOWN),
            COST_BY_REGION.name: partial(costs.by_group, COST_BY_REGION),
            COST_HEATMAP.name: costs.heatmap,
            COST_OVER_TIME.name: costs.over_time,
            COST_TREEMAP.name: partial(costs.by_group, COST_TREEMAP),
            COST_VARIANCE.name: costs.variance,
            PRIORITIES.name: budgets.priorities,
        }
        self._tokens = tokens
        self._clock = clock

    async def get_chart(self, question: ChartQuestion, form: str, look: Look) -> tuple[str, bytes]:
        """Returns a chart's media type and content. form: `vega-lite`, `svg` or `png`.

        Raises ChartNotFound, PermissionDenied, FieldViolations, and what the peers refuse.
        """
        kind = CHARTS.get(question.chart)
        if kind is None:
            raise ChartNotFound(
                f"there is no chart {question.chart[:60]!r}; there are {', '.join(CHARTS)}",
                chart=question.chart[:128],
            )
        if kind.permission:
            require_permission(current_caller(), kind.permission)
        question.require_taken(kind)
        tenant = await self._usage.tenant(question.tenant_id)
        frame = frame_of(question, self._clock.now(), tenant.tz, tenant.currency_code)
        picture = await self._sources[kind.name](question, frame)
        return MEDIA_TYPES[form], await self._charts.render(picture, form, look)

    def list_charts(self, request: PageRequest) -> Page[ChartKind]:
        """Returns a page of the charts there are.

        Raises InvalidFilter, InvalidOrder, InvalidPageToken.
        """
        wanted = parse_filter(request.filter)
        (term,) = parse_order(request.order_by, [NAME], default=NAME, tie_break=NAME)
        kinds = [kind for kind in CHARTS.values() if evaluate(wanted, {NAME: kind.name})]
        kinds.sort(key=lambda kind: kind.name, reverse=term.is_descending)
        after = self._tokens.decode(request)
        if after is not None:
            names = [kind.name for kind in kinds]
            kinds = kinds[names.index(str(after[0])) + 1 :]
        return self._tokens.page(request, kinds[: request.limit + 1], lambda kind: [kind.name])
