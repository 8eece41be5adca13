"""A stack for commands to find: its state file, its secrets, and a server that records calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from finops.audit.v1 import audit_service_pb2
from finops.reporting.v1 import (
    report_messages_pb2,
    reporting_messages_pb2,
    schedule_service_pb2,
)
from finops.usage.v1 import cost_model_pb2, pricing_service_pb2, usage_service_pb2
from google.protobuf.message import Message

from cli.main import run
from cli.stack import process
from cli.stack.keys import load_or_make_keys
from cli.stack.state import ProcessState, StackState

USAGE = "/finops.usage.v1.UsageService"
PRICING = "/finops.usage.v1.PricingService"
AUDIT = "/finops.audit.v1.AuditService"
REPORTING = "/finops.reporting.v1.ReportingService"
EXPORTS = "/finops.reporting.v1.ExportService"
SCHEDULES = "/finops.reporting.v1.ReportScheduleService"
STREAMS = ("/WatchCosts", "/GetReportContent", "/DownloadExport")
# Request class of each method that the tests call.
REQUESTS: dict[str, type[Message]] = {
    f"{USAGE}/QueryCosts": cost_model_pb2.QueryCostsRequest,
    f"{USAGE}/ListUsageEvents": usage_service_pb2.ListUsageEventsRequest,
    f"{USAGE}/ImportUsage": usage_service_pb2.ImportUsageRequest,
    f"{USAGE}/GetImport": usage_service_pb2.GetImportRequest,
    f"{USAGE}/ListImportRejects": usage_service_pb2.ListImportRejectsRequest,
    f"{USAGE}/WatchCosts": cost_model_pb2.WatchCostsRequest,
    f"{USAGE}/ReconcileUsage": cost_model_pb2.ReconcileUsageRequest,
    f"{PRICING}/ListPrices": pricing_service_pb2.ListPricesRequest,
    f"{PRICING}/ImportPrices": pricing_service_pb2.ImportPricesRequest,
    f"{AUDIT}/VerifyAuditChain": audit_service_pb2.VerifyAuditChainRequest,
    f"{REPORTING}/GetDashboard": reporting_messages_pb2.GetDashboardRequest,
    f"{EXPORTS}/CreateExport": schedule_service_pb2.CreateExportRequest,
    f"{EXPORTS}/GetExport": schedule_service_pb2.GetExportRequest,
    f"{EXPORTS}/DownloadExport": schedule_service_pb2.DownloadExportRequest,
    f"{REPORTING}/CreateReport": report_messages_pb2.CreateReportRequest,
    f"{REPORTING}/GetReport": report_messages_pb2.GetReportRequest,
    f"{REPORTING}/ListReports": report_messages_pb2.ListReportsRequest,
    f"{REPORTING}/GetReportContent": report_messages_pb2.GetReportContentRequest,
    f"{SCHEDULES}/ListReportSchedules": schedule_service_pb2.ListReportSchedulesRequest,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error to answer with."""

    code: grpc.StatusCode
    text: str


Answer = Message | Refusal | Callable[[Any], "Message | Refusal"]


@dataclass
class Suite(grpc.GenericRpcHandler):
    """Answers each method with what the test put there, and keeps every request."""

    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Message] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        path = details.method
        if path not in self.answers:
            return None

        def answer(request: Message, context: grpc.ServicerContext) -> Message:
            self.requests.append(request)
            self.tokens.append(str(dict(details.invocation_metadata).get("authorization")))
            chosen = self.answers[path]
            made = chosen if isinstance(chosen, Message | Refusal) else chosen(request)
            if isinstance(made, Refusal):
                context.abort(made.code, made.text)  # raises
            return made

        def answers(request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
            yield answer(request, context)

        codecs = (REQUESTS[path].FromString, lambda message: message.SerializeToString())
        if path.endswith(STREAMS):
            return grpc.unary_stream_rpc_method_handler(answers, *codecs)
        return grpc.unary_unary_rpc_method_handler(answer, *codecs)

    def claims(self, data_dir: Path) -> dict[str, Any]:
        """Returns what the last token said, its signature checked."""
        secret = load_or_make_keys(data_dir).jwt_secret
        token = self.tokens[-1].removeprefix("Bearer ")
        return jwt.decode(token, secret, algorithms=["HS256"], audience="finops", issuer="finops")


@pytest.fixture
def suite() -> Suite:
    return Suite()


@pytest.fixture
def data_dir(tmp_path: Path, suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yields the data directory of a running stack whose usage service is `suite`."""
    for name in ("FINOPS_URL", "FINOPS_TOKEN", "FINOPS_TENANT", "FINOPS_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FINOPS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((suite,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    own = os.getpid()
    state = StackState(
        phase="ready",
        pid=own,
        mark=process.mark(own),
        started_at="2026-01-01T00:00:00+00:00",
        rest_url="http://127.0.0.1:9",
        processes={"usage": ProcessState(pid=own, mark=process.mark(own), port=port)},
    )
    load_or_make_keys(tmp_path)
    state.write(tmp_path)
    yield tmp_path
    server.stop(None).wait()


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def finops(data_dir: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs a command line in this process."""
    assert data_dir

    def command(*arguments: str) -> Result:
        capfd.readouterr()
        code = run(arguments)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return Result(code, captured.out, captured.err)

    return command
