"""What every picture has: size, theme, title and description; and the one that says: nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from services.kernel.money import format_decimal
from services.reporting.domain.chart.amounts import MoneyStyle
from services.reporting.domain.chart.lettering import (
    FONT,
    SMALLEST,
    TITLE,
    clean,
    lines_of,
)
from services.reporting.domain.chart.theme import LIGHT, Theme

Spec: TypeAlias = dict[str, Any]

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
PADDING: Final = 16
# Below this width, names stand above their bars and axes have half as many labels.
NARROW: Final = 520
_DOT: Final = "\N{MIDDLE DOT}"
_UTC: Final = ZoneInfo("UTC")
_TITLE_LINE: Final = 20
_SUBTITLE_LINE: Final = 16
_SUBTITLE_SIZE: Final = 12
_TITLE_GAP: Final = 14


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a chart is drawn on. width, height: of the whole picture in pixels; 0: as it likes.

    title, subtitle: what is read; description: what a screen reader says. tz: in which times are
    told.
    """

    title: str
    description: str
    money: MoneyStyle
    subtitle: str = ""
    theme: Theme = LIGHT
    width: int = 960
    height: int = 0
    tz: ZoneInfo = _UTC

    @property
    def is_narrow(self) -> bool:
        """Whether there is room for the needful only."""
        return self.width < NARROW

    @property
    def inner_width(self) -> int:
        """Pixels between the paddings."""
        return self.width - 2 * PADDING

    @property
    def title_lines(self) -> list[str]:
        """The title, broken to the width."""
        return lines_of(clean(self.title), self.inner_width, TITLE, is_bold=True)

    @property
    def subtitle_lines(self) -> list[str]:
        """The subtitle, broken to the width."""
        lines = lines_of(clean(self.subtitle), self.inner_width, _SUBTITLE_SIZE)
        # What parts two notes is not needed where a line ends between them.
        return [line.strip(f" {_DOT}") for line in lines]

    @property
    def head_height(self) -> int:
        """Pixels that title and subtitle take, with the gap below."""
        below = len(self.subtitle_lines) * _SUBTITLE_LINE
        return len(self.title_lines) * _TITLE_LINE + below + _TITLE_GAP

    def inner_height(self, liked: int) -> int:
        """Returns the pixels below the head. liked: of the picture, where no height was asked."""
        return max((self.height or liked + self.head_height) - self.head_height - 2 * PADDING, 40)

    def noted(self, note: str) -> Canvas:
        """Returns a canvas whose subtitle says more."""
        return replace(self, subtitle=f" {_DOT} ".join(filter(None, (self.subtitle, note))))

    def wall_time(self, instant: datetime) -> str:
        """Returns the time on the tenant's clock, written as if it were UTC.

        So every browser draws the same: Vega knows only UTC and the reader's own zone.
        """
        return instant.astimezone(self.tz).replace(tzinfo=None).isoformat() + "Z"


def drawn(value: Decimal) -> float:
    """Returns an exact number as it is drawn, where a pixel is as far as anybody sees."""
    return float(value)


def exact(name: str, amount: Decimal) -> Spec:
    """Returns an amount as the number that is drawn and, beside it, the exact decimal."""
    return {name: drawn(amount), f"{name}_exact": format_decimal(amount)}


def instant_text(instant: datetime) -> str:
    """Returns an instant as RFC 3339 in UTC."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def picture(
    canvas: Canvas, layers: Sequence[Spec], *, liked_height: int, values: Iterable[Spec] = ()
) -> Spec:
    """Returns a whole specification of layers.

    liked_height: of the picture without its head. values: rows of layers that have none themselves.
    """
    return {
        "$schema": SCHEMA,
        "description": clean(canvas.description),
        "title": _title(canvas),
        "width": canvas.width,
        "height": canvas.inner_height(liked_height) + canvas.head_height + 2 * PADDING,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": PADDING,
        "background": canvas.theme.background,
        "data": {"values": list(values)},
        "layer": list(layers),
        "config": _config(canvas.theme),
    }


def empty(canvas: Canvas, reason: str) -> Spec:
    """Returns a picture that says why there is nothing to draw."""
    height = 160
    lines = lines_of(clean(reason), canvas.inner_width - 2 * PADDING, 13)
    message = text_mark(canvas.theme.muted, size=13, align="center") | {"lineHeight": 18}
    layer = {
        "mark": message | {"text": lines, "dy": -9 * (len(lines) - 1)},
        "encoding": {"x": {"value": {"expr": "width / 2"}}, "y": {"value": {"expr": "height / 2"}}},
    }
    return picture(canvas, [layer], liked_height=height, values=[{}])


def text_mark(
    colour: str, *, size: int = SMALLEST, align: str = "left", is_bold: bool = False
) -> Spec:
    """Returns a mark of text that is centred on its line."""
    return {
        "type": "text",
        "font": FONT,
        "fontSize": size,
        "fontWeight": "bold" if is_bold else "normal",
        "fill": colour,
        "align": align,
        "baseline": "middle",
    }


def _title(canvas: Canvas) -> Spec:
    return {
        "text": canvas.title_lines,
        "subtitle": canvas.subtitle_lines,
        "anchor": "start",
        "frame": "bounds",
        "offset": _TITLE_GAP,
    }


def _config(theme: Theme) -> Spec:
    return {
        "font": FONT,
        "view": {"stroke": None},
        "title": {
            "color": theme.text,
            "fontSize": TITLE,
            "fontWeight": "bold",
            "lineHeight": _TITLE_LINE,
            "subtitleColor": theme.muted,
            "subtitleFontSize": _SUBTITLE_SIZE,
            "subtitleLineHeight": _SUBTITLE_LINE,
            "subtitlePadding": 4,
        },
        "axis": {
            "labelColor": theme.muted,
            "labelFontSize": SMALLEST,
            "labelPadding": 6,
            "title": None,
            "domain": False,
            "ticks": False,
            "gridColor": theme.grid,
            "labelOverlap": "greedy",
            "labelSeparation": 8,
        },
        "axisX": {"grid": False, "domain": True, "domainColor": theme.grid, "labelFlush": True},
        "legend": {
            "labelColor": theme.text,
            "labelFontSize": SMALLEST + 1,
            "title": None,
            "orient": "top",
            "symbolType": "square",
            "offset": 10,
        },
    }
