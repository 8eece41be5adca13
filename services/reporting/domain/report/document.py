"""What a report says: sections of text, numbers, tables, charts and risks.

Every number keeps its exact value and the query that gives it again; how it is written is the
business of each format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias

from services.reporting.domain.figures import Figure


class Form(Enum):
    """How a number is written."""

    MONEY = "money"
    # Signed.
    MONEY_CHANGE = "money_change"
    # As many digits as a price below a cent needs.
    UNIT_PRICE = "unit_price"
    # 0.8 is 80 %.
    RATIO = "ratio"
    # Signed: 0.1 is +10 %.
    CHANGE = "change"
    COUNT = "count"
    QUANTITY = "quantity"


@dataclass(frozen=True, slots=True)
class Number:
    """A number. unit: currency code or unit. label: what it is, where no table says so."""

    value: Decimal
    form: Form
    unit: str
    query: str
    label: str = ""


Cell: TypeAlias = str | Number | None
Span: TypeAlias = str | Number
Paragraph: TypeAlias = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A key number with what it means."""

    label: str
    number: Number
    note: Paragraph = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; the first column names the row. total: the last row, None without."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: tuple[Cell, ...] | None = None
    note: str = ""
    # Columns that hold text beside the first, so that they are set to the left.
    text_columns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ChartPlace:
    """A declared chart and its rows, drawn when the document is written. alt: what it shows."""

    chart: str
    title: str
    alt: str
    rows: tuple[dict[str, Any], ...]
    # In pixels; 0 is as the chart likes.
    height: int = 0


@dataclass(frozen=True, slots=True)
class Risk:
    """What may happen, how probable it is and what it would cost."""

    title: str
    probability: Decimal
    impact: Decimal
    currency_code: str
    basis: str
    query: str
    mitigations: tuple[str, ...] = ()
    recommendation_ids: tuple[str, ...] = ()


def probability_of(risk: Risk) -> Number:
    """Returns a risk's probability as a number."""
    return Number(risk.probability, Form.RATIO, "", risk.query)


def impact_of(risk: Risk) -> Number:
    """Returns a risk's impact as a number."""
    return Number(risk.impact, Form.MONEY, risk.currency_code, risk.query)


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report. key: its name in figures."""

    key: str
    title: str
    paragraphs: tuple[Paragraph, ...] = ()
    tiles: tuple[Tile, ...] = ()
    charts: tuple[ChartPlace, ...] = ()
    tables: tuple[Table, ...] = ()
    risks: tuple[Risk, ...] = ()

    def figures(self) -> Iterator[Figure]:
        """Yields every number of the section, in the order in which it is read."""
        for tile in self.tiles:
            yield self._figure(tile.label, tile.number)
            yield from self._of_text(tile.note)
        for paragraph in self.paragraphs:
            yield from self._of_text(paragraph)
        for table in self.tables:
            for row in (*table.rows, *([table.total] if table.total else [])):
                yield from self._of_row(table, row)
        for risk in self.risks:
            yield self._figure(f"{risk.title}: probability", probability_of(risk))
            yield self._figure(f"{risk.title}: impact", impact_of(risk))

    def _of_text(self, paragraph: Paragraph) -> Iterator[Figure]:
        for span in paragraph:
            if isinstance(span, Number):
                yield self._figure(span.label, span)

    def _of_row(self, table: Table, row: tuple[Cell, ...]) -> Iterator[Figure]:
        names = [cell for cell in row if isinstance(cell, str) and cell]
        name = ", ".join(names[: 1 + len(table.text_columns)])
        for column, cell in zip(table.columns, row, strict=True):
            if isinstance(cell, Number):
                yield self._figure(f"{table.title}: {name}: {column}", cell)

    def _figure(self, label: str, number: Number) -> Figure:
        return Figure(self.key, label, number.value, number.unit, number.query)


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report. facts: what it is about, name and value, for its head.

    language: of the words, `en` or `de`; locale: of the numbers.
    """

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    language: str
    locale: str
    theme: str
