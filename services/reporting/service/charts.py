"""Draws declared charts from rows that are already read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.numbers import get_currency_precision

from services.reporting.domain.chart.amounts import MoneyStyle
from services.reporting.domain.chart.canvas import Canvas, Spec, empty
from services.reporting.domain.chart.catalog import CHARTS
from services.reporting.domain.chart.lettering import clean
from services.reporting.domain.chart.rows import Row
from services.reporting.domain.chart.theme import THEMES
from services.reporting.errors import ChartNotFound
from services.reporting.service.chart_drawing import PNG, SVG, Drawing

VEGA_LITE: Final = "vega-lite"
MEDIA_TYPES: Final = {
    VEGA_LITE: "application/vnd.vegalite.v6+json",
    SVG: "image/svg+xml",
    PNG: "image/png",
}
WIDTH: Final = 960
_UTC: Final = ZoneInfo("UTC")
_LOCALE: Final = Locale("en")
_SIGNS: Final = _LOCALE.currency_symbols


@dataclass(frozen=True, slots=True)
class Look:
    """How a chart is to look. width, height: in pixels; height 0: as the chart likes."""

    theme: str = "light"
    width: int = WIDTH
    height: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """What a chart is drawn from, and what it says. rows: of the chart's own kind.

    description: what a screen reader says; default the title and subtitle. missing: why there are
    no rows, where it is not that there is nothing.
    """

    chart: str
    rows: Sequence[Row]
    title: str
    currency_code: str
    subtitle: str = ""
    description: str = ""
    tz: ZoneInfo = _UTC
    missing: str = ""

    @property
    def said(self) -> str:
        """What a screen reader says of the whole."""
        return self.description or ". ".join(filter(None, (self.title, self.subtitle)))


class Charts:
    """Draws charts."""

    def __init__(self, drawing: Drawing) -> None:
        """drawing: the process that does it."""
        self._drawing = drawing

    def draw(self, picture: Picture, form: str = SVG, look: Look | None = None) -> bytes:
        """Returns a chart as `vega-lite`, `svg` or `png`; blocks its thread.

        Raises ChartNotFound.
        """
        spec = spec_of(picture, look or Look())
        if form == VEGA_LITE:
            return written(spec)
        return told(self._drawing.draw(spec, form), form, picture)

    async def render(self, picture: Picture, form: str = SVG, look: Look | None = None) -> bytes:
        """Returns a chart as `vega-lite`, `svg` or `png`. Raises ChartNotFound."""
        spec = spec_of(picture, look or Look())
        if form == VEGA_LITE:
            return written(spec)
        return told(await self._drawing.render(spec, form), form, picture)


def spec_of(picture: Picture, look: Look) -> Spec:
    """Returns the Vega-Lite specification of a picture. Raises ChartNotFound."""
    kind = CHARTS.get(picture.chart)
    if kind is None:
        raise ChartNotFound(chart=picture.chart[:128])
    canvas = Canvas(
        title=picture.title,
        subtitle=picture.subtitle,
        description=picture.said,
        money=money_style(picture.currency_code),
        theme=THEMES[look.theme],
        width=look.width,
        height=look.height,
        tz=picture.tz,
    )
    return empty(canvas, picture.missing) if picture.missing else kind.spec(picture.rows, canvas)


def told(content: bytes, form: str, picture: Picture) -> bytes:
    """Returns the content with what a screen reader says of it, where the form can hold that."""
    if form != SVG:
        return content
    title, description = (escape(clean(text)) for text in (picture.title, picture.said))
    head = f' role="img"><title>{title}</title><desc>{description}</desc>'
    return content.replace(b">", head.encode(), 1)


def written(spec: Spec) -> bytes:
    """Returns a specification as JSON that no page it is put into takes for markup."""
    text = json.dumps(spec, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text.encode()


def money_style(currency_code: str) -> MoneyStyle:
    """Returns how a currency is written; one without a sign of its own by its code."""
    digits = int(get_currency_precision(currency_code))
    sign = _SIGNS.get(currency_code, currency_code)
    if sign == currency_code:
        return MoneyStyle("", f"\N{NO-BREAK SPACE}{currency_code}", digits)
    return MoneyStyle(sign, "", digits)
