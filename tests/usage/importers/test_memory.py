"""A large file is read in the memory of a small one."""

from __future__ import annotations

import csv
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.usage.service.importers import ImportKind, ImportOptions, Parsed, open_import
from tests.usage.importers.reading import FOCUS_ROW

ROWS = 200_000
# Remembered values and one batch of rows, and 24 bytes a row to know repeated rows by.
BYTES_MAX = 40_000_000


@pytest.fixture
def many_requests(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("TIMESTAMP,ContextTokens,GeneratedTokens\n")
        file.writelines(
            f"2023-11-16 18:17:03.{index:06},{index},{index % 7}\n" for index in range(ROWS)
        )
    return path


@pytest.fixture
def many_charges(tmp_path: Path) -> Path:
    """A bill whose resources are all different, so that nothing remembered is of use."""
    path = tmp_path / "bill.csv"
    row = FOCUS_ROW | {"ResourceId": "", "x_Note": "n" * 200}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerows(
            row | {"BilledCost": f"{index}.5", "ResourceId": f"machine-{index}"}
            for index in range(ROWS // 10)
        )
    return path


def peak_bytes(rows: Iterator[object]) -> tuple[int, int]:
    """Returns how many events there are and what reading them took at most."""
    tracemalloc.start()
    try:
        count = sum(isinstance(row, Parsed) for row in rows)
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_trace_of_200_000_requests_is_read_in_bounded_memory(many_requests: Path) -> None:
    rows = open_import(ImportKind.LLM_TRACE, many_requests, ImportOptions())

    count, peak = peak_bytes(rows)

    assert count == ROWS
    assert peak < BYTES_MAX


def test_bill_of_different_resources_is_read_in_bounded_memory(many_charges: Path) -> None:
    rows = open_import(ImportKind.FOCUS, many_charges, ImportOptions())

    count, peak = peak_bytes(rows)

    assert count == ROWS // 10
    assert peak < BYTES_MAX
