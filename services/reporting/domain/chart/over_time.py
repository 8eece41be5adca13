"""Cost over time: one line with what is expected and how sure that is, or groups stacked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from services.kernel.money import add_exactly
from services.reporting.domain.chart.canvas import (
    Canvas,
    Spec,
    empty,
    exact,
    instant_text,
    picture,
    text_mark,
)
from services.reporting.domain.chart.lettering import clean, shortened, width_of
from services.reporting.domain.chart.ranking import Ranked, largest_groups
from services.reporting.domain.chart.rows import CostStep, GroupCost

SERIES_MAX: Final = 6
_HEIGHT: Final = 300
LEGEND_SIZE: Final = 12
_LEGEND_SYMBOL: Final = 34  # pixels of a legend's entry beside its text


def cost_over_time(rows: Sequence[CostStep], canvas: Canvas) -> Spec:
    """Returns a line with the forecast's bands, or stacked areas where rows have groups."""
    if not rows:
        return empty(canvas, "No cost was recorded for this question.")
    if any(row.group for row in rows):
        return _stacked(rows, canvas)
    return _line(sorted(rows, key=lambda row: row.start_at), canvas)


def time_axis(canvas: Canvas, instants: Sequence[datetime]) -> Spec:
    """Returns the encoding of an axis of time. instants: all that are drawn."""
    span = (max(instants) - min(instants)).days
    hours, days, years = 3, 120, 800
    if span <= hours:
        form = "%-d %b %H:%M"
    elif span <= days:
        form = "%-d %b"
    else:
        form = "%b %Y" if span <= years else "%Y"
    count = max(3, canvas.inner_width // 110)
    return {
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {"labelExpr": f"utcFormat(datum.value, '{form}')", "tickCount": count},
    }


def money_axis(canvas: Canvas, largest: Decimal, *, count: int = 5) -> Spec:
    """Returns the encoding of an axis of money."""
    return {
        "type": "quantitative",
        "axis": {"labelExpr": canvas.money.axis(largest), "tickCount": count, "grid": True},
    }


def _line(rows: Sequence[CostStep], canvas: Canvas) -> Spec:
    past = [row for row in rows if not row.is_forecast]
    ahead = [row for row in rows if row.is_forecast]
    if ahead:
        note = "dashed: forecast with its 80 and 95 % intervals"
        canvas = canvas.noted(note)
    # The forecast goes on from the last known step, so that no gap parts the two.
    coming = [_joint(past[-1]), *ahead] if past and ahead else ahead
    x = time_axis(canvas, [row.start_at for row in rows]) | {"field": "at"}
    largest = max(row.upper_95 or row.upper_80 or row.cost for row in rows)
    y = money_axis(canvas, largest) | {"field": "cost"}
    stroke = {"type": "line", "color": canvas.theme.accent, "strokeWidth": 2}
    lines = (
        (coming, stroke | {"strokeDash": [5, 4]}),
        (past, stroke | {"point": {"size": 36, "filled": True}} if len(past) == 1 else stroke),
    )
    layers = [
        *(_band(canvas, coming, level, x, y) for level in ("95", "80") if ahead),
        *(_layer(canvas, some, mark, x, y) for some, mark in lines if some),
        *([_peak(canvas, past, x, y)] if past else []),
    ]
    return picture(canvas, layers, liked_height=_HEIGHT)


def _layer(canvas: Canvas, rows: Sequence[CostStep], mark: Spec, x: Spec, y: Spec) -> Spec:
    tooltip = [{"field": "start", "title": "Start"}, {"field": "cost_exact", "title": "Cost"}]
    return {
        "data": {"values": [_value(row, canvas) for row in rows]},
        "mark": mark,
        "encoding": {"x": x, "y": y, "tooltip": tooltip},
    }


def _band(canvas: Canvas, rows: Sequence[CostStep], level: str, x: Spec, y: Spec) -> Spec:
    opacity = {"95": 0.14, "80": 0.22}[level]
    mark = {"type": "area", "color": canvas.theme.accent, "opacity": opacity}
    layer = _layer(canvas, rows, mark, x, y | {"field": f"lower_{level}"})
    layer["encoding"] |= {"y2": {"field": f"upper_{level}"}}
    return layer


def _peak(canvas: Canvas, rows: Sequence[CostStep], x: Spec, y: Spec) -> Spec:
    """Returns a label at the costliest step, on the side where there is room."""
    peak = max(rows, key=lambda row: row.cost)
    is_late = rows.index(peak) > len(rows) // 2
    text = canvas.money.labels([peak.cost])(peak.cost)
    mark = text_mark(canvas.theme.text, align="right" if is_late else "left")
    return {
        "data": {"values": [_value(peak, canvas)]},
        "mark": mark | {"dx": -6 if is_late else 6, "dy": -6, "text": text},
        "encoding": {"x": x, "y": y},
    }


def _joint(row: CostStep) -> CostStep:
    cost = row.cost
    return replace(row, lower_80=cost, upper_80=cost, lower_95=cost, upper_95=cost)


def _value(row: CostStep, canvas: Canvas) -> Spec:
    value = {"at": canvas.wall_time(row.start_at), "start": instant_text(row.start_at)}
    value |= exact("cost", row.cost)
    for name in ("lower_80", "upper_80", "lower_95", "upper_95"):
        bound = getattr(row, name)
        value |= {} if bound is None else exact(name, bound)
    return value


def _stacked(rows: Sequence[CostStep], canvas: Canvas) -> Spec:
    theme = canvas.theme
    groups = largest_groups([GroupCost(row.group, row.cost) for row in rows], SERIES_MAX)
    starts = sorted({row.start_at for row in rows})
    costs: dict[tuple[str, datetime], list[Decimal]] = defaultdict(list)
    for row in rows:
        costs[row.group, row.start_at].append(row.cost)
    values = [
        {
            "at": canvas.wall_time(start),
            "start": instant_text(start),
            "group": name,
            "place": place,
            # A group without cost in a step lies flat there instead of being left out.
            **exact(
                "cost", add_exactly(cost for each in group.names for cost in costs[each, start])
            ),
        }
        for place, (group, name) in enumerate(zip(groups, _distinct(groups, canvas), strict=True))
        for start in starts
    ]
    names = list(dict.fromkeys(value["group"] for value in values))
    colours = [
        theme.rest if group.is_rest else theme.series[place] for place, group in enumerate(groups)
    ]
    tops = [add_exactly(row.cost for row in rows if row.start_at == start) for start in starts]
    mark = {"type": "area"} if len(starts) > 1 else {"type": "bar", "width": 48}
    layer = {
        "mark": mark | {"stroke": theme.background, "strokeWidth": 1},
        "encoding": {
            "x": time_axis(canvas, starts) | {"field": "at"},
            "y": money_axis(canvas, max(tops)) | {"field": "cost", "stack": "zero"},
            "order": {"field": "place", "type": "ordinal"},
            "color": {
                "field": "group",
                "type": "nominal",
                "sort": None,
                "scale": {"domain": names, "range": colours},
                "legend": {"columns": _columns(names, canvas.inner_width)},
            },
            "tooltip": [
                {"field": "group", "title": "Group"},
                {"field": "start", "title": "Start"},
                {"field": "cost_exact", "title": "Cost"},
            ],
        },
    }
    return picture(canvas, [layer], liked_height=_HEIGHT + 40, values=values)


def _distinct(groups: Sequence[Ranked], canvas: Canvas) -> list[str]:
    """Returns names for the legend, short enough and no two alike."""
    room = min(canvas.inner_width / 2 - _LEGEND_SYMBOL, 180)
    names: list[str] = []
    for place, group in enumerate(groups):
        name = shortened(clean(group.name), room, LEGEND_SIZE)
        names.append(name if name and name not in names else f"{place + 1}. {name}".strip())
    return names


def _columns(names: Sequence[str], width: float) -> int:
    """Returns how many entries of a legend stand side by side."""
    widest = max(width_of(name, LEGEND_SIZE) for name in names) + _LEGEND_SYMBOL
    return max(1, min(len(names), int(width // widest)))
