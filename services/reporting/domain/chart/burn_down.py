"""What remains of a budget, how it goes on, and when nothing remains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from services.reporting.domain.chart.canvas import (
    Canvas,
    Spec,
    drawn,
    empty,
    exact,
    instant_text,
    picture,
    text_mark,
)
from services.reporting.domain.chart.lettering import width_of
from services.reporting.domain.chart.over_time import money_axis, time_axis
from services.reporting.domain.chart.rows import BurnStep

_HEIGHT: Final = 300
_LABEL: Final = 12
_BELOW: Final = Decimal("0.15")  # of the limit


def burn_down(rows: Sequence[BurnStep], canvas: Canvas) -> Spec:
    """Returns the line of what remains, with the even pace, what is expected and the runway."""
    known = sorted((row for row in rows if row.kind == "actual"), key=lambda row: row.at)
    if not known:
        return empty(canvas, "There is no budget for this question.")
    expected = sorted((row for row in rows if row.kind == "expected"), key=lambda row: row.at)
    ends = [row for row in rows if row.kind == "end"]
    runway = [row for row in rows if row.kind == "runway"]
    drawing = _Drawing(rows, _told(canvas, has_expected=bool(expected), has_end=bool(ends)))
    layers = [drawing.zero()]
    if ends:
        layers.append(drawing.pace(known[0], ends[0]))
    if expected:
        last = known[-1]
        joint = replace(last, lower=last.remaining, upper=last.remaining)
        layers += drawing.ahead([joint, *expected])
    layers.append(drawing.line(known))
    if runway:
        layers += drawing.runway(runway[0].at)
    return picture(drawing.canvas, layers, liked_height=_HEIGHT)


def _told(canvas: Canvas, *, has_expected: bool, has_end: bool) -> Canvas:
    if has_expected:
        canvas = canvas.noted("dashed: expected, with its 80 % interval")
    return canvas.noted("thin: an even pace") if has_end else canvas


class _Drawing:
    """Layers over the same two axes."""

    def __init__(self, rows: Sequence[BurnStep], canvas: Canvas) -> None:
        self.canvas = canvas
        instants = [row.at for row in rows]
        self._first, self._last = min(instants), max(instants)
        bounds = [value for row in rows for value in (row.remaining, row.lower, row.upper) if value]
        self._x = time_axis(canvas, instants) | {"field": "at"}
        high, low = max(bounds, default=Decimal(1)), min(bounds, default=Decimal(0))
        if any(row.kind == "runway" for row in rows):
            # Below the line of nothing there is room for the date.
            low = min(low, -high * _BELOW)
        scale = {"domain": [drawn(min(low, Decimal(0))), drawn(high)], "nice": True}
        self._y = money_axis(canvas, high) | {"field": "remaining", "scale": scale}

    def line(self, rows: Sequence[BurnStep], **mark: object) -> Spec:
        """Returns what remains over time."""
        solid = {"type": "line", "color": self.canvas.theme.accent, "strokeWidth": 2}
        tooltip = [
            {"field": "instant", "title": "Time"},
            {"field": "remaining_exact", "title": "Remaining"},
        ]
        return self._layer([self._value(row) for row in rows], solid | mark, tooltip=tooltip)

    def ahead(self, rows: Sequence[BurnStep]) -> list[Spec]:
        """Returns what is expected to remain, with its interval."""
        band = {"type": "area", "color": self.canvas.theme.accent, "opacity": 0.2}
        area = self._layer([self._value(row) for row in rows], band)
        area["encoding"] |= {"y": self._y | {"field": "lower"}, "y2": {"field": "upper"}}
        return [area, self.line(rows, strokeDash=[5, 4])]

    def pace(self, first: BurnStep, end: BurnStep) -> Spec:
        """Returns a straight way from the limit to nothing."""
        ends = [self._value(first), self._value(replace(end, remaining=Decimal(0)))]
        mark = {"type": "line", "color": self.canvas.theme.rest, "strokeWidth": 1, "aria": False}
        return self._layer(ends, mark)

    def zero(self) -> Spec:
        """Returns the line where nothing remains."""
        mark = {"type": "rule", "color": self.canvas.theme.muted, "aria": False}
        return {"data": {"values": [{}]}, "mark": mark, "encoding": {"y": self._y_at(0)}}

    def runway(self, at: datetime) -> list[Spec]:
        """Returns the instant at which nothing remains, with its date."""
        local = at.astimezone(self.canvas.tz)
        text = f"Runs out {local.day} {local:%b}"
        share = (at - self._first) / max(self._last - self._first, at.resolution)
        needed = width_of(text, _LABEL, is_bold=True) + 5 * _LABEL
        # What comes down from the left leaves room below on the left, and above on the right.
        is_late = share * self.canvas.inner_width > needed
        value = {"at": self.canvas.wall_time(at), "instant": instant_text(at), "said": text}
        mark = text_mark(
            self.canvas.theme.text, size=_LABEL, align="right" if is_late else "left", is_bold=True
        )
        point = {"type": "point", "filled": True, "size": 70, "color": self.canvas.theme.bad}
        position = {"x": self._x, "y": self._y_at(0)}
        return [
            {
                "data": {"values": [value]},
                "mark": point | {"opacity": 1},
                "encoding": position | {"description": {"field": "said"}},
            },
            {
                "data": {"values": [value]},
                "mark": mark
                | {"text": text, "dx": -8 if is_late else 8, "dy": 13 if is_late else -13},
                "encoding": position,
            },
        ]

    def _y_at(self, level: int) -> Spec:
        kept = {name: value for name, value in self._y.items() if name != "field"}
        return kept | {"datum": level}

    def _layer(self, values: Sequence[Spec], mark: Spec, **encoding: object) -> Spec:
        return {
            "data": {"values": list(values)},
            "mark": mark,
            "encoding": {"x": self._x, "y": self._y, **encoding},
        }

    def _value(self, row: BurnStep) -> Spec:
        value = {"at": self.canvas.wall_time(row.at), "instant": instant_text(row.at)}
        value |= exact("remaining", row.remaining)
        for name, bound in (("lower", row.lower), ("upper", row.upper)):
            value |= {} if bound is None else exact(name, bound)
        return value
