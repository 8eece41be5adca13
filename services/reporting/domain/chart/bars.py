"""Cost by group, largest first, each with its amount and its share."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from services.kernel.money import add_exactly
from services.reporting.domain.chart.amounts import share_text
from services.reporting.domain.chart.bar_rows import BarRow, bar_rows
from services.reporting.domain.chart.canvas import Canvas, Spec, empty
from services.reporting.domain.chart.ranking import largest_groups
from services.reporting.domain.chart.rows import GroupCost

BARS_MAX: Final = 10


def bars(rows: Sequence[GroupCost], canvas: Canvas) -> Spec:
    """Returns bars of cost by group."""
    if not rows:
        return empty(canvas, "No cost was recorded for this question.")
    groups = largest_groups(rows, BARS_MAX)
    total = add_exactly(row.cost for row in rows)
    labels = canvas.money.labels(row.cost for row in groups)
    theme = canvas.theme
    return bar_rows(
        [
            BarRow(
                name=row.name,
                begin=Decimal(0),
                end=row.cost,
                amount=row.cost,
                text=labels(row.cost),
                note=share_text(row.cost, total),
                colour=theme.rest if row.is_rest else theme.accent,
            )
            for row in groups
        ],
        canvas,
    )
