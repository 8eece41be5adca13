"""XLSX: one sheet, a header that stays, amounts as exact text, instants as dates in UTC.

Rows go to a temporary file as they come; the archive is made of it at the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from services.reporting.domain.exports import Column, Kind
from services.reporting.errors import ExportTooLarge
from services.reporting.service.exports.writing import plain

ROWS_MAX: Final = 1_048_575  # a sheet's own bound, without the header
CELL_LENGTH_MAX: Final = 32_767  # a cell's own bound
PIECE_BYTES: Final = 1 << 20
_Write = Callable[[int, int, Any], Any]


class XlsxWriter:
    """Writes XLSX; implements `TableWriter`."""

    def __init__(self) -> None:
        """Makes a folder for what is not zipped yet."""
        # It takes 15 MB, so it is loaded only for those who want it.
        import xlsxwriter  # noqa: PLC0415 - as said

        self._folder = tempfile.TemporaryDirectory(prefix="finops-export-")
        self._path = Path(self._folder.name) / "export.xlsx"
        self._book = xlsxwriter.Workbook(
            str(self._path),
            {
                "constant_memory": True,
                "tmpdir": self._folder.name,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
                "remove_timezone": True,
            },
        )
        self._sheet = self._book.add_worksheet("Export")
        self._instant = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._columns: Sequence[Column] = ()
        self._rows = 0

    def begin(self, columns: Sequence[Column]) -> bytes:
        """Writes the header; returns nothing yet."""
        self._columns = columns
        bold = self._book.add_format({"bold": True})
        for place, column in enumerate(columns):
            self._sheet.write_string(0, place, column.name, bold)
        self._sheet.freeze_panes(1, 0)
        self._sheet.set_column(0, len(columns) - 1, 18)
        return b""

    def add(self, page: pa.Table) -> bytes:
        """Writes rows; returns nothing yet. Raises ExportTooLarge."""
        if self._rows + page.num_rows > ROWS_MAX:
            raise ExportTooLarge(
                f"XLSX holds {ROWS_MAX:,} rows; narrow the export, or take csv or parquet",
                format="xlsx",
                rows_max=ROWS_MAX,
            )
        writes = [self._writer(column.kind) for column in self._columns]
        values = [plain(column).to_pylist() for column in page.columns]
        for row in zip(*values, strict=True):
            self._rows += 1
            for place, (write, value) in enumerate(zip(writes, row, strict=True)):
                if value is not None:
                    write(self._rows, place, value)
        return b""

    def end(self) -> Iterator[bytes]:
        """Yields the whole file."""
        self._book.close()
        with self._path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    def close(self) -> None:
        """Removes the folder with what was written so far."""
        if not self._book.fileclosed:
            # Closing the book would zip all of it first, only to be thrown away.
            self._sheet.row_data_fh.close()
            self._book.fileclosed = True
        self._folder.cleanup()

    def _writer(self, kind: Kind) -> _Write:
        sheet = self._sheet
        # A text is never a formula, whatever it begins with.
        write: _Write = partial(_write_text, sheet)
        if kind in (Kind.COUNT, Kind.NUMBER):
            write = sheet.write_number
        elif kind is Kind.FLAG:
            write = sheet.write_boolean
        elif kind is Kind.INSTANT:
            write = partial(_write_instant, sheet, self._instant)
        return write


def _write_instant(sheet: Any, form: Any, row: int, place: int, instant: Any) -> None:
    sheet.write_datetime(row, place, instant, form)


def _write_text(sheet: Any, row: int, place: int, text: str) -> None:
    sheet.write_string(row, place, text[:CELL_LENGTH_MAX])
