"""Writes a report as one page that needs nothing else: styles and pictures are in it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.kernel.money import format_decimal
from services.reporting.domain.report.document import (
    ChartPlace,
    Document,
    Number,
    impact_of,
    probability_of,
)
from services.reporting.domain.report.wording import Wording
from services.reporting.service.reports_numbers import Writing, locale_of
from services.reporting.service.reports_tables import titles_of, unit_of

TEMPLATES: Final = Path(__file__).parents[1] / "templates"
_pages: Final = Environment(
    loader=FileSystemLoader(TEMPLATES),
    # Names of departments and files come from outside: nothing is markup but the template.
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def html_page(document: Document, draw: Callable[[ChartPlace], bytes], base_url: str) -> bytes:
    """Returns the page, in UTF-8. draw: makes a chart's SVG. base_url: before each link's path."""
    writing = Writing(locale_of(document.locale))

    def picture(place: ChartPlace) -> str:
        # As an image: what a name might smuggle into an SVG is never run there.
        return "data:image/svg+xml;base64," + base64.b64encode(draw(place)).decode()

    page = _pages.get_template("report.html").render(
        document=document,
        words=Wording(document.language),
        text=writing.text,
        plain=writing.plain,
        titles=titles_of,
        unit=unit_of,
        exact=lambda number: format_decimal(number.value),
        address=lambda number: f"{base_url}{number.query}",
        is_number=lambda cell: isinstance(cell, Number),
        tone=writing.tone,
        probability=probability_of,
        impact=impact_of,
        picture=picture,
    )
    return page.encode()
