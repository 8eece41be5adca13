"""Rows of every chart, ordinary and hostile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from services.reporting.domain.chart.catalog import (
    ALERT_TIMELINE,
    BUDGET_BURN_DOWN,
    BUDGET_GAUGE,
    COST_BREAKDOWN,
    COST_BY_REGION,
    COST_HEATMAP,
    COST_OVER_TIME,
    COST_TREEMAP,
    COST_VARIANCE,
    PRIORITIES,
)
from services.reporting.domain.chart.rows import (
    AlertMark,
    BudgetUse,
    BurnStep,
    CostStep,
    GroupCost,
    HourCost,
    SavingChoice,
    VarianceStep,
)

START: Final = datetime(2026, 5, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
HOSTILE: Final = (
    "<script>alert(1)</script>",
    '"/></text><script>alert(2)</script>',
    "datum.value'); alert(3); ('",
    "a\x00b\x08\ud800c",
    "<![CDATA[ & ]]>",
    "</script><!--",
)
NAMES: Final = (
    *("Research", "Customer support", "Marketing and brand communication", "Engineering", "Sales"),
    *("Data platform", "Finance", "Legal", "People", "Security", "Facilities", "Operations"),
)


def amount(value: float) -> Decimal:
    """Returns an amount with six digits behind the point."""
    return Decimal(repr(value)).quantize(Decimal("0.000001"))


def groups(names: Sequence[str] = NAMES) -> list[GroupCost]:
    """Returns costs that fall from name to name."""
    return [GroupCost(name, amount(60_000 * 0.7**place)) for place, name in enumerate(names)]


def nested(names: Sequence[str] = NAMES) -> list[GroupCost]:
    """Returns costs of resources in each name."""
    resources = ("gpt-5.1", "claude", "storage", "gpu", "egress", "vector", "logs", "traces", "etc")
    return [
        GroupCost(resource, amount(60_000 * 0.6**place * 0.55**inner), name)
        for place, name in enumerate(names)
        for inner, resource in enumerate(resources)
    ]


def days(count: int = 45) -> list[CostStep]:
    """Returns a cost a day, less at weekends."""
    return [
        CostStep(START + DAY * day, amount(900.0 + 8 * day - 250 * (day % 7 in (1, 2))))
        for day in range(count)
    ]


def days_and_forecast() -> list[CostStep]:
    """Returns days that are known and days to come."""
    known = days()
    coming = [
        CostStep(
            START + DAY * day,
            amount(1_260.0 + 8 * (day - 45)),
            "",
            *(
                amount(1_260.0 + 8 * (day - 45) + by * (30 + 6 * (day - 45)))
                for by in (-1, 1, -2, 2)
            ),
        )
        for day in range(45, 75)
    ]
    return [*known, *coming]


def grouped_days(names: Sequence[str] = NAMES) -> list[CostStep]:
    """Returns a cost a day and name."""
    return [
        CostStep(START + DAY * day, amount(800 * 0.7**place + day), name)
        for day in range(30)
        for place, name in enumerate(names)
    ]


def hours() -> list[HourCost]:
    """Returns a cost for each hour of a week."""
    return [
        HourCost(day, hour, amount(20 + max(0, 7 - abs(hour - 14)) * (4.0 if day > 4 else 20)))
        for day in range(7)
        for hour in range(24)
    ]


def budget(name: str = "Research", spent: str = "7843.20") -> list[BudgetUse]:
    """Returns one budget."""
    return [
        BudgetUse(
            name,
            Decimal(12_000),
            Decimal(spent),
            Decimal(400),
            *map(Decimal, ("11200", "10500", "12100")),
        )
    ]


def burning() -> list[BurnStep]:
    """Returns a budget that runs out before its end."""
    known = [BurnStep(START + DAY * day, Decimal(12_000 - 480 * day)) for day in range(16)]
    end = START + DAY * 31
    return [
        *known,
        BurnStep(end, Decimal(-2880), "expected", Decimal(-3900), Decimal(-1800)),
        BurnStep(end, Decimal(0), "end"),
        BurnStep(START + DAY * 25, Decimal(0), "runway"),
    ]


def changes(names: Sequence[str] = NAMES) -> list[VarianceStep]:
    """Returns a way from one month to another."""
    moved = [
        VarianceStep(name, amount(5_200 * (-0.6) ** place)) for place, name in enumerate(names)
    ]
    after = sum((step.amount for step in moved), Decimal(41_230))
    return [
        VarianceStep("May 2026", Decimal(41_230), "total"),
        *moved,
        VarianceStep("June 2026", after, "total"),
    ]


def choices(names: Sequence[str] = NAMES) -> list[SavingChoice]:
    """Returns recommendations, several alike."""
    efforts = ("low", "medium", "low", "high")
    return [
        SavingChoice(f"Move the jobs of {name} to the night", efforts[place % 4], amount(saving))
        for place, name in enumerate(names)
        for saving in (4_200 * 0.75**place, 4_150 * 0.75**place)
    ]


def alerts(names: Sequence[str] = NAMES) -> list[AlertMark]:
    """Returns alerts, some at almost the same time."""
    severities = ("critical", "warning", "info", "warning")
    return [
        AlertMark(
            START + timedelta(hours=37 * place + 3 * (place % 2)),
            severities[place % 4],
            f"{name} passed 90 % of its budget",
            place % 3 == 0,
        )
        for place, name in enumerate([*names, *names])
    ]


def samples(names: Sequence[str] = NAMES) -> dict[str, tuple[str, list[Any]]]:
    """Returns chart and rows by the name of the sample."""
    return {
        "alert-timeline": (ALERT_TIMELINE.name, alerts(names)),
        "budget-burn-down": (BUDGET_BURN_DOWN.name, burning()),
        "budget-gauge": (BUDGET_GAUGE.name, budget(names[0])),
        "budget-gauge-over": (BUDGET_GAUGE.name, budget(names[0], "13843.20")),
        "cost-breakdown": (COST_BREAKDOWN.name, groups(names)),
        "cost-by-region": (COST_BY_REGION.name, groups(names)[:4]),
        "cost-heatmap": (COST_HEATMAP.name, hours()),
        "cost-over-time": (COST_OVER_TIME.name, days_and_forecast()),
        "cost-over-time-grouped": (COST_OVER_TIME.name, grouped_days(names)),
        "cost-treemap": (COST_TREEMAP.name, nested(names)),
        "cost-treemap-flat": (COST_TREEMAP.name, groups(names)),
        "cost-variance": (COST_VARIANCE.name, changes(names)),
        "recommendation-priorities": (PRIORITIES.name, choices(names)),
    }
