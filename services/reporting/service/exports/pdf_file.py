"""PDF: a table for people, typeset by typst, so of few rows and as many columns as a page has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from services.reporting.domain.exports import Column, Kind
from services.reporting.errors import ExportTooLarge
from services.reporting.service.exports import texts
from services.reporting.service.exports.writing import plain

ROWS_MAX: Final = 5_000  # a hundred pages; nobody reads more on paper
COLUMNS_MAX: Final = 12  # what A4 on its side holds in a size that can be read
CELL_LENGTH_MAX: Final = 80

_TEMPLATE: Final = """
#set document(title: sys.inputs.title, date: none)
#set page(paper: "a4", flipped: true, margin: 1.2cm, numbering: "1 / 1")
#set text(size: 7pt)
#let content = json(bytes(sys.inputs.content))
#text(size: 11pt, weight: "bold", sys.inputs.title)
#v(2pt)
#if content.omitted != "" [Not shown for want of room: #content.omitted.]
#table(
  columns: content.header.len(),
  stroke: 0.3pt + luma(200),
  inset: 3pt,
  align: (x, y) => if y > 0 and content.numeric.at(x) { right } else { left },
  fill: (_, y) => if y == 0 { luma(235) } else { none },
  table.header(..content.header.map(name => strong(name))),
  ..content.rows.flatten(),
)
"""


class PdfWriter:
    """Writes a PDF; implements `TableWriter`."""

    def __init__(self, title: str) -> None:
        """title: stands on the first page."""
        self._title = title
        self._columns: list[tuple[int, Column]] = []
        self._omitted: list[str] = []
        self._rows: list[list[str]] = []

    def begin(self, columns: Sequence[Column]) -> bytes:
        """Returns nothing yet. Columns beyond those of a page, and JSON, are named, not shown."""
        fitting = [each for each in enumerate(columns) if each[1].kind is not Kind.JSON]
        self._columns = fitting[:COLUMNS_MAX]
        shown = [column for _, column in self._columns]
        self._omitted = [column.name for column in columns if column not in shown]
        return b""

    def add(self, page: pa.Table) -> bytes:
        """Takes rows; returns nothing yet. Raises ExportTooLarge."""
        if len(self._rows) + page.num_rows > ROWS_MAX:
            raise ExportTooLarge(
                f"PDF holds {ROWS_MAX:,} rows; narrow the export, or take xlsx, csv or parquet",
                format="pdf",
                rows_max=ROWS_MAX,
            )
        columns = [_texts(page.column(place), column) for place, column in self._columns]
        self._rows += [list(row) for row in zip(*columns, strict=True)]
        return b""

    def end(self) -> Iterator[bytes]:
        """Yields the whole file."""
        # Only a PDF needs it, and the service is 12 MB smaller.
        import typst  # noqa: PLC0415 - as said

        content = {
            "header": [column.name for _, column in self._columns],
            "numeric": [column.kind in (Kind.AMOUNT, Kind.COUNT) for _, column in self._columns],
            "omitted": ", ".join(self._omitted),
            "rows": self._rows,
        }
        inputs = {"title": self._title, "content": json.dumps(content)}
        made: Any = typst.compile(_TEMPLATE.encode(), format="pdf", sys_inputs=inputs)
        yield bytes(made)

    def close(self) -> None:
        """Forgets the rows."""
        self._rows = []


def _texts(values: pa.ChunkedArray, column: Column) -> list[str]:
    if column.kind is Kind.INSTANT:
        values = texts.instants(values)
    found = ["" if value is None else str(value) for value in plain(values).to_pylist()]
    return [
        text if len(text) <= CELL_LENGTH_MAX else f"{text[: CELL_LENGTH_MAX - 1]}…"
        for text in found
    ]
