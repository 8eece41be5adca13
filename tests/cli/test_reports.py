"""`finops reports` creates, lists, shows and fetches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from finops.reporting.v1 import report_messages_pb2 as messages
from finops.reporting.v1 import report_model_pb2 as model
from finops.reporting.v1 import schedule_service_pb2
from google.api.httpbody_pb2 import HttpBody

from cli.stack.state import read_state
from tests.cli.conftest import REPORTING, SCHEDULES, Result, Suite

Finops = Callable[..., Result]


@pytest.fixture
def ask(finops: Finops, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command against the suite."""
    port = read_state(data_dir).processes["usage"].port
    monkeypatch.setenv("FINOPS_TOKEN", "token")
    where = ("--url", f"grpc://127.0.0.1:{port}", "--tenant", "acme")
    return lambda *arguments: finops("reports", *arguments, *where)


def report(*, has_ended: bool = True, **fields: object) -> model.Report:
    made = model.Report(
        report_id="r1", kind=model.REPORT_KIND_UNIT_ECONOMICS, title="Unit economics May 2026"
    )
    made.MergeFrom(model.Report(**fields))  # type: ignore[arg-type]
    if has_ended:
        made.end_time.FromSeconds(1_800_000_000)
    return made


def test_a_report_is_waited_for(suite: Suite, ask: Callable[..., Result]) -> None:
    suite.answers[f"{REPORTING}/CreateReport"] = messages.CreateReportResponse(
        report=report(has_ended=False, state=model.JOB_STATE_PENDING)
    )
    suite.answers[f"{REPORTING}/GetReport"] = messages.GetReportResponse(
        report=report(state=model.JOB_STATE_SUCCEEDED)
    )

    result = ask("create", "unit-economics", "--as", "pdf", "-g", "department", "--locale", "de")

    assert result.code == 0, result.err
    assert "succeeded" in result.out
    request = suite.requests[0]
    assert isinstance(request, messages.CreateReportRequest)
    assert request.report.kind == model.REPORT_KIND_UNIT_ECONOMICS
    assert list(request.report.formats) == [model.REPORT_FORMAT_PDF]
    assert list(request.report.group_by) == ["department"]
    assert request.report.locale == "de"


def test_a_report_that_failed_ends_with_its_reason(
    suite: Suite, ask: Callable[..., Result]
) -> None:
    suite.answers[f"{REPORTING}/CreateReport"] = messages.CreateReportResponse(
        report=report(state=model.JOB_STATE_FAILED, error="There is no rate for CREDITS.")
    )

    result = ask("create", "chargeback")

    assert result.code != 0
    assert "There is no rate for CREDITS." in result.err


def test_figures_are_shown_with_their_queries(suite: Suite, ask: Callable[..., Result]) -> None:
    query = "/api/v1/finops/cost-attribution?start=2026-05-01"
    figure = model.ReportFigure(section="summary", label="Cost", value="1.5", unit="USD")
    figure.query = query
    suite.answers[f"{REPORTING}/GetReport"] = messages.GetReportResponse(
        report=report(figures=[figure])
    )

    table = ask("show", "r1", "--format", "csv")
    whole = ask("show", "r1", "--format", "json")

    assert f"summary,Cost,1.5,USD,{query}" in table.out
    assert query in json.dumps(json.loads(whole.out))


def test_reports_and_schedules_are_listed(suite: Suite, ask: Callable[..., Result]) -> None:
    suite.answers[f"{REPORTING}/ListReports"] = messages.ListReportsResponse(reports=[report()])
    schedule = model.ReportSchedule(
        schedule_id="s1", display_name="Monthly", schedule="0 7 1 * *", time_zone="UTC"
    )
    suite.answers[f"{SCHEDULES}/ListReportSchedules"] = (
        schedule_service_pb2.ListReportSchedulesResponse(schedules=[schedule])
    )

    listed = ask("list", "--format", "csv")
    planned = ask("schedules", "--format", "csv")

    assert "r1,unit_economics," in listed.out
    assert "s1," in planned.out
    assert ",0 7 1 * *,UTC,never,0,Monthly" in planned.out


def test_a_report_is_fetched_into_a_file(
    suite: Suite, ask: Callable[..., Result], tmp_path: Path
) -> None:
    suite.answers[f"{REPORTING}/GetReportContent"] = HttpBody(
        content_type="text/html; charset=utf-8", data=b"<p>"
    )

    result = ask("download", "r1", "--as", "html")

    assert result.code == 0, result.err
    assert (tmp_path / "r1.html").read_bytes() == b"<p>"
    request = suite.requests[-1]
    assert isinstance(request, messages.GetReportContentRequest)
    assert request.format == "html"
