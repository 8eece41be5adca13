"""Draws the charts of reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from zoneinfo import ZoneInfo

from services.reporting.domain.chart.catalog import CHARTS
from services.reporting.domain.report.document import ChartPlace
from services.reporting.service.chart_drawing import SVG
from services.reporting.service.charts import Charts, Look, Picture

# In pixels; documents are as wide whatever the screen.
WIDTH: Final = 720


def drawn_by(
    charts: Charts, *, theme: str, currency_code: str, tz: ZoneInfo
) -> Callable[[ChartPlace], bytes]:
    """Returns what draws a chart of a report as SVG; it blocks its thread."""

    def draw(place: ChartPlace) -> bytes:
        picture = Picture(
            chart=place.chart,
            rows=CHARTS[place.chart].rows(place.rows),
            title=place.title,
            currency_code=currency_code,
            description=place.alt,
            tz=tz,
        )
        return charts.draw(picture, SVG, Look(theme=theme, width=WIDTH, height=place.height))

    return draw
