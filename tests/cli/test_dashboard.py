"""`finops dashboard` shows one answer in three forms."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from finops.common.v1.money_pb2 import Money
from finops.reporting.v1 import dashboard_model_pb2 as model
from finops.reporting.v1 import reporting_messages_pb2 as messages

from cli.stack.state import read_state
from tests.cli.conftest import REPORTING, Result, Suite

Finops = Callable[..., Result]


def dollars(amount: str) -> Money:
    return Money(currency_code="USD", amount=amount)


@pytest.fixture
def ask(
    finops: Finops, suite: Suite, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs the command against a suite that has a dashboard."""
    dashboard = model.Dashboard(
        summary=model.ExecutiveSummary(
            cost=dollars("120.000000000000000001"),
            change=dollars("20"),
            change_ratio="0.2",
            highlights=["Cost rose."],
        ),
        budgets=[
            model.DashboardBudget(
                display_name="Research",
                limit=dollars("100"),
                spent=dollars("90"),
                utilization_ratio="0.9",
            )
        ],
        alerts=[model.DashboardAlert(severity="warning", message="Research is at 90 %.")],
        drivers=[
            model.CostDriver(
                dimension="project", value="chat", cost=dollars("70.5"), share_ratio="0.5875"
            )
        ],
        missing_parts=["recommendations"],
    )
    suite.answers[f"{REPORTING}/GetDashboard"] = messages.GetDashboardResponse(dashboard=dashboard)
    port = read_state(data_dir).processes["usage"].port
    monkeypatch.setenv("FINOPS_TOKEN", "token")
    where = ("--url", f"grpc://127.0.0.1:{port}", "--tenant", "acme")
    return lambda *arguments: finops("dashboard", *arguments, *where)


def test_the_table_shows_what_matters_and_what_is_missing(ask: Callable[..., Result]) -> None:
    result = ask()

    assert result.code == 0
    assert "120.00 USD" in result.out
    assert "20.00 USD 20.0 %" in result.out
    assert "* Cost rose." in result.out
    assert "Research is at 90 %." in result.out
    assert "58.8 %" in result.out
    assert "recommendations" in result.out


def test_csv_has_the_drivers_with_every_digit(ask: Callable[..., Result]) -> None:
    result = ask("--format", "csv")

    assert list(csv.reader(io.StringIO(result.out))) == [
        ["dimension", "value", "cost", "change", "change_ratio", "share"],
        ["project", "chat", "70.5", "", "", "0.5875"],
    ]


def test_json_is_the_whole_answer_to_what_was_asked(
    ask: Callable[..., Result], suite: Suite
) -> None:
    result = ask("--format", "json", "--start", "2026-06-01", "--top", "3", "--refresh")

    assert json.loads(result.out)["summary"]["cost"]["amount"] == "120.000000000000000001"
    assert suite.requests == [
        messages.GetDashboardRequest(
            tenant_id="acme", start="2026-06-01", top_count=3, refresh=True
        )
    ]
