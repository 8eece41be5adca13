"""How much of a budget is used, and where it will end: half a ring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from services.kernel.money import EXACT
from services.reporting.domain.chart.amounts import share_text
from services.reporting.domain.chart.canvas import (
    Canvas,
    Spec,
    drawn,
    empty,
    exact,
    picture,
    text_mark,
)
from services.reporting.domain.chart.lettering import clean, lines_of
from services.reporting.domain.chart.rows import BudgetUse

_RADIUS_MAX: Final = 150
_RING: Final = 0.24  # of the radius
_BELOW: Final = 76  # pixels for the words below the ring
_EDGE: Final = 12
_BIG: Final = 30
_SIZE: Final = 13
NO_BREAK: Final = "\N{NO-BREAK SPACE}"


def gauge(rows: Sequence[BudgetUse], canvas: Canvas) -> Spec:
    """Returns the first budget's ring. rows: one."""
    if not rows:
        return empty(canvas, "There is no budget for this question.")
    use = rows[0]
    if use.limit <= 0:
        return empty(canvas, f"The budget {clean(use.name)} has no amount to spend.")
    return _Ring(use, canvas).picture()


class _Ring:
    """A budget's ring. The whole ring is the limit, or what goes beyond it."""

    def __init__(self, use: BudgetUse, canvas: Canvas) -> None:
        self._use = use
        self._canvas = canvas
        self._radius = min(
            canvas.inner_width / 2 - _EDGE, canvas.height or _RADIUS_MAX, _RADIUS_MAX
        )
        self._liked = int(self._radius) + _BELOW + _EDGE + 32
        taken = EXACT.add(use.spent, use.held)
        self._whole = max(use.limit, taken, use.expected or Decimal(0), use.upper or Decimal(0))
        self._text = canvas.money.labels([self._whole])
        self._taken = taken

    def picture(self) -> Spec:
        """Returns the whole picture."""
        use, theme = self._use, self._canvas.theme
        layers = [
            self._arc(Decimal(0), self._whole, theme.track, "Limit", use.limit),
            self._arc(Decimal(0), use.spent, self._colour(), "Spent", use.spent),
        ]
        if use.held > 0:
            layers.append(self._arc(use.spent, self._taken, theme.rest, "Held", use.held))
        if self._whole > use.limit:
            layers.append(self._tick(use.limit, theme.text, "Limit"))
        if use.expected is not None:
            layers.append(self._tick(use.expected, theme.muted, "Expected"))
        return picture(
            self._canvas, [*layers, *self._words()], liked_height=self._liked, values=[{}]
        )

    def _colour(self) -> str:
        theme, use = self._canvas.theme, self._use
        if self._taken >= use.limit:
            return theme.bad
        return theme.warning if (use.expected or 0) > use.limit else theme.accent

    def _angle(self, amount: Decimal) -> float:
        share = drawn(min(max(EXACT.divide(amount, self._whole), Decimal(0)), Decimal(1)))
        return -math.pi / 2 + share * math.pi

    def _arc(self, begin: Decimal, end: Decimal, colour: str, name: str, amount: Decimal) -> Spec:
        said = f"{name}: {self._canvas.money.text(amount)}"
        row = {"name": name, **exact("amount", amount), "said": said}
        return {
            "data": {"values": [row]},
            "mark": {
                "type": "arc",
                "theta": self._angle(begin),
                "theta2": self._angle(end),
                "innerRadius": self._radius * (1 - _RING),
                "outerRadius": self._radius,
                "color": colour,
            },
            "encoding": {
                **self._centre(),
                "description": {"field": "said"},
                "tooltip": [
                    {"field": "name", "title": "Part"},
                    {"field": "amount_exact", "title": "Amount"},
                ],
            },
        }

    def _tick(self, amount: Decimal, colour: str, name: str) -> Spec:
        """Returns a thin mark across the ring."""
        layer = self._arc(amount, amount, colour, name, amount)
        middle = self._angle(amount)
        layer["mark"] |= {
            "theta": middle - 0.008,
            "theta2": middle + 0.008,
            "innerRadius": self._radius * (1 - _RING) - 4,
            "outerRadius": self._radius + 5,
        }
        return layer

    def _centre(self) -> Spec:
        return {
            "x": {"value": self._canvas.inner_width / 2},
            "y": {"value": self._radius + _EDGE},
        }

    def _words(self) -> list[Spec]:
        use, text, theme = self._use, self._text, self._canvas.theme
        y = self._radius + _EDGE
        layers = [
            self._line(share_text(self._taken, use.limit), y - 34, _BIG, theme.text, is_bold=True),
            self._line(f"of {text(use.limit)}", y - 8, _SIZE, theme.muted),
        ]
        held = f", {text(use.held)} held" if use.held else ""
        said = [f"{text(use.spent)} spent{held}: {self._state()}"]
        if use.expected is not None:
            said.append(self._outlook(use.expected))
        lines = [
            (line, theme.text if place == 0 else theme.muted)
            for place, whole in enumerate(said)
            for line in lines_of(whole, self._canvas.inner_width, _SIZE)
        ]
        layers += [
            self._line(line, y + 26 + 19 * place, _SIZE, colour)
            for place, (line, colour) in enumerate(lines)
        ]
        return layers

    def _state(self) -> str:
        beyond = EXACT.subtract(self._taken, self._use.limit)
        if beyond >= 0:
            return f"{self._text(beyond)} over the limit" if beyond else "the limit is reached"
        if (self._use.expected or 0) > self._use.limit:
            return "heading over the limit"
        return "within the limit"

    def _outlook(self, expected: Decimal) -> str:
        text, use = self._text, self._use
        said = f"Expected at the end: {text(expected)}"
        if use.lower is None or use.upper is None:
            return said
        interval = f"({text(use.lower)} to {text(use.upper)})"
        return f"{said} {interval.replace(' ', NO_BREAK)}"

    def _line(self, text: str, y: float, size: int, colour: str, *, is_bold: bool = False) -> Spec:
        mark = text_mark(colour, size=size, align="center", is_bold=is_bold)
        return {
            "mark": mark | {"text": text},
            "encoding": self._centre() | {"y": {"value": y}},
        }
