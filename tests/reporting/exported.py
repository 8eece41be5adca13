"""Reads exported files back, without the code that wrote them."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq

from services.kernel.money import add_exactly

_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def rows_of(content: bytes, form: str) -> list[dict[str, Any]]:
    """Returns the rows of a file by the names of its columns."""
    match form:
        case "csv" | "focus":
            return list(csv.DictReader(io.StringIO(content.decode())))
        case "json":
            found: list[dict[str, Any]] = json.loads(content)
            return found
        case "parquet":
            return list(pq.read_table(io.BytesIO(content)).to_pylist())
        case "xlsx":
            return _sheet_rows(content)
    raise ValueError(form)


def total_of(rows: Iterable[dict[str, Any]], name: str) -> Decimal:
    """Returns the exact sum of a column."""
    return add_exactly(Decimal(row[name]) for row in rows)


def _sheet_rows(content: bytes) -> list[dict[str, Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        tree = ET.fromstring(book.read("xl/worksheets/sheet1.xml"))  # noqa: S314 - ours
    lines: list[dict[str, str]] = []
    for row in tree.iter(f"{_SHEET}row"):
        cells = {}
        for cell in row:
            letters = "".join(each for each in cell.attrib["r"] if each.isalpha())
            assert cell.find(f"{_SHEET}f") is None, "a cell is a formula"
            texts = [*cell.iter(f"{_SHEET}t"), *cell.iter(f"{_SHEET}v")]
            cells[letters] = texts[0].text or "" if texts else ""
        lines.append(cells)
    header, *rest = lines
    return [{header[place]: row.get(place, "") for place in header} for row in rest]
