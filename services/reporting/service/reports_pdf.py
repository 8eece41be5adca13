"""Typesets a report as PDF. What it says reaches typst as data, never as markup."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from services.reporting.domain.report.document import (
    Cell,
    ChartPlace,
    Document,
    Number,
    Paragraph,
    Risk,
    Section,
    Table,
    Tile,
    impact_of,
    probability_of,
)
from services.reporting.domain.report.wording import Wording
from services.reporting.service.reports_html import TEMPLATES
from services.reporting.service.reports_numbers import Writing, locale_of
from services.reporting.service.reports_tables import titles_of, unit_of

if TYPE_CHECKING:
    import typst

LONG_TEXT: Final = 24  # characters; from here on a text is broken into lines
SHORT_TEXT: Final = 10  # as a day, which stays in one line
TEMPLATE: Final = TEMPLATES / "report.typ"
Draw = Callable[[ChartPlace], bytes]


def _font_folder() -> Path:
    """Returns the folder of the sans serif font; raises FileNotFoundError where it is missing."""
    spec = find_spec("font_source_sans_pro")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        return Path(place) / "files"
    raise FileNotFoundError("install font-source-sans-pro, which reports are set in")


@cache  # a document takes a few milliseconds with them at hand
def _fonts() -> typst.Fonts:
    """Returns the fonts of documents, read at the first one, as is their library of 12 MB."""
    import typst  # noqa: PLC0415 - as said

    return typst.Fonts(font_paths=[_font_folder()])


def pdf_document(document: Document, draw: Draw, base_url: str, made_at: datetime) -> bytes:
    """Returns the PDF; blocks for about 0.1 s. base_url: before each link's path.

    The same document gives the same bytes on the same machine; names in scripts that the report's
    font lacks are set in fonts of the machine.
    """
    import typst  # noqa: PLC0415 - as `_fonts`

    pdf: bytes = typst.compile(
        TEMPLATE.read_bytes(),
        font_paths=_fonts(),
        sys_inputs={"document": json.dumps(_Plain(document, draw, base_url).document())},
        timestamp=int(made_at.timestamp()),
    )
    return pdf


def page_pictures(
    document: Document, draw: Draw, base_url: str, *, pixels_per_inch: float
) -> list[bytes]:
    """Returns each page as PNG."""
    import typst  # noqa: PLC0415 - as `_fonts`

    pages: bytes | list[bytes] = typst.compile(
        TEMPLATE.read_bytes(),
        font_paths=_fonts(),
        sys_inputs={"document": json.dumps(_Plain(document, draw, base_url).document())},
        format="png",
        ppi=pixels_per_inch,
    )
    return pages if isinstance(pages, list) else [pages]


class _Plain:
    """A document as values of JSON: numbers are written, links are whole."""

    def __init__(self, document: Document, draw: Draw, base_url: str) -> None:
        self._document = document
        self._draw = draw
        self._base_url = base_url
        self._writing = Writing(locale_of(document.locale))
        self._words = Wording(document.language)

    def document(self) -> dict[str, Any]:
        document = self._document
        return {
            "title": document.title,
            "subtitle": document.subtitle,
            "facts": document.facts,
            "language": document.language,
            "theme": document.theme,
            "words": {name: self._words.word(name) for name in ("Probability", "Impact", "Page")},
            "sections": [self._section(each) for each in document.sections],
        }

    def _section(self, section: Section) -> dict[str, Any]:
        return {
            "title": section.title,
            "paragraphs": [self._spans(each) for each in section.paragraphs],
            "tiles": [self._tile(each) for each in section.tiles],
            "charts": [
                {"alt": each.alt, "svg": self._draw(each).decode()} for each in section.charts
            ],
            "tables": [self._table(each) for each in section.tables],
            "risks": [self._risk(each) for each in section.risks],
        }

    def _tile(self, tile: Tile) -> dict[str, Any]:
        return {
            "label": tile.label,
            "number": self._cell(tile.number),
            "note": self._spans(tile.note),
        }

    def _table(self, table: Table) -> dict[str, Any]:
        units = [unit_of(table, place) for place in range(len(table.columns))]

        def cells(row: tuple[Cell, ...]) -> list[dict[str, str]]:
            return [
                self._cell(cell, is_plain=bool(unit)) for cell, unit in zip(row, units, strict=True)
            ]

        return {
            "title": table.title,
            "columns": titles_of(table),
            "text_columns": [0, *table.text_columns],
            "widths": [_width(table, place) for place in range(len(table.columns))],
            "rows": [cells(row) for row in table.rows],
            "total": cells(table.total) if table.total is not None else [],
            "note": table.note,
        }

    def _risk(self, risk: Risk) -> dict[str, Any]:
        return {
            "title": risk.title,
            "probability": self._cell(probability_of(risk)),
            "impact": self._cell(impact_of(risk)),
            "basis": risk.basis,
            "mitigations": risk.mitigations,
        }

    def _spans(self, paragraph: Paragraph) -> list[dict[str, str]]:
        return [self._cell(span) for span in paragraph]

    def _cell(self, cell: Cell, *, is_plain: bool = False) -> dict[str, str]:
        if not isinstance(cell, Number):
            return {"text": cell or "", "url": "", "tone": ""}
        url = f"{self._base_url}{cell.query}"
        text = self._writing.plain(cell) if is_plain else self._writing.text(cell)
        return {"text": text, "url": url, "tone": self._writing.tone(cell)}


def _width(table: Table, place: int) -> int:
    """Returns a column's share of what is left; 0 for as much as it needs."""
    texts = [cell for row in table.rows if isinstance(cell := row[place], str)]
    longest = max(map(len, texts), default=0)
    if place == 0:
        return 3
    if longest > LONG_TEXT:
        return 5
    return 2 if place in table.text_columns and longest > SHORT_TEXT else 0
