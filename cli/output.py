"""Everything a command shows: results on standard output, the rest on standard error."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

Advance = Callable[[int], None]
_TABLE_WIDTH_MAX = 10_000


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class _Rate(ProgressColumn):
    """Work done a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Returns `12,345 rows/s`."""
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("", style="progress.data.speed")
        shown = f"{speed / 1e6:,.1f} MB" if self._unit == "bytes" else f"{speed:,.0f} {self._unit}"
        return Text(f"{shown}/s", style="progress.data.speed")


class Output:
    """Writes results in one format; notes and progress never mix with them."""

    def __init__(self, form: Format = Format.TABLE) -> None:
        """Takes the format of results."""
        self.form = form
        self._out = Console(highlight=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)

    def rows(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        *,
        title: str = "",
        content: object = None,
        fold: bool = False,
    ) -> None:
        """Writes a table; for people without the columns that are empty in every row.

        content: what JSON shows instead of one object a row. fold: whether long texts go on in the
        next line, rather than beyond the terminal's edge.
        """
        if self.form is Format.JSON:
            objects = [dict(zip(columns, row, strict=True)) for row in rows]
            self.json(objects if content is None else content)
        elif self.form is Format.CSV:
            self._out.file.write(csv_text([columns, *rows]))
        else:
            self._table(columns, rows, title, fold=fold)

    def record(self, fields: Mapping[str, object]) -> None:
        """Writes one thing: a JSON object, a CSV header with one line, or a line a field."""
        if self.form is Format.TABLE:
            width = max(map(len, fields), default=0)
            for name, value in fields.items():
                text = Text.assemble((name.ljust(width), "bold"), "  ", _shown(value))
                self._out.print(text)  # a token must not be cut at the terminal's edge
        elif self.form is Format.CSV:
            self._out.file.write(csv_text([list(fields), list(fields.values())]))
        else:
            self.line(json.dumps(fields, default=str))

    def json(self, content: object) -> None:
        """Writes JSON, messages in their proto3 mapping."""
        self.line(json.dumps(_plain(content), indent=2, ensure_ascii=False, default=str))

    def line(self, text: str) -> None:
        """Writes one line of results at once, as it is."""
        print(text, flush=True)  # noqa: T201 - the one place that writes results

    def lines(self, columns: Sequence[str]) -> Callable[[Sequence[object], object], None]:
        """Returns what writes rows as they come: CSV or aligned lines, or one JSON object a line.

        It takes the row and what JSON shows of it.
        """
        if self.form is Format.CSV:
            self.line(csv_text([columns]).rstrip("\n"))

        def write(row: Sequence[object], content: object) -> None:
            if self.form is Format.JSON:
                self.line(json.dumps(_plain(content), ensure_ascii=False, default=str))
            elif self.form is Format.CSV:
                self.line(csv_text([row]).rstrip("\n"))
            else:
                self.line("  ".join(_shown(value) for value in row))

        return write

    def note(self, text: str) -> None:
        """Tells people something on standard error."""
        self._err.print(Text(text))

    def error(self, text: str) -> None:
        """Tells people what went wrong and what to do."""
        self._err.print(Text.assemble(("error: ", "bold red"), text))

    @contextmanager
    def progress(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Shows a bar with rate and remaining time, on a terminal only; yields what moves it.

        unit: `bytes`, else the word for one piece of work in the plural.
        """
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %") if total else TimeElapsedColumn(),
            _Rate(unit),
            TimeRemainingColumn(),
        )
        with Progress(
            *columns, console=self._err, transient=True, disable=not self._err.is_terminal
        ) as progress:
            task = progress.add_task(label, total=total)
            yield lambda done: progress.update(task, completed=done)

    def _table(
        self, columns: Sequence[str], rows: Sequence[Sequence[object]], title: str, *, fold: bool
    ) -> None:
        table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left")
        shown = [
            position
            for position in range(len(columns))
            if not rows or any(_shown(row[position]) for row in rows)
        ]
        for position in shown:
            is_number = bool(rows) and all(_is_number(row[position]) for row in rows)
            table.add_column(
                Text(columns[position]),
                justify="right" if is_number else "left",
                overflow="fold",
                no_wrap=not fold,
            )
        for row in rows:
            table.add_row(*(_styled(row[position]) for position in shown))
        if fold:
            self._out.print(table)
            return
        # Ids that are cut or folded cannot be copied: a line longer than the terminal is better.
        wide = self._out.options.update(max_width=_TABLE_WIDTH_MAX)
        self._out.width = self._out.measure(table, options=wide).maximum
        self._out.print(table)


def csv_text(rows: Sequence[Sequence[object]]) -> str:
    """Returns rows as RFC 4180 CSV, lines ended by a line feed alone."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([_shown(value) for value in row] for row in rows)
    return buffer.getvalue()


def is_debugging() -> bool:
    """Tells whether FINOPS_DEBUG asks for traces of unexpected failures."""
    return os.environ.get("FINOPS_DEBUG", "") not in ("", "0")


def discard_output() -> None:
    """Makes later writes harmless when whoever read our output is gone, as in `… | head`."""
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end


def message_json(message: Message) -> Any:
    """Returns a message as its proto3 JSON value."""
    return json_format.MessageToDict(message)


def _plain(content: object) -> object:
    if isinstance(content, Message):
        return message_json(content)
    if isinstance(content, Mapping):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return content


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


_STYLES = {
    "ok": "green",
    "healthy": "green",
    "ready": "green",
    "warning": "yellow",
    "failed": "red",
    "down": "red",
    "unhealthy": "red",
}


def _styled(value: object) -> Text:
    text = _shown(value)
    return Text(text, style=_STYLES.get(text, ""))


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return True
    text = _shown(value).replace(",", "").removeprefix("-").replace(".", "", 1)
    return text.isdigit() or not text
