"""When alerts fired, in a lane for each severity; the open ones are filled, the others rings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from services.reporting.domain.chart.bar_rows import pixels
from services.reporting.domain.chart.canvas import (
    Canvas,
    Spec,
    empty,
    instant_text,
    picture,
    text_mark,
)
from services.reporting.domain.chart.lettering import SMALLEST, clean, shortened, width_of
from services.reporting.domain.chart.over_time import time_axis
from services.reporting.domain.chart.rows import AlertMark

LANES: Final = ("critical", "warning", "info")
MARKS_MAX: Final = 500
_LANE: Final = 64
_AXIS: Final = 26
_NAMES: Final = 74  # pixels for the lanes' names
_EDGE: Final = 12
_SIZE: Final = 12
_POINT: Final = 6  # radius
_RISE: Final = 15  # of a point that another one is in the way of
_ROWS: Final = 3
_LABEL_MAX: Final = 480
_LABEL_MIN: Final = 96
_LABEL_GAP: Final = 8


def timeline(rows: Sequence[AlertMark], canvas: Canvas) -> Spec:
    """Returns lanes of marks, the latest MARKS_MAX, labelled where there is room."""
    known = sorted((row for row in rows if row.severity in LANES), key=lambda row: row.fired_at)
    if not known:
        return empty(canvas, "No alert fired in this period.")
    if len(known) > MARKS_MAX:
        canvas = canvas.noted(f"the latest {MARKS_MAX} of {len(known):,}")
    canvas = canvas.noted(canvas.tz.key).noted("filled: open, ring: over")
    return _Lanes(known[-MARKS_MAX:], canvas).picture()


class _Lanes:
    """Marks and labels in pixels, over an axis of time."""

    def __init__(self, rows: Sequence[AlertMark], canvas: Canvas) -> None:
        self._rows = rows
        self._canvas = canvas
        self._liked = _LANE * len(LANES) + _AXIS + 32
        first, last = rows[0].fired_at, rows[-1].fired_at
        # One alert alone still has a time before and after.
        margin = max((last - first) * 0.03, timedelta(hours=6))
        self._first, self._last = first - margin, last + margin
        self._left, self._right = float(_NAMES), float(canvas.inner_width - _EDGE)

    def picture(self) -> Spec:
        """Returns the whole picture."""
        theme = self._canvas.theme
        values = [value for place, lane in enumerate(LANES) for value in self._lane(place, lane)]
        colours = {"critical": theme.bad, "warning": theme.warning, "info": theme.accent}
        point = {
            "type": "point",
            "shape": "circle",
            "size": 4 * _POINT**2,
            "strokeWidth": 2,
            "opacity": 1,
        }
        scale = {"domain": list(colours), "range": list(colours.values())}
        colour = {"field": "severity", "type": "nominal", "scale": scale, "legend": None}
        marks = {
            "mark": point,
            "encoding": {
                **self._position(),
                "stroke": colour,
                "fill": {
                    "condition": {"test": "!datum.open", "value": theme.background},
                    **colour,
                },
                "description": {"field": "said"},
                "tooltip": [
                    {"field": "name", "title": "Alert"},
                    {"field": "instant", "title": "Time"},
                    {"field": "severity", "title": "Severity"},
                ],
            },
        }
        labels = {
            "mark": text_mark(theme.text) | {"dx": _POINT + _LABEL_GAP / 2},
            "encoding": {**self._position(), "text": {"field": "label"}},
        }
        layers = [*self._names(), marks, labels]
        return picture(self._canvas, layers, liked_height=self._liked, values=values)

    def _position(self) -> Spec:
        x = time_axis(self._canvas, [self._first, self._last]) | {"field": "at"}
        domain = [self._canvas.wall_time(edge) for edge in (self._first, self._last)]
        x["scale"] |= {"domain": domain, "range": [self._left, self._right]}
        return {"x": x, "y": pixels("y")}

    def _x(self, instant: datetime) -> float:
        share = (instant - self._first) / (self._last - self._first)
        return self._left + share * (self._right - self._left)

    def _lane(self, place: int, lane: str) -> list[Spec]:
        """Returns the marks of a lane: raised where another is in the way, labelled where free."""
        rows = [row for row in self._rows if row.severity == lane]
        bottom = (place + 1) * _LANE - 2 * _RISE
        ends = [-float(_LANE)] * _ROWS
        levels = []
        for row in rows:
            x = self._x(row.fired_at)
            level = next((at for at, end in enumerate(ends) if x - end >= 0), len(ends) - 1)
            ends[level] = x + 2 * _POINT + 2
            levels.append((x, level))
        values = []
        for number, (row, (x, level)) in enumerate(zip(rows, levels, strict=True)):
            later = [other for other, at in levels[number + 1 :] if at == level]
            room = min(min(later, default=self._right) - x - 3 * _POINT - _LABEL_GAP, _LABEL_MAX)
            label = shortened(clean(row.label), room, SMALLEST)
            if room < _LABEL_MIN and label != clean(row.label):
                label = ""
            values.append(
                {
                    "at": self._canvas.wall_time(row.fired_at),
                    "instant": instant_text(row.fired_at),
                    "severity": lane,
                    "name": clean(row.label),
                    "label": label,
                    "said": f"{lane}, {instant_text(row.fired_at)}: {clean(row.label)}",
                    "open": row.is_open,
                    "y": bottom - level * _RISE,
                }
            )
        return values

    def _names(self) -> list[Spec]:
        theme = self._canvas.theme
        counts = {lane: sum(row.severity == lane for row in self._rows) for lane in LANES}
        values = [
            {
                "name": lane.capitalize(),
                "count": f"{counts[lane]:,}",
                "after": width_of(lane.capitalize(), _SIZE, is_bold=True) + 6,
                "y": (place + 1) * _LANE - 2 * _RISE,
                "edge": (place + 1) * _LANE - _RISE / 2,
            }
            for place, lane in enumerate(LANES)
        ]
        data = {"data": {"values": values}}
        name = {"x": {"value": 0}, "y": pixels("y"), "text": {"field": "name"}}
        count = {"x": pixels("after"), "y": pixels("y"), "text": {"field": "count"}}
        edges = {"x": {"value": 0}, "x2": {"value": self._right + _EDGE}, "y": pixels("edge")}
        return [
            data
            | {
                "mark": {"type": "rule", "color": theme.grid, "aria": False},
                "encoding": edges,
            },
            data | {"mark": text_mark(theme.text, size=_SIZE, is_bold=True), "encoding": name},
            data | {"mark": text_mark(theme.muted, size=_SIZE), "encoding": count},
        ]
