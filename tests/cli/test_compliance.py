"""`finops compliance` shows evidence, checks it, and asks before it erases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from finops.records.v1.records_model_pb2 import CollectionCount
from finops.reporting.v1 import compliance_messages_pb2 as messages
from finops.reporting.v1 import compliance_model_pb2 as model
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cli.compliance import evidence_hash
from cli.stack.state import read_state
from services.reporting.convert import compliance as convert
from tests.cli import conftest
from tests.cli.conftest import Result, Suite

COMPLIANCE = "/finops.reporting.v1.ComplianceService"
REQUESTS: dict[str, type[Message]] = {
    f"{COMPLIANCE}/GetComplianceReport": messages.GetComplianceReportRequest,
    f"{COMPLIANCE}/EraseSubject": messages.EraseSubjectRequest,
    f"{COMPLIANCE}/GetSubjectCase": messages.GetSubjectCaseRequest,
    f"{COMPLIANCE}/ListAuditEntries": messages.ListAuditEntriesRequest,
}
Finops = Callable[..., Result]


@pytest.fixture
def ask(
    finops: Finops, suite: Suite, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs a command against a suite that has a report and a case."""
    for method, request in REQUESTS.items():
        monkeypatch.setitem(conftest.REQUESTS, method, request)
    report = model.ComplianceReport(
        kind="sox",
        changes=[
            model.ChangeSummary(
                service="budget", resource_kind="budget", actor="ada", change_count=2
            )
        ],
        exceptions=[model.DutyException(rule="the rule", actor="ada", description="Ada did both.")],
        chains=[model.AuditChainResult(service="budget", is_reachable=True, is_intact=True)],
    )
    report.evidence_hash = convert.evidence_hash(report)
    case = model.SubjectCase(
        subject_case_id="case-1",
        state=model.SUBJECT_CASE_STATE_SUCCEEDED,
        counts=[CollectionCount(collection="usage.event", record_count=3)],
        end_time=Timestamp(seconds=1),
    )
    suite.answers[f"{COMPLIANCE}/GetComplianceReport"] = messages.GetComplianceReportResponse(
        report=report
    )
    suite.answers[f"{COMPLIANCE}/EraseSubject"] = messages.EraseSubjectResponse(subject_case=case)
    suite.answers[f"{COMPLIANCE}/ListAuditEntries"] = messages.ListAuditEntriesResponse(
        entries=[model.ServiceAuditEntry(service="budget")]
    )
    port = read_state(data_dir).processes["usage"].port
    monkeypatch.setenv("FINOPS_TOKEN", "token")
    where = ("--url", f"grpc://127.0.0.1:{port}", "--tenant", "acme")
    return lambda *arguments: finops(*arguments, *where)


def test_a_report_shows_changes_and_exceptions(ask: Callable[..., Result]) -> None:
    shown = ask("compliance", "report", "--start", "2026-01-01")

    assert shown.code == 0, shown.err
    assert "ada" in shown.out
    assert "the rule: Ada did both." in shown.err


def test_a_report_that_was_kept_can_be_checked(
    ask: Callable[..., Result], finops: Finops, tmp_path: Path
) -> None:
    kept = tmp_path / "report.json"
    kept.write_text(ask("compliance", "report", "--format", "json").out, encoding="utf-8")
    whole = finops("compliance", "check", str(kept))
    content = json.loads(kept.read_text(encoding="utf-8"))
    content["changes"][0]["actor"] = "grace"
    kept.write_text(json.dumps(content), encoding="utf-8")

    changed = finops("compliance", "check", str(kept))

    assert whole.code == 0, whole.err
    assert changed.code == 1
    assert "was changed" in changed.err


def test_the_command_hashes_as_the_service_does() -> None:
    report = model.ComplianceReport(kind="sox", access=[model.AccessSummary(actor="ada")])

    assert evidence_hash(report) == convert.evidence_hash(report)


def test_without_yes_an_erasure_only_counts(ask: Callable[..., Result], suite: Suite) -> None:
    counted = ask("compliance", "erase", "grace", "--reason", "request 1", "--format", "csv")
    erased = ask("compliance", "erase", "grace", "--reason", "request 1", "--yes")

    assert counted.code == erased.code == 0, counted.err + erased.err
    assert "usage.event,3,0" in counted.out
    assert "Nothing was changed" in counted.err
    requests = [each for each in suite.requests if isinstance(each, messages.EraseSubjectRequest)]
    assert [each.dry_run for each in requests] == [True, False]


def test_audit_search_asks_all_services(ask: Callable[..., Result]) -> None:
    found = ask("audit", "search", "--filter", "actor = ada")

    assert found.code == 0, found.err
    assert "budget" in found.out
