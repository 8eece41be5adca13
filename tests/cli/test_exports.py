"""`finops export`: a file from the suite, and a FOCUS file under the rules."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from finops.common.v1.progress_pb2 import Progress
from finops.reporting.v1 import report_model_pb2, schedule_service_pb2
from google.api.httpbody_pb2 import HttpBody

from tests.cli.conftest import EXPORTS, Result, Suite
from tests.reporting.test_focus_rules import SOUND
from tests.support.shared import shared_path

Finops = Callable[..., Result]


def job(**fields: Any) -> report_model_pb2.ExportJob:
    return report_model_pb2.ExportJob(export_id="e1", **fields)


@pytest.fixture
def rules() -> str:
    """The published rules."""
    return str(shared_path("focus", "reference", "focus_1_2_validation_rules.json.gz"))


def written(path: Path, *rows: dict[str, Any]) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_export_is_followed_and_written_to_a_file(
    finops: Finops, suite: Suite, data_dir: Path
) -> None:
    path = "/api/v1/finops/files/e1/usage.json?expires=1900000000&signature=mac.acme"
    done = job(
        state=report_model_pb2.JOB_STATE_SUCCEEDED, row_count=1, byte_count=5, download_path=path
    )
    states = iter([job(progress=Progress(done_units=1)), done])
    suite.answers[f"{EXPORTS}/CreateExport"] = schedule_service_pb2.CreateExportResponse(
        export=job(state=report_model_pb2.JOB_STATE_PENDING)
    )
    suite.answers[f"{EXPORTS}/GetExport"] = lambda _: schedule_service_pb2.GetExportResponse(
        export=next(states)
    )
    suite.answers[f"{EXPORTS}/DownloadExport"] = HttpBody(data=b"a\n1\n\n")

    result = finops(
        *("export", "write", "usage", "--as", "json", "-o", "u.json", "--start", "2026-06-01"),
        *("--tenant", "acme", "--format", "json"),
    )

    assert result.code == 0, result.err
    assert (data_dir / "u.json").read_bytes() == b"a\n1\n\n"
    assert json.loads(result.out)["rows"] == 1
    created, *_, fetched = suite.requests
    assert isinstance(created, schedule_service_pb2.CreateExportRequest)
    assert (created.export.dataset, created.export.format) == ("usage", "json")
    assert isinstance(fetched, schedule_service_pb2.DownloadExportRequest)
    assert fetched.export_id == "e1"
    assert (fetched.expires, fetched.signature) == (1_900_000_000, "mac.acme")


def test_export_that_fails_says_why(finops: Finops, suite: Suite) -> None:
    suite.answers[f"{EXPORTS}/CreateExport"] = schedule_service_pb2.CreateExportResponse(
        export=job(state=report_model_pb2.JOB_STATE_FAILED, error="PDF holds 5,000 rows")
    )

    result = finops("export", "write", "--tenant", "acme")

    assert result.code == 1
    assert "PDF holds 5,000 rows" in result.err


def test_sound_file_keeps_every_rule(finops: Finops, tmp_path: Path, rules: str) -> None:
    result = finops("export", "check", written(tmp_path / "f.csv", SOUND), "--rules", rules)

    assert result.code == 0, result.out
    assert "621 rules" in result.err
    assert "0 failed" in result.err


def test_breach_is_told_with_its_rule_and_row(finops: Finops, tmp_path: Path, rules: str) -> None:
    path = written(tmp_path / "f.csv", SOUND, SOUND | {"BilledCost": ""})

    result = finops("export", "check", path, "--rules", rules, "--format", "json")

    assert result.code == 5
    found = {row["rule"]: row for row in json.loads(result.out)}
    assert found["BilledCost-C-003-M"] == {
        "rule": "BilledCost-C-003-M",
        "demand": "must",
        "rows": 1,
        "first": "2",
        "text": "BilledCost MUST NOT be null.",
    }


def test_parquet_is_checked_with_its_types(finops: Finops, tmp_path: Path, rules: str) -> None:
    row = SOUND | {"ProviderName": 7}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "f.parquet")

    result = finops(
        *("export", "check", str(tmp_path / "f.parquet"), "--rules", rules, "--format", "csv")
    )

    assert result.code == 5
    assert "ProviderName-C-001-M" in result.out


@pytest.mark.parametrize("content", ["{}", "no JSON"])
def test_file_that_holds_no_rules_is_refused(finops: Finops, tmp_path: Path, content: str) -> None:
    model = tmp_path / "rules.json"
    model.write_text(content)

    result = finops(*("export", "check", written(tmp_path / "f.csv", SOUND), "--rules", str(model)))

    assert result.code == 2
    assert "no rule model" in " ".join(result.err.split())
