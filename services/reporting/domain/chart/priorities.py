"""Recommendations by what they save and what they take: what to do first is up and left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from services.kernel.money import add_exactly
from services.reporting.domain.chart.bar_rows import pixels
from services.reporting.domain.chart.canvas import (
    Canvas,
    Spec,
    drawn,
    empty,
    exact,
    picture,
    text_mark,
)
from services.reporting.domain.chart.lettering import SMALLEST, clean, shortened, width_of
from services.reporting.domain.chart.rows import SavingChoice
from services.reporting.domain.chart.theme import text_on

CHOICES_MAX: Final = 10
EFFORTS: Final = {"low": "Low effort", "medium": "Medium", "high": "High"}
_PLOT: Final = 280
_RADIUS: Final = 11
_LINE: Final = 24
_SIZE: Final = 12
_COLUMN_NAMES: Final = 26  # pixels below the plot
_GAP: Final = 28
_PLOT_SHARE: Final = 0.5
_GRID_LINES: Final = 4
_NUMBER: Final = 20  # pixels of a number in the list


def priorities(rows: Sequence[SavingChoice], canvas: Canvas) -> Spec:
    """Returns numbered points over effort and monthly saving, with the list of what they are."""
    shown = sorted(
        (row for row in rows if row.effort in EFFORTS and row.monthly_saving > 0),
        key=lambda row: (-row.monthly_saving, row.title),
    )
    if not shown:
        return empty(canvas, "There is no open recommendation for this question.")
    rest = shown[CHOICES_MAX:]
    if rest:
        more = canvas.money.text(add_exactly(row.monthly_saving for row in rest))
        canvas = canvas.noted(f"not shown: {len(rest):,} more, {more} together")
    return _Matrix(shown[:CHOICES_MAX], canvas).picture()


class _Matrix:
    """Points beside their list, or above it where there is no room."""

    def __init__(self, rows: Sequence[SavingChoice], canvas: Canvas) -> None:
        self._rows = rows
        self._canvas = canvas
        self._labels = canvas.money.labels(row.monthly_saving for row in rows)
        width = canvas.inner_width
        list_height = len(rows) * _LINE
        plot = _PLOT + _COLUMN_NAMES
        if canvas.is_narrow:
            self._liked = plot + _GAP + list_height + 32
            self._list_at = (0.0, float(plot + _GAP))
            self._right = float(width)
        else:
            self._liked = max(plot, list_height) + 32
            self._right = width * _PLOT_SHARE
            self._list_at = (self._right + _GAP, 0.0)
        self._step = nice_step(drawn(rows[0].monthly_saving) / _GRID_LINES)
        self._lines = math.ceil(drawn(rows[0].monthly_saving) / self._step) + 1
        ticks = [Decimal(repr(self._step)) * place for place in range(self._lines)]
        tick_labels = canvas.money.labels(ticks)
        self._ticks = [(drawn(tick), tick_labels(tick)) for tick in ticks]
        self._left = max(width_of(text, SMALLEST) for _, text in self._ticks) + 8
        self._column = (self._right - self._left) / len(EFFORTS)

    def picture(self) -> Spec:
        """Returns the whole picture."""
        layers = [*self._grid(), *self._points(), *self._list()]
        return picture(self._canvas, layers, liked_height=self._liked)

    def _y(self, saving: float) -> float:
        return _PLOT * (1 - saving / self._ticks[-1][0])

    def _grid(self) -> list[Spec]:
        theme = self._canvas.theme
        lines = [{"y": self._y(tick), "text": text} for tick, text in self._ticks]
        names = [
            {"x": self._left + (place + 0.5) * self._column, "text": text}
            for place, text in enumerate(EFFORTS.values())
        ]
        first = {"x0": self._left, "x1": self._left + self._column, "y0": 0, "y1": _PLOT}
        at_left, at_right = {"value": self._left}, {"value": self._right}
        quiet = {"aria": False}
        return [
            {
                "data": {"values": [first]},
                "mark": {"type": "rect", "color": theme.accent, "opacity": 0.08} | quiet,
                "encoding": {
                    "x": pixels("x0"),
                    "x2": {"field": "x1"},
                    "y": pixels("y0"),
                    "y2": {"field": "y1"},
                },
            },
            {
                "data": {"values": lines},
                "mark": {"type": "rule", "color": theme.grid} | quiet,
                "encoding": {"x": at_left, "x2": at_right, "y": pixels("y")},
            },
            {
                "data": {"values": lines},
                "mark": text_mark(theme.muted, align="right"),
                "encoding": {
                    "x": {"value": self._left - 8},
                    "y": pixels("y"),
                    "text": {"field": "text"},
                },
            },
            {
                "data": {"values": names},
                "mark": text_mark(theme.muted, align="center"),
                "encoding": {
                    "x": pixels("x"),
                    "y": {"value": _PLOT + _COLUMN_NAMES / 2 + 4},
                    "text": {"field": "text"},
                },
            },
            {
                "data": {"values": [{}]},
                "mark": text_mark(theme.muted, is_bold=True) | {"text": "Do first"},
                "encoding": {"x": {"value": self._left + 8}, "y": {"value": 12}},
            },
        ]

    def _points(self) -> list[Spec]:
        theme = self._canvas.theme
        values = []
        taken: list[tuple[float, float]] = []
        for place, row in enumerate(self._rows):
            x, y = self._free(row, taken)
            taken.append((x, y))
            said = f"{clean(row.title)}: {self._labels(row.monthly_saving)} a month, {row.effort}"
            values.append(
                {
                    "number": str(place + 1),
                    "name": clean(row.title),
                    "effort": row.effort,
                    **exact("saving", row.monthly_saving),
                    "said": f"{said} effort",
                    "x": x,
                    "y": y,
                }
            )
        position = {"x": pixels("x"), "y": pixels("y")}
        circle = {
            "type": "circle",
            "size": math.pi * _RADIUS**2,
            "opacity": 1,
            "color": theme.accent,
            "stroke": theme.background,
            "strokeWidth": 1.5,
        }
        number = text_mark(text_on(theme.accent), align="center", is_bold=True)
        tooltip = [
            {"field": "name", "title": "Recommendation"},
            {"field": "effort", "title": "Effort"},
            {"field": "saving_exact", "title": "Monthly saving"},
        ]
        data = {"data": {"values": values}}
        told = {"description": {"field": "said"}, "tooltip": tooltip}
        return [
            data | {"mark": circle, "encoding": position | told},
            data | {"mark": number, "encoding": position | {"text": {"field": "number"}}},
        ]

    def _free(self, row: SavingChoice, taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
        """Returns the place nearest to the middle of the column where no point lies yet."""
        y = self._y(drawn(row.monthly_saving))
        middle = self._left + (list(EFFORTS).index(row.effort) + 0.5) * self._column
        room = self._column / 2 - _RADIUS
        apart = 2 * _RADIUS + 2
        offsets = [0.0]
        while (offset := apart * (len(offsets) // 2 + 1) / 2) <= room:
            offsets += [offset, -offset]
        free = (
            middle + offset
            for offset in offsets
            if all(math.dist((middle + offset, y), other) >= apart for other in taken)
        )
        return next(free, middle), y

    def _list(self) -> list[Spec]:
        theme = self._canvas.theme
        left, top = self._list_at
        right = float(self._canvas.inner_width)
        amounts = [self._labels(row.monthly_saving) for row in self._rows]
        room = right - left - _NUMBER - max(width_of(text, _SIZE) for text in amounts) - 12
        values = [
            {
                "number": str(place + 1),
                "label": shortened(clean(row.title), room, _SIZE),
                "amount": amounts[place],
                "y": top + (place + 0.5) * _LINE,
            }
            for place, row in enumerate(self._rows)
        ]
        bold = text_mark(theme.text, size=_SIZE, is_bold=True)
        columns = (
            (bold, "number", left),
            (text_mark(theme.text, size=_SIZE), "label", left + _NUMBER),
            (text_mark(theme.text, size=_SIZE, align="right"), "amount", right),
        )
        return [
            {
                "data": {"values": values},
                "mark": mark,
                "encoding": {"x": {"value": x}, "y": pixels("y"), "text": {"field": field}},
            }
            for mark, field, x in columns
        ]


def nice_step(least: float) -> float:
    """Returns the smallest of 1, 2, 2.5, 5 times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least)
