"""Cost by hour of the day and weekday, all weeks of a period together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from services.kernel.money import add_exactly
from services.reporting.domain.chart.canvas import Canvas, Spec, drawn, empty, exact, picture
from services.reporting.domain.chart.rows import HourCost

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOURS: Final = 24
_CELL: Final = 30
_CELL_NARROW: Final = 22
_LEGEND: Final = 76


def heatmap(rows: Sequence[HourCost], canvas: Canvas) -> Spec:
    """Returns seven rows of twenty-four cells, darker (or lighter, in the dark) for more cost."""
    if not any(row.cost for row in rows):
        return empty(canvas, "No cost was recorded for this question.")
    costs: dict[tuple[int, int], list[Decimal]] = defaultdict(list)
    for row in rows:
        costs[row.weekday, row.hour].append(row.cost)
    cells = {
        (day, hour): add_exactly(costs[day, hour])
        for day in range(len(DAYS))
        for hour in range(HOURS)
    }
    labels = canvas.money.labels(cells.values())
    peak = max(cells, key=lambda cell: cells[cell])
    note = f"most on {DAYS[peak[0]]} {_hour(peak[1])}: {labels(cells[peak])}"
    canvas = canvas.noted(note)
    values = [
        {
            "weekday": day,
            "hour": hour,
            "when": f"{DAYS[day]} {_hour(hour)}",
            **exact("cost", cost),
            "said": f"{DAYS[day]} {_hour(hour)}: {labels(cost)}",
        }
        for (day, hour), cost in cells.items()
    ]
    height = (_CELL_NARROW if canvas.is_narrow else _CELL) * len(DAYS) + _LEGEND
    layers = [_cells(canvas, cells[peak]), _outline(canvas, peak)]
    return picture(canvas, layers, liked_height=height, values=values)


def _hour(hour: int) -> str:
    return f"{hour:02}:00\N{EN DASH}{(hour + 1) % HOURS:02}:00"


def _cells(canvas: Canvas, largest: Decimal) -> Spec:
    theme = canvas.theme
    return {
        "mark": {"type": "rect", "stroke": theme.background, "strokeWidth": 1},
        "encoding": {
            **_position(canvas),
            "color": {
                "field": "cost",
                "type": "quantitative",
                "scale": {
                    "type": "linear",
                    "domain": [0, drawn(largest)] if largest > 0 else [-1, 0],
                    "range": list(theme.ramp),
                    "interpolate": "lab",
                    "clamp": True,
                },
                "legend": {
                    "type": "gradient",
                    "direction": "horizontal",
                    "gradientLength": min(canvas.inner_width - 60, 220),
                    "gradientThickness": 8,
                    "tickCount": 3,
                    "labelExpr": canvas.money.axis(largest),
                    "labelColor": theme.muted,
                    "labelFontSize": 11,
                },
            },
            "description": {"field": "said"},
            "tooltip": [
                {"field": "when", "title": "Hour"},
                {"field": "cost_exact", "title": "Cost"},
            ],
        },
    }


def _outline(canvas: Canvas, peak: tuple[int, int]) -> Spec:
    day, hour = peak
    return {
        "data": {"values": [{"weekday": day, "hour": hour}]},
        "mark": {
            "type": "rect",
            "filled": False,
            "stroke": canvas.theme.text,
            "strokeWidth": 2,
            "aria": False,
        },
        "encoding": _position(canvas),
    }


def _position(canvas: Canvas) -> Spec:
    minutes = "" if canvas.is_narrow else ":00"
    shown = list(range(0, HOURS, 6 if canvas.is_narrow else 3))
    days = "[" + ",".join(f"'{day}'" for day in DAYS) + "][datum.value]"
    return {
        "x": {
            "field": "hour",
            "type": "ordinal",
            "scale": {"domain": list(range(HOURS))},
            "axis": {
                "values": shown,
                "labelExpr": f"pad(toString(datum.value), 2, '0', 'left') + '{minutes}'",
                "labelOverlap": False,
                "labelAngle": 0,
                "domain": False,
                # Of twenty-four narrow cells, a label is wider than its own.
                "labelBound": False,
            },
        },
        "y": {
            "field": "weekday",
            "type": "ordinal",
            "scale": {"domain": list(range(len(DAYS)))},
            "axis": {"labelExpr": days, "domain": False, "grid": False},
        },
    }
