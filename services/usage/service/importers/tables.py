"""Opens CSV and Parquet files as rows of text, streaming, whatever they are named."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from services.usage.service.importers.rows import MissingColumns, RowProblem, UnreadableImportFile

# 94 columns of a bill come to 4 kB; JSON in them may reach csv's own limit of 128 kB a field.
LINE_LENGTH_MAX = 1 << 20
COLUMNS_MAX = 2000  # AWS adds one a resource tag; a header beyond this is no header
_PARQUET_MAGIC = b"PAR1"
_GZIP_MAGIC = b"\x1f\x8b"
_BUFFER_BYTES = 1 << 18

# A row's number and its cells, one more than the header has: the last is blank and stands in for
# columns that the file lacks. Or why the row has no cells.
TableRow = tuple[int, Sequence[str] | RowProblem]


class Columns:
    """The header of a table. Names are matched without regard to letter case."""

    def __init__(self, names: Sequence[str]) -> None:
        """Takes the names in file order. Raises UnreadableImportFile where one comes twice."""
        self.names = [
            name.strip() or f"#{index}" for index, name in enumerate(names[:COLUMNS_MAX], 1)
        ]
        self.width = len(names)
        self._indexes = {name.lower(): index for index, name in enumerate(self.names)}
        if self.width > COLUMNS_MAX:
            raise UnreadableImportFile(f"the header has more than {COLUMNS_MAX} columns")
        if len(self._indexes) < self.width:
            twice = next(
                name
                for index, name in enumerate(self.names)
                if self._indexes[name.lower()] != index
            )
            raise UnreadableImportFile(f"the header has the column {twice[:80]} twice")

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._indexes

    def find(self, *names: str) -> int:
        """Returns the index of the first of these columns, or that of the blank cell."""
        for name in names:
            index = self._indexes.get(name.lower())
            if index is not None:
                return index
        return self.width

    def require(self, kind: str, *alternatives: str | tuple[str, ...]) -> None:
        """Raises MissingColumns unless each column, or one of its other names, is there."""
        groups = [(item,) if isinstance(item, str) else item for item in alternatives]
        missing = [group[0] for group in groups if not any(name in self for name in group)]
        if missing:
            raise MissingColumns(kind, missing)


class Table:
    """A file as a header and rows of text. Holds nothing open between its header and its rows."""

    def __init__(self, path: Path) -> None:
        """Reads the header. Raises UnreadableImportFile."""
        self._path = path
        self.is_parquet = is_parquet(path)
        if self.is_parquet:
            # Its library takes 40 MB, so it is loaded only where there is such a file.
            from services.usage.service.importers import parquet  # noqa: PLC0415 - as said

            self.columns = Columns(parquet.parquet_columns(path))
        else:
            self.columns = Columns(_csv_header(path))

    def rows(self) -> Iterator[TableRow]:
        """Yields the rows after the header; blank lines are skipped.

        Raises UnreadableImportFile where the file breaks off.
        """
        if self.is_parquet:
            from services.usage.service.importers import parquet  # noqa: PLC0415 - as above

            return parquet.parquet_rows(self._path)
        return _csv_rows(self._path, self.columns.width)


def is_parquet(path: Path) -> bool:
    """Tells by the first bytes."""
    with path.open("rb") as file:
        return file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC


def first_line(path: Path) -> str:
    """Returns the first line that is not blank, or "". Raises UnreadableImportFile."""
    with open_text(path) as file:
        return next((line for line in Lines(file) if line.strip()), "")


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Opens a text file, gzip or not by its first bytes. Bytes that are not UTF-8 stay visible."""
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        stream: io.BufferedReader = raw
        if raw.peek(2)[:2] == _GZIP_MAGIC:
            unzipped = stack.enter_context(gzip.GzipFile(fileobj=raw, mode="rb"))
            stream = io.BufferedReader(unzipped, _BUFFER_BYTES)
        yield stack.enter_context(
            io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        )


class Lines:
    """The lines of a text file, each of bounded length. `last` is the latest one given."""

    def __init__(self, file: TextIO) -> None:
        """Takes the opened file."""
        self._readline = file.readline
        self.last = ""

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        """Returns the next line. Raises UnreadableImportFile."""
        try:
            line = self._readline(LINE_LENGTH_MAX)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UnreadableImportFile(
                "the compressed file is damaged or ends too early; copy it again"
            ) from error
        if not line:
            raise StopIteration
        if len(line) == LINE_LENGTH_MAX:
            raise UnreadableImportFile(f"a line is longer than {LINE_LENGTH_MAX} characters")
        self.last = line
        return line


def _csv_header(path: Path) -> list[str]:
    with open_text(path) as file:
        try:
            header = next((cells for cells in csv.reader(Lines(file), strict=True) if cells), None)
        except csv.Error as error:
            raise UnreadableImportFile(f"the header is not CSV: {error}") from error
    if header is None:
        raise UnreadableImportFile("the file is empty")
    return header


def _csv_rows(path: Path, width: int) -> Iterator[TableRow]:
    with open_text(path) as file:
        lines = Lines(file)
        reader = csv.reader(lines, strict=True)
        is_header = True
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield number, RowProblem("", f"is not CSV: {error}", lines.last)
                continue
            if not cells:
                continue
            if is_header:
                is_header = False
            elif len(cells) == width:
                cells.append("")
                yield number, cells
            else:
                reason = f"has {len(cells)} columns, the header {width}"
                yield number, RowProblem("", reason, ",".join(cells))
