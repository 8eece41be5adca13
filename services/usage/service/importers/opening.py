"""Tells a file's kind, opens it and makes its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from services.usage.service.importers.aws_cur import aws_cur_reader, is_aws_cur
from services.usage.service.importers.azure import azure_reader, is_azure
from services.usage.service.importers.charges import EventReader
from services.usage.service.importers.focus import (
    focus_ignored,
    focus_reader,
    focus_variant,
    is_focus,
    remainder_columns,
)
from services.usage.service.importers.identity import RowIdentity
from services.usage.service.importers.json_lines import (
    cloudevent_reader,
    event_reader,
    is_cloudevent,
    json_rows,
)
from services.usage.service.importers.llm_traces import trace_of, trace_reader, trace_variant
from services.usage.service.importers.oci import is_oci, oci_reader
from services.usage.service.importers.rows import (
    ImportKind,
    ImportOptions,
    ImportRows,
    Parsed,
    Rejected,
    Row,
    RowProblem,
    UnknownImportKind,
    excerpt,
)
from services.usage.service.importers.tables import Columns, Table, first_line, is_parquet


class TableFormat(NamedTuple):
    """How to tell a kind of table by its header, to name what exactly it is, and to read it."""

    matches: Callable[[Columns], bool]
    variant: Callable[[Columns], str]
    reader: Callable[[Columns, ImportOptions], EventReader]


def _is_trace(columns: Columns) -> bool:
    return trace_of(columns) is not None


def _named(name: str) -> Callable[[Columns], str]:
    return lambda _: name


_TABLES = {
    ImportKind.FOCUS: TableFormat(is_focus, focus_variant, focus_reader),
    ImportKind.AWS_CUR: TableFormat(is_aws_cur, _named("AWS CUR"), aws_cur_reader),
    ImportKind.OCI: TableFormat(is_oci, _named("OCI cost report"), oci_reader),
    ImportKind.AZURE: TableFormat(is_azure, _named("Azure cost export"), azure_reader),
    ImportKind.LLM_TRACE: TableFormat(_is_trace, trace_variant, trace_reader),
}
_JSON_LINES = {
    ImportKind.NDJSON: ("UsageEvent", event_reader),
    ImportKind.CLOUDEVENTS: ("CloudEvents 1.0", cloudevent_reader),
}


def detect(path: Path) -> ImportKind:
    """Returns the kind of a file, by its content. Raises UnknownImportKind, UnreadableImportFile.

    A FOCUS file that lacks columns is still of kind FOCUS, so that opening it can name them.
    """
    if not is_parquet(path):
        line = first_line(path).lstrip()
        if line.startswith("{"):
            return ImportKind.CLOUDEVENTS if is_cloudevent(line) else ImportKind.NDJSON
        if line.startswith("["):
            raise UnknownImportKind("the file is one JSON list; write one event a line instead")
    columns = Table(path).columns
    for kind, table in _TABLES.items():
        if table.matches(columns):
            return kind
    names = ", ".join(columns.names[:8])
    raise UnknownImportKind(f"no known kind of file has these columns: {names[:200]}")


def open_import(kind: ImportKind, path: Path, options: ImportOptions) -> ImportRows:
    """Opens a file and returns its rows, which are read as they are asked for.

    Memory is bounded by the file's longest rows, what is remembered of recent ones, and 12 to 24
    bytes a row. Raises MissingColumns, TraceStartRequired and UnreadableImportFile at once for what
    the header tells, and UnreadableImportFile or ImportTooLarge later, from the rows, for a file
    that breaks off or is too large; rows given before stand.
    """
    if kind in _JSON_LINES:
        variant, reader = _JSON_LINES[kind]
        first_line(path)
        return ImportRows(
            json_rows(path, reader(options)), kind=kind, variant=variant, ignored_columns=()
        )
    table = Table(path)
    columns = table.columns
    read = _TABLES[kind].reader(columns, options)
    return ImportRows(
        _table_rows(table, read),
        kind=kind,
        variant=_TABLES[kind].variant(columns),
        ignored_columns=focus_ignored(columns) if kind is ImportKind.FOCUS else (),
        bill_columns=[name for _, name in remainder_columns(columns)]
        if kind is ImportKind.FOCUS
        else (),
    )


def _table_rows(table: Table, read: EventReader) -> Iterator[Row]:
    id_of = RowIdentity(table.columns.names).id_of
    for number, cells in table.rows():
        try:
            if isinstance(cells, RowProblem):
                raise cells
            event = read(cells, id_of(cells))
        except RowProblem as problem:
            yield Rejected(number, problem.reason, problem.column, _row_text(cells))
        else:
            yield Parsed(number, event)


def _row_text(cells: Sequence[str] | RowProblem) -> str:
    text = cells.text if isinstance(cells, RowProblem) else ",".join(cells[:-1])
    return excerpt(text)
