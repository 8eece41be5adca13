"""Reads what the charts of cost are drawn from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Final

from services.kernel.caller import current_caller
from services.kernel.errors import FieldViolations
from services.kernel.money import add_exactly
from services.kernel.period import Granularity
from services.reporting.domain.chart.catalog import (
    COST_BREAKDOWN,
    COST_BY_REGION,
    COST_HEATMAP,
    COST_OVER_TIME,
    COST_TREEMAP,
    COST_VARIANCE,
    ChartKind,
)
from services.reporting.domain.chart.question import HEATMAP_DAYS_MAX, ChartFrame, ChartQuestion
from services.reporting.domain.chart.ranking import NO_NAME
from services.reporting.domain.chart.rows import CostStep, GroupCost, HourCost, Row, VarianceStep
from services.reporting.domain.costs import CostAnswer, CostQuestion, CostRow
from services.reporting.domain.dashboard.question import previous_period
from services.reporting.domain.forecast.steps import steps_of
from services.reporting.domain.forecast.wish import ForecastWish
from services.reporting.errors import NoHistory
from services.reporting.service.charts import Picture, money_style
from services.reporting.service.forecasting import Forecasts
from services.reporting.service.peers import UsageReader

DEFAULT_GROUPS: Final = {
    COST_BREAKDOWN.name: ("department",),
    COST_BY_REGION.name: ("region",),
    COST_TREEMAP.name: ("department", "resource_type"),
    COST_VARIANCE.name: ("department",),
}
HORIZON_DAYS: Final = 30
BANDS: Final = (Decimal("0.8"), Decimal("0.95"))
# A forecast goes on from a period that ends in the present or nearly so.
RECENT: Final = timedelta(days=1)


class CostPictures:
    """Charts of cost."""

    def __init__(self, usage: UsageReader, forecasts: Forecasts) -> None:
        """Takes whom it asks."""
        self._usage = usage
        self._forecasts = forecasts

    async def by_group(
        self, kind: ChartKind, question: ChartQuestion, frame: ChartFrame
    ) -> Picture:
        """Returns the cost of groups as bars or tiles. Raises UsageQuestionRefused."""
        asked = _asked(kind, question, frame)
        answer = await self._usage.costs(asked)
        rows = [_group(row, kind) for row in answer.rows]
        return _picture(kind, f"Cost by {_by(asked)}", rows, answer, frame=frame)

    async def over_time(self, question: ChartQuestion, frame: ChartFrame) -> Picture:
        """Returns cost by step, with its forecast where it reaches the present.

        Raises UsageQuestionRefused.
        """
        kind, step = COST_OVER_TIME, frame.granularity
        asked = _asked(kind, question, frame)
        answer = await self._usage.costs(replace(asked, granularity=step))
        if asked.group_by:
            rows: list[CostStep] = [
                CostStep(row.start_at, row.cost, _joined(row))
                for row in answer.rows
                if row.start_at is not None
            ]
            title = f"Cost by {step.value} and {_by(asked)}"
            return _picture(kind, title, rows, answer, frame=frame)
        costs = {row.start_at: row.cost for row in answer.rows}
        steps = steps_of(frame.period, step, frame.tz) if answer.rows else []
        rows = [CostStep(start, costs.get(start, Decimal(0))) for start in steps]
        ahead = await self._ahead(asked, frame) if rows else []
        if ahead:
            # The step that is not over yet is forecast as a whole.
            rows = [row for row in rows if row.start_at < ahead[0].start_at]
        return _picture(kind, f"Cost by {step.value}", [*rows, *ahead], answer, frame=frame)

    async def _ahead(self, asked: CostQuestion, frame: ChartFrame) -> list[CostStep]:
        is_recent = frame.period.end >= frame.now - RECENT
        if not (is_recent and current_caller().may("forecasts.read")):
            return []
        wish = ForecastWish(
            tenant_id=asked.tenant_id,
            horizon_days=HORIZON_DAYS,
            filter=asked.filter,
            granularity=frame.granularity,
            currency_code=frame.currency_code,
            levels=BANDS,
        )
        try:
            found = await self._forecasts.forecast(wish)
        except NoHistory:
            return []
        narrow, wide = found.total.bands
        return [
            CostStep(
                start,
                found.total.values[place],
                lower_80=narrow.lower[place],
                upper_80=narrow.upper[place],
                lower_95=wide.lower[place],
                upper_95=wide.upper[place],
            )
            for place, start in enumerate(found.starts)
        ]

    async def heatmap(self, question: ChartQuestion, frame: ChartFrame) -> Picture:
        """Returns cost by hour and weekday. Raises FieldViolations, UsageQuestionRefused."""
        if frame.period.duration > timedelta(days=HEATMAP_DAYS_MAX):
            text = f"a heat map is of at most {HEATMAP_DAYS_MAX} days"
            raise FieldViolations([("start", text)])
        asked = replace(_asked(COST_HEATMAP, question, frame), granularity=Granularity.HOUR)
        answer = await self._usage.costs(asked)
        rows = []
        for row in answer.rows:
            if row.start_at is not None:
                local = row.start_at.astimezone(frame.tz)
                rows.append(HourCost(local.weekday(), local.hour, row.cost))
        title = "Cost by hour and weekday"
        return _picture(COST_HEATMAP, title, rows, answer, frame=frame, note=str(frame.tz))

    async def variance(self, question: ChartQuestion, frame: ChartFrame) -> Picture:
        """Returns what changed since the period before. Raises UsageQuestionRefused."""
        asked = _asked(COST_VARIANCE, question, frame)
        answer = await self._usage.costs(replace(asked, has_previous=True))
        total = answer.total(frame.currency_code)
        before = replace(frame, period=previous_period(frame.period, frame.tz))
        changes: dict[str, list[Decimal]] = defaultdict(list)
        for row in answer.rows:
            changes[_joined(row) or NO_NAME] += [row.cost, -(row.previous_cost or Decimal(0))]
        moved = {name: add_exactly(amounts) for name, amounts in changes.items()}
        ranked = sorted(moved.items(), key=lambda item: (-abs(item[1]), item[0]))
        rows = [
            VarianceStep(before.dates, total.previous_cost or Decimal(0), "total"),
            *(VarianceStep(name, amount) for name, amount in ranked if amount),
            VarianceStep(frame.dates, total.cost, "total"),
        ]
        title = f"What changed since the period before, by {_by(asked)}"
        shown = rows if answer.rows else []
        return _picture(COST_VARIANCE, title, shown, answer, frame=frame)


def _asked(kind: ChartKind, question: ChartQuestion, frame: ChartFrame) -> CostQuestion:
    return CostQuestion(
        tenant_id=question.tenant_id,
        period=frame.period,
        group_by=question.group_by or DEFAULT_GROUPS.get(kind.name, ()),
        filter=question.filter,
        currency_code=frame.currency_code,
    )


def _by(asked: CostQuestion) -> str:
    return " and ".join(_plain(name) for name in asked.group_by)


def _picture(
    kind: ChartKind,
    title: str,
    rows: Sequence[Row],
    answer: CostAnswer,
    *,
    frame: ChartFrame,
    note: str = "",
) -> Picture:
    code = frame.currency_code
    said = f"billed cost in {code}"
    total = money_style(code).text(answer.total(code).cost)
    return Picture(
        chart=kind.name,
        rows=rows,
        title=title,
        subtitle=" \N{MIDDLE DOT} ".join(filter(None, (frame.dates, said, note))),
        description=f"{title}, {frame.dates}: {total} in all.",
        currency_code=code,
        tz=frame.tz,
    )


def _group(row: CostRow, kind: ChartKind) -> GroupCost:
    if kind is COST_TREEMAP and len(row.group) > 1:
        return GroupCost(_names(row.group[1:]) or NO_NAME, row.cost, row.group[0] or NO_NAME)
    return GroupCost(_joined(row), row.cost)


def _joined(row: CostRow) -> str:
    return _names(row.group)


def _names(group: tuple[str, ...]) -> str:
    return " / ".join(name or NO_NAME for name in group) if any(group) else ""


def _plain(dimension: str) -> str:
    return dimension.replace("_", " ").replace("tag:", "tag ")
