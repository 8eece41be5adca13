"""`finops import` sends a file in parts, waits, and lists what was refused."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from finops.usage.v1 import usage_model_pb2, usage_service_pb2
from pyarrow import parquet

from cli import imports
from cli.row_count import count_rows
from tests.cli.conftest import USAGE, Refusal, Result, Suite

Finops = Callable[..., Result]


class Importer:
    """Stands in for the service: takes parts, then counts the lines."""

    def __init__(self, suite: Suite, *, invalid: int = 0, failure: str = "") -> None:
        self.content = b""
        self.invalid = invalid
        self.failure = failure
        self.first: Any = None
        suite.answers[f"{USAGE}/ImportUsage"] = self.take
        suite.answers[f"{USAGE}/GetImport"] = self.get
        suite.answers[f"{USAGE}/ListImportRejects"] = self.rejects

    def job(self, state: usage_model_pb2.Import.State.ValueType) -> usage_model_pb2.Import:
        return usage_model_pb2.Import(
            import_id="i1",
            state=state,
            received_bytes=len(self.content),
            rows=10,
            accepted=10 - self.invalid,
            invalid=self.invalid,
            failure=self.failure,
        )

    def take(
        self, part: usage_service_pb2.ImportUsageRequest
    ) -> usage_service_pb2.ImportUsageResponse | Refusal:
        if self.first is None:
            self.first = part
        if part.offset != len(self.content):
            return Refusal(grpc.StatusCode.FAILED_PRECONDITION, "offset")
        self.content += part.content.data
        is_whole = len(self.content) == part.total_bytes
        state = (
            usage_model_pb2.Import.STATE_QUEUED
            if is_whole
            else usage_model_pb2.Import.STATE_UPLOADING
        )
        return usage_service_pb2.ImportUsageResponse(**{"import": self.job(state)})

    def get(
        self, request: usage_service_pb2.GetImportRequest
    ) -> usage_service_pb2.GetImportResponse:
        assert request.import_id == "i1"
        ended = usage_model_pb2.Import.STATE_SUCCEEDED
        state = usage_model_pb2.Import.STATE_FAILED if self.failure else ended
        return usage_service_pb2.GetImportResponse(**{"import": self.job(state)})

    def rejects(
        self, request: usage_service_pb2.ListImportRejectsRequest
    ) -> usage_service_pb2.ListImportRejectsResponse:
        number = int(request.page_token or 1)
        reject = usage_model_pb2.ImportReject(
            row_number=number, field="BilledCost", reject_reason="not a number", excerpt="a,b"
        )
        return usage_service_pb2.ListImportRejectsResponse(
            rejects=[reject], next_page_token="2" if number < self.invalid else ""
        )


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    path = tmp_path / "bill.csv"
    path.write_text("BilledCost\n" + "1.50\n" * 10)
    return path


def test_a_file_is_sent_in_parts_and_the_counts_are_shown(
    finops: Finops, suite: Suite, bill: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_PART_BYTES", 16)
    importer = Importer(suite)

    result = finops(
        *("import", "llm-trace", str(bill), "--tenant", "acme", "--format", "json"),
        *("--model", "m-1", "--start", "2026-01-01T00:00:00Z", "--source", "trace"),
    )

    assert result.code == 0, result.err
    assert json.loads(result.out) == {
        "accepted": 10,
        "duplicate": 0,
        "conflict": 0,
        "invalid": 0,
        "rejects": None,
    }
    assert importer.content == bill.read_bytes()
    sent = importer.first
    assert (sent.tenant_id, sent.kind, sent.model, sent.source, sent.file_name) == (
        ("acme", "llm-trace", "m-1", "trace", "bill.csv")
    )
    assert sent.start_time.ToJsonString() == "2026-01-01T00:00:00Z"


def test_refused_rows_are_listed_and_exit_with_5(finops: Finops, suite: Suite, bill: Path) -> None:
    Importer(suite, invalid=2)

    result = finops("import", "focus", str(bill), "--tenant", "acme", "--format", "json")

    assert result.code == 5
    path = Path(json.loads(result.out)["rejects"])
    assert path == Path("bill.csv.rejects.csv")
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["file", "row_number", "field", "reason", "excerpt"],
            [str(bill), "1", "BilledCost", "not a number", "a,b"],
            [str(bill), "2", "BilledCost", "not a number", "a,b"],
        ]
    assert "2 rows were refused" in result.err


def test_a_part_whose_answer_was_lost_is_not_sent_twice(
    finops: Finops, suite: Suite, bill: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_PART_BYTES", 16)
    importer = Importer(suite)
    parts = 0

    def lose_second(part: Any) -> Any:
        nonlocal parts
        parts += 1
        answer = importer.take(part)
        return Refusal(grpc.StatusCode.INTERNAL, "lost") if parts == 2 else answer

    suite.answers[f"{USAGE}/ImportUsage"] = lose_second

    result = finops("import", "focus", str(bill), "--tenant", "acme")

    assert result.code == 0, result.err
    assert importer.content == bill.read_bytes()


def test_a_file_the_service_cannot_read_is_a_failure(
    finops: Finops, suite: Suite, bill: Path
) -> None:
    Importer(suite, failure="There is no column BilledCost; is it a FOCUS file?")

    result = finops("import", "focus", str(bill), "--tenant", "acme")

    assert result.code == 1
    assert "There is no column BilledCost" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "excel", "bill.csv"),
        ("import", "focus", "missing.csv"),
        ("import", "focus", "empty.csv", "--tenant", "acme"),
        ("import", "llm-trace", "bill.csv", "--tenant", "acme", "--start", "yesterday"),
    ],
)
def test_a_wrong_command_line_exits_with_2(
    finops: Finops, bill: Path, arguments: tuple[str, ...]
) -> None:
    bill.with_name("empty.csv").touch()

    assert finops(*arguments).code == 2


def test_rows_are_counted_in_every_kind_of_file(tmp_path: Path, bill: Path) -> None:
    packed, table = tmp_path / "bill.csv.gz", tmp_path / "bill.parquet"
    packed.write_bytes(gzip.compress(bill.read_bytes()))
    parquet.write_table(pa.table({"cost": [1, 2, 3]}), table)
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(packed.read_bytes()[:-10])

    assert [count_rows(path) for path in (bill, packed, table, cut)] == [10, 10, 3, None]
