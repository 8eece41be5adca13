"""Reads bills and traces: the bytes of a file in, usage events and refused rows out.

Pure parsing: no database, no network. `open_import` reads one file as a stream with bounded
memory; `detect` tells its kind. What a file as a whole cannot be read for is an error of
`importers.rows`; what a single row cannot be read for is a `Rejected` row, and the rest goes in.

Row numbers. In text files the number is that of the line the row begins on, as a text editor
counts: the header is line 1, so the first row is 2. In Parquet, which has no lines, it is the
record's number from 1.

Identity. Bills and traces carry no ids that are unique over all providers, so an event's id is made
from its row: the hex of BLAKE2b-128 over the columns that have a value, by name, with their text as
written (text `NULL` counts as no value; the order of columns does not count). A row that occurs
again in the same file is a charge of its own: its n-th occurrence has `-n` appended, n >= 2. So the
same file imported twice gives the same ids, and a file that repeats a row charges it twice. It also
means that identical rows of different files are taken for one: give files that may hold such rows,
for example the parts of one export or two traces without ids, a `source` each. NDJSON and
CloudEvents bring ids of their own.

Numbers are read exactly, scientific notation included, up to 18 digits after the point; a row with
more is refused. Only Azure's exports, which print binary fractions with up to 28 digits, and
floating-point columns of Parquet are rounded to 18 digits, half to even.
"""

from __future__ import annotations

from services.usage.service.importers.opening import detect, open_import
from services.usage.service.importers.rows import (
    ImportKind,
    ImportOptions,
    ImportRows,
    Parsed,
    Rejected,
    Row,
    TagKeys,
)

__all__ = [
    "ImportKind",
    "ImportOptions",
    "ImportRows",
    "Parsed",
    "Rejected",
    "Row",
    "TagKeys",
    "detect",
    "open_import",
]
