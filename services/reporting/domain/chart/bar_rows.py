"""Rows of horizontal bars with their names and amounts, laid out for wide and narrow pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

from services.reporting.domain.chart.canvas import Canvas, Spec, drawn, exact, picture, text_mark
from services.reporting.domain.chart.lettering import clean, shortened, width_of

SIZE: Final = 12
_GAP: Final = 12
_BAR: Final = 18
_STEP: Final = 30
# Where a name stands above its bar.
_TALL_STEP: Final = 42
_THIN_BAR: Final = 12
_BELOW: Final = 8
_ABOVE: Final = -10
# Of the width, for names at the left.
_NAMES_MAX: Final = 0.28


@dataclass(frozen=True, slots=True)
class BarRow:
    """A bar from one amount to another.

    amount: what it stands for; text: how that is written; note: what stands beside it.
    """

    name: str
    begin: Decimal
    end: Decimal
    amount: Decimal
    text: str
    note: str
    colour: str


def bar_rows(
    rows: Sequence[BarRow], canvas: Canvas, *, origin: Decimal = Decimal(0), is_linked: bool = False
) -> Spec:
    """Returns a picture of bars. rows: one or more.

    origin: amount at the left edge, unless a bar goes below. is_linked: a thin line joins the end
    of each bar with the next one, where no text is between them.
    """
    return _Layout(rows, canvas, origin).picture(is_linked=is_linked)


class _Layout:
    """Where bars and texts stand, in pixels."""

    def __init__(self, rows: Sequence[BarRow], canvas: Canvas, origin: Decimal) -> None:
        self._rows = rows
        self._canvas = canvas
        self._width = float(canvas.inner_width)
        self._liked = (_TALL_STEP if canvas.is_narrow else _STEP) * len(rows) + 32
        self._step = canvas.inner_height(self._liked) / len(rows)
        self._amounts = max(width_of(row.text, SIZE) for row in rows)
        self._notes = max(width_of(row.note, SIZE) for row in rows)
        if canvas.is_narrow:
            taken = self._amounts + self._notes + (3 if self._notes else 1) * _GAP
            self._names = self._width - taken
            self._left, self._right = 0.0, self._width
        else:
            widest = max(width_of(clean(row.name), SIZE) for row in rows)
            self._names = min(widest, self._width * _NAMES_MAX)
            self._left = self._names + _GAP
            notes = self._notes + _GAP if self._notes else 0
            self._right = self._width - notes - self._amounts - _GAP
        ends = [drawn(value) for row in rows for value in (row.begin, row.end)]
        self._low = min(*ends, drawn(origin))
        self._span = max(*ends, drawn(origin)) - self._low or 1.0

    def picture(self, *, is_linked: bool) -> Spec:
        """Returns the whole picture."""
        canvas = self._canvas
        values = [self._value(place, row) for place, row in enumerate(self._rows)]
        layers = [self._bars(), *(self._narrow() if canvas.is_narrow else self._wide())]
        if is_linked and not canvas.is_narrow:
            layers.insert(0, self._links(values))
        return picture(canvas, layers, liked_height=self._liked, values=values)

    def _x(self, amount: Decimal) -> float:
        share = (drawn(amount) - self._low) / self._span
        return self._left + share * (self._right - self._left)

    def _value(self, place: int, row: BarRow) -> Spec:
        ends = sorted((self._x(row.begin), self._x(row.end)))
        middle = (place + 0.5) * self._step
        half = (_THIN_BAR if self._canvas.is_narrow else _BAR) / 2
        centre = middle + (_BELOW if self._canvas.is_narrow else 0)
        # Without a name in the picture, a bar still has one for a screen reader.
        said = ", ".join(filter(None, (row.text, row.note)))
        return {
            "name": clean(row.name),
            **exact("cost", row.amount),
            "label": shortened(clean(row.name), self._names, SIZE),
            "amount": row.text,
            "note": row.note,
            "said": f"{clean(row.name)}: {said}",
            "colour": row.colour,
            "x0": ends[0],
            # What is not nothing is seen.
            "x1": max(ends[1], ends[0] + (1 if row.amount else 0)),
            "link": self._x(row.end),
            "y": middle,
            "y0": centre - half,
            "y1": centre + half,
        }

    def _bars(self) -> Spec:
        return {
            "mark": {"type": "rect"},
            "encoding": {
                "x": pixels("x0"),
                "x2": {"field": "x1"},
                "y": pixels("y0"),
                "y2": {"field": "y1"},
                "color": {"field": "colour", "type": "nominal", "scale": None},
                "description": {"field": "said"},
                "tooltip": [
                    {"field": "name", "title": "Name"},
                    {"field": "cost_exact", "title": "Amount"},
                    {"field": "note", "title": "Share"},
                ],
            },
        }

    def _links(self, values: list[Spec]) -> Spec:
        pairs = [
            {"x": one["link"], "y0": one["y1"], "y1": other["y0"]}
            for one, other in pairwise(values)
        ]
        return {
            "data": {"values": pairs},
            "mark": {"type": "rule", "color": self._canvas.theme.rest},
            "encoding": {"x": pixels("x"), "y": pixels("y0"), "y2": {"field": "y1"}},
        }

    def _wide(self) -> list[Spec]:
        theme = self._canvas.theme
        layers = [
            _text(theme.text, "label", {"value": self._names}, align="right"),
            _text(theme.text, "amount", pixels("x1"), dx=8),
        ]
        if self._notes:
            layers.append(_text(theme.muted, "note", {"value": self._width}, align="right"))
        return layers

    def _narrow(self) -> list[Spec]:
        theme = self._canvas.theme
        notes = self._notes + _GAP if self._notes else 0
        at_right = {"align": "right", "dy": _ABOVE}
        layers = [
            _text(theme.text, "label", {"value": 0}, dy=_ABOVE),
            _text(theme.text, "amount", {"value": self._width - notes}, **at_right),
        ]
        if self._notes:
            layers.append(_text(theme.muted, "note", {"value": self._width}, **at_right))
        return layers


def pixels(field: str) -> Spec:
    """Returns the encoding of a position that is in pixels already."""
    return {"field": field, "type": "quantitative", "scale": None, "axis": None}


def _text(colour: str, field: str, x: Spec, **mark: object) -> Spec:
    return {
        "mark": text_mark(colour, size=SIZE) | mark,
        "encoding": {"x": x, "y": pixels("y"), "text": {"field": field}},
    }
