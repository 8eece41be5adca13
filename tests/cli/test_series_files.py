"""`finops forecast` and `finops anomalies` on files of anybody."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from cli.main import run as run_command


def file_of(folder: Path, *, days: int = 120) -> Path:
    path = folder / "series.csv"
    lines = ["team,day,cost"]
    for team, base in (("a", 100), ("b", 50)):
        lines += [
            f"{team},{date(2026, 1, 1) + timedelta(days=day)},{base + (day % 7) * 5 + day % 3}"
            for day in range(days)
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def forecast_arguments(path: Path) -> list[str]:
    return [
        *("forecast", "--csv", str(path), "--time", "day", "--value", "cost"),
        *("--group", "team", "--horizon", "10", "--season", "7"),
    ]


def test_a_forecast_has_a_row_a_step_with_ordered_bounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, *forecast_arguments(file_of(tmp_path)), "--format", "csv")

    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert list(rows[0]) == ["group", "time", "mean", "lo80", "hi80", "lo95", "hi95"]
    assert len(rows) == 20
    assert rows[0]["time"] == "2026-05-01"
    for row in rows:
        low95, low80, mean, high80, high95 = (
            float(row[name]) for name in ("lo95", "lo80", "mean", "hi80", "hi95")
        )
        assert 0 <= low95 <= low80 <= mean <= high80 <= high95


def test_a_forecast_as_json_names_model_error_and_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, *forecast_arguments(file_of(tmp_path)), "--format", "json")

    series = json.loads(out)
    assert code == 0
    assert [each["group"] for each in series] == ["a", "b"]
    assert series[0]["historyPoints"] == 120
    assert series[0]["backtestError"]["mase"] < 1
    assert series[0]["model"]


def test_anomalies_have_one_row_an_input_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file_of(tmp_path)
    code, out, _ = run(
        capsys,
        *("anomalies", "--csv", str(path), "--time", "day", "--value", "cost"),
        *("--group", "team", "--format", "csv"),
    )

    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert len(rows) == 240
    assert all(0 <= float(row["score"]) <= 1 for row in rows)
    assert {row["is_anomaly"] for row in rows} <= {"true", "false"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("when,cost\n2026-01-01,1\n", "no column day"),
        ("day,cost\n2026-01-01,much\n", "line 2"),
        ("day,cost\n", "holds no row"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")

    code, _, err = run(
        capsys,
        *("forecast", "--csv", str(path), "--time", "day", "--value", "cost", "--horizon", "3"),
    )

    assert code == 2
    assert told in err
