"""Writes a report as a workbook, row by row to the disk; no cell of it is ever a formula."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from services.reporting.domain.report.document import Document, Form, Number, Table
from services.reporting.domain.report.wording import Wording
from services.reporting.service.reports_numbers import Writing, currency_digits, locale_of
from services.reporting.service.reports_tables import (
    FIGURE_COLUMNS,
    rows_of,
    tables_of,
    titles_of,
)

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

_SHEET_NAME: Final = re.compile(r"[\[\]:*?/\\']")
SHEET_NAME_LENGTH: Final = 31
LINKS_MAX: Final = 60_000  # a sheet of Excel takes 65,530


class Workbook:
    """A workbook of a report: the text first, a sheet a table, all figures last."""

    def __init__(self, document: Document, target: Path, base_url: str, made_at: datetime) -> None:
        """Opens the file; `write` fills and closes it."""
        # It takes 15 MB, so it is loaded only for those who want it.
        import xlsxwriter  # noqa: PLC0415 - as said

        self._document = document
        self._base_url = base_url
        self._words = Wording(document.language)
        self._writing = Writing(locale_of(document.locale))
        # Rows go to the disk as they come; texts stay texts, whatever they look like.
        self._book = xlsxwriter.Workbook(
            str(target),
            {
                "constant_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        naive = made_at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
        self._book.set_properties({"title": document.title, "created": naive})
        self._formats: dict[tuple[str, bool], Format] = {}
        self._bold = self._book.add_format({"bold": True, "text_wrap": True, "valign": "top"})
        self._wrapped = self._book.add_format({"text_wrap": True, "valign": "top"})
        self._names: set[str] = set()

    def write(self) -> None:
        """Writes everything and closes the file."""
        self._write_text()
        for section in self._document.sections:
            for table in tables_of(section, self._words):
                self._write_table(table)
        self._write_figures()
        self._book.close()

    def _sheet(self, name: str) -> Worksheet:
        base = _SHEET_NAME.sub(" ", name).strip()[:SHEET_NAME_LENGTH] or "Sheet"
        unique, number = base, 1
        while unique.lower() in self._names:
            number += 1
            suffix = f" {number}"
            unique = base[: SHEET_NAME_LENGTH - len(suffix)] + suffix
        self._names.add(unique.lower())
        return self._book.add_worksheet(unique)

    def _write_text(self) -> None:
        sheet = self._sheet(self._words.word("Summary"))
        sheet.set_column(0, 0, 100)
        lines: list[tuple[str, bool]] = [
            (self._document.title, True),
            (self._document.subtitle, False),
            *((f"{name}: {value}", False) for name, value in self._document.facts),
        ]
        for section in self._document.sections:
            lines.append((section.title, True))
            lines += [("".join(map(self._readable, each)), False) for each in section.paragraphs]
        for row, (text, is_bold) in enumerate(lines):
            sheet.write_string(row, 0, text, self._bold if is_bold else self._wrapped)

    def _readable(self, span: str | Number) -> str:
        return self._writing.text(span) if isinstance(span, Number) else span

    def _write_table(self, table: Table) -> None:
        sheet = self._sheet(table.title)
        sheet.freeze_panes(1, 1)
        sheet.set_column(0, 0, 36)
        sheet.set_column(1, len(table.columns) - 1, 16)
        for column in table.text_columns:
            sheet.set_column(column, column, 30)
        for column, title in enumerate(titles_of(table)):
            sheet.write_string(0, column, title, self._bold)
        links = 0
        for row, cells in enumerate(rows_of(table), start=1):
            is_total = table.total is not None and row > len(table.rows)
            for column, cell in enumerate(cells):
                if isinstance(cell, Number):
                    links += 1
                    self._write_number(sheet, row, column, cell, is_total, links <= LINKS_MAX)
                else:
                    shown = self._bold if is_total else self._wrapped
                    sheet.write_string(row, column, cell or "", shown)

    def _write_number(
        self, sheet: Worksheet, row: int, column: int, number: Number, *flags: bool
    ) -> None:
        is_total, is_linked = flags
        shown = self._number_format(number, is_total)
        if is_linked:
            # The link stays when the number takes the place of its text.
            sheet.write_url(row, column, f"{self._base_url}{number.query}", shown)
        # A workbook's numbers have 15 digits; the sheet of figures has all of them, as text.
        sheet.write_number(row, column, number.value, shown)

    def _number_format(self, number: Number, is_bold: bool) -> Format:  # noqa: FBT001
        pattern = _pattern(number)
        known = self._formats.get((pattern, is_bold))
        if known is None:
            properties: dict[str, Any] = {"num_format": pattern, "valign": "top", "bold": is_bold}
            known = self._formats[pattern, is_bold] = self._book.add_format(properties)
        return known

    def _write_figures(self) -> None:
        sheet = self._sheet(self._words.word("Figures"))
        sheet.freeze_panes(1, 0)
        for column, (title, width) in enumerate(
            zip(FIGURE_COLUMNS, (20, 60, 30, 10, 100), strict=True)
        ):
            sheet.set_column(column, column, width)
            sheet.write_string(0, column, title, self._bold)
        row = 0
        for section in self._document.sections:
            for figure in section.figures():
                row += 1
                query = f"{self._base_url}{figure.query}"
                cells = (section.title, figure.label, figure.text, figure.unit, query)
                for column, text in enumerate(cells):
                    sheet.write_string(row, column, text)


def _pattern(number: Number) -> str:
    match number.form:
        case Form.MONEY | Form.MONEY_CHANGE:
            digits = currency_digits(number.unit)
            return "#,##0" + ("." + "0" * digits if digits else "")
        case Form.UNIT_PRICE:
            return "#,##0.00######"
        case Form.RATIO | Form.CHANGE:
            return "0.0%"
        case Form.COUNT:
            return "#,##0"
        case Form.QUANTITY:
            return "#,##0.###"
