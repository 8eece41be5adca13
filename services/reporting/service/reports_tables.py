"""Writes a report's tables as text; what looks like a formula is told to be text."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from services.kernel.money import format_decimal
from services.reporting.domain.report.document import (
    Cell,
    Document,
    Number,
    Section,
    Table,
    impact_of,
    probability_of,
)
from services.reporting.domain.report.wording import Wording

# What a spreadsheet takes for the beginning of a formula, or of a command.
_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_NAME: Final = re.compile(r"[^\w.-]+")
ZIP_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
FIGURE_COLUMNS: Final = ("section", "label", "value", "unit", "query")


def safe_text(text: str) -> str:
    """Returns a text that no spreadsheet runs: what begins like a formula gets an apostrophe."""
    return f"'{text}" if text.startswith(_DANGEROUS) else text


def csv_files(document: Document, base_url: str) -> Iterator[tuple[str, Iterator[list[str]]]]:
    """Yields name and rows of each file: one a table, then all figures with their queries."""
    place = 0
    for section in document.sections:
        for table in tables_of(section, Wording(document.language)):
            place += 1
            yield f"{place:02}-{_file_name(table.title)}.csv", _csv_rows(table)
    yield "figures.csv", _figure_rows(document, base_url)


def write_csv(document: Document, target: Path, base_url: str) -> str:
    """Writes one CSV, or a ZIP of several, and returns its media type."""
    files = list(csv_files(document, base_url))
    if len(files) == 1:
        with target.open("w", encoding="utf-8", newline="") as out:
            _write_rows(out, files[0][1])
        return "text/csv; charset=utf-8"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in files:
            # A fixed time, so that the same report gives the same bytes.
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with (
                archive.open(entry, "w") as raw,
                io.TextIOWrapper(raw, encoding="utf-8", newline="") as out,
            ):
                _write_rows(out, rows)
    return "application/zip"


def tables_of(section: Section, words: Wording) -> Iterator[Table]:
    """Yields a section's tables, its key numbers and its risks as tables too."""
    if section.tiles:
        yield Table(
            f"{section.title}: {words.word('Key figures')}",
            (words.word("Figure"), words.word("Value"), words.word("Unit")),
            tuple((tile.label, tile.number, tile.number.unit) for tile in section.tiles),
            text_columns=(2,),
        )
    yield from section.tables
    if section.risks:
        yield Table(
            section.title,
            (
                words.word("Risk"),
                words.word("Probability"),
                words.word("Impact"),
                words.word("Unit"),
                words.word("Basis"),
                words.word("Mitigation"),
            ),
            tuple(
                (
                    risk.title,
                    probability_of(risk),
                    impact_of(risk),
                    risk.currency_code,
                    risk.basis,
                    "; ".join(risk.mitigations),
                )
                for risk in section.risks
            ),
            text_columns=(3, 4, 5),
        )


def _write_rows(out: IO[str], rows: Iterator[list[str]]) -> None:
    csv.writer(out, lineterminator="\r\n").writerows(rows)


def _csv_rows(table: Table) -> Iterator[list[str]]:
    yield [safe_text(title) for title in titles_of(table)]
    for row in rows_of(table):
        yield [_csv_cell(cell) for cell in row]


def _csv_cell(cell: Cell) -> str:
    # With all its digits, and never prefixed: a number is what begins with a minus here.
    return format_decimal(cell.value) if isinstance(cell, Number) else safe_text(cell or "")


def _figure_rows(document: Document, base_url: str) -> Iterator[list[str]]:
    yield list(FIGURE_COLUMNS)
    for section in document.sections:
        for figure in section.figures():
            yield [
                safe_text(section.title),
                safe_text(figure.label),
                figure.text,
                safe_text(figure.unit),
                f"{base_url}{figure.query}",
            ]


def rows_of(table: Table) -> Sequence[Sequence[Cell]]:
    """Returns a table's rows, its total last."""
    return (*table.rows, *([table.total] if table.total is not None else []))


def unit_of(table: Table, place: int) -> str:
    """Returns the unit that all numbers of a column share, "" where they do not."""
    cells = (row[place] for row in rows_of(table))
    units = {cell.unit for cell in cells if isinstance(cell, Number)}
    return units.pop() if len(units) == 1 else ""


def titles_of(table: Table) -> list[str]:
    """Returns what heads the columns, with the unit of those that have one."""
    return [
        f"{title}, {unit}" if (unit := unit_of(table, place)) else title
        for place, title in enumerate(table.columns)
    ]


def _file_name(title: str) -> str:
    return _NAME.sub("-", title).strip("-").lower()[:60] or "table"
