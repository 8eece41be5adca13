"""Horizontal bars, one a group, largest first, each with its amount and its share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.kernel.money import add_exactly
from services.reporting.domain.chart.amounts import share_text
from services.reporting.domain.chart.canvas import Canvas, Spec, empty, exact, picture, text_mark
from services.reporting.domain.chart.lettering import clean, shortened, width_of
from services.reporting.domain.chart.ranking import largest_groups
from services.reporting.domain.chart.rows import GroupCost

BARS_MAX: Final = 10
SIZE: Final = 12
GAP: Final = 12
_BAR: Final = 18
_STEP: Final = 30
# Where a name stands above its bar.
_TALL_STEP: Final = 42
_THIN_BAR: Final = 12
# Of the width, for names at the left.
_NAMES_MAX: Final = 0.28


def bars(rows: Sequence[GroupCost], canvas: Canvas) -> Spec:
    """Returns bars of cost by group."""
    if not rows:
        return empty(canvas, "No cost was recorded for this question.")
    groups = largest_groups(rows, BARS_MAX)
    total = add_exactly(row.cost for row in rows)
    labels = canvas.money.labels(row.cost for row in groups)
    values = [
        {
            "place": place,
            "name": clean(row.name),
            **exact("cost", row.cost),
            "end": max(float(row.cost), 0.0),
            "amount": labels(row.cost),
            "share": share_text(row.cost, total),
            "said": f"{clean(row.name)}: {labels(row.cost)}, {share_text(row.cost, total)}",
            "rest": row.is_rest,
        }
        for place, row in enumerate(groups)
    ]
    step = _TALL_STEP if canvas.is_narrow else _STEP
    layers = _narrow(canvas, values) if canvas.is_narrow else _wide(canvas, values)
    return picture(canvas, layers, liked_height=step * len(groups) + 32, values=values)


def _wide(canvas: Canvas, values: list[Spec]) -> list[Spec]:
    theme, width = canvas.theme, canvas.inner_width
    names = min(_widest(values, "name"), width * _NAMES_MAX)
    shares = _widest(values, "share")
    for row in values:
        row["label"] = shortened(row["name"], names, SIZE)
    right = width - shares - GAP - _widest(values, "amount") - GAP
    at_end = {"x": {**_length(values, names + GAP, right), "field": "end"}, "y": _place()}
    return [
        _bar(canvas, values, (names + GAP, right), height=_BAR),
        {
            "mark": text_mark(theme.text, size=SIZE, align="right"),
            "encoding": {"x": {"value": names}, "y": _place(), "text": {"field": "label"}},
        },
        {
            "mark": text_mark(theme.text, size=SIZE) | {"dx": 8},
            "encoding": {**at_end, "text": {"field": "amount"}},
        },
        {
            "mark": text_mark(theme.muted, size=SIZE, align="right"),
            "encoding": {"x": {"value": width}, "y": _place(), "text": {"field": "share"}},
        },
    ]


def _narrow(canvas: Canvas, values: list[Spec]) -> list[Spec]:
    """Returns bars under their names, so that names have the whole width."""
    theme, width = canvas.theme, canvas.inner_width
    shares = _widest(values, "share")
    room = width - shares - _widest(values, "amount") - 3 * GAP
    for row in values:
        row["label"] = shortened(row["name"], room, SIZE)
    above = {"dy": -10}
    return [
        _bar(canvas, values, (0.0, float(width)), height=_THIN_BAR, offset=8),
        {
            "mark": text_mark(theme.text, size=SIZE) | above,
            "encoding": {"x": {"value": 0}, "y": _place(), "text": {"field": "label"}},
        },
        {
            "mark": text_mark(theme.text, size=SIZE, align="right") | above,
            "encoding": {
                "x": {"value": width - shares - GAP},
                "y": _place(),
                "text": {"field": "amount"},
            },
        },
        {
            "mark": text_mark(theme.muted, size=SIZE, align="right") | above,
            "encoding": {"x": {"value": width}, "y": _place(), "text": {"field": "share"}},
        },
    ]


def _bar(
    canvas: Canvas,
    values: list[Spec],
    reach: tuple[float, float],
    *,
    height: int,
    offset: int = 0,
) -> Spec:
    theme = canvas.theme
    return {
        "mark": {"type": "bar", "height": height, "yOffset": offset},
        "encoding": {
            "x": _length(values, *reach) | {"field": "cost"},
            "y": _place(),
            "color": {"condition": {"test": "datum.rest", "value": theme.rest}}
            | {"value": theme.accent},
            "description": {"field": "said"},
            "tooltip": [
                {"field": "name", "title": "Group"},
                {"field": "cost_exact", "title": "Cost"},
                {"field": "share", "title": "Share"},
            ],
        },
    }


def _length(values: list[Spec], left: float, right: float) -> Spec:
    costs = [row["cost"] for row in values]
    domain = [min(*costs, 0.0), max(*costs, 0.0)]
    # Without any cost at all, no bar has a length.
    domain[1] = domain[1] if domain[1] > domain[0] else 1.0
    scale = {"domain": domain, "range": [left, right], "nice": False, "zero": True}
    return {"type": "quantitative", "axis": None, "scale": scale}


def _place() -> Spec:
    return {"field": "place", "type": "ordinal", "axis": None}


def _widest(values: list[Spec], field: str) -> float:
    return max(width_of(str(row[field]), SIZE) for row in values)
