"""Traces and metrics, through calls and across feeds."""

from __future__ import annotations

import contextvars
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry

from services.kernel import interceptors
from services.kernel.telemetry import (
    CallMetrics,
    current_trace_id,
    current_traceparent,
    enter_call,
    link_to,
    recording_tracer,
)
from tests.support.echo import EchoRequest, EchoServicer, EchoStub, registered
from tests.support.server import bearer, refused, serving, token_of
from tests.support.source_tree import ROOT

ADMIN = bearer(token_of("platform_admin"))
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


class Recorded:
    """A tracer whose spans stay in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("tests")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    spans = Recorded()
    monkeypatch.setattr(interceptors, "recording_tracer", lambda: spans.tracer)
    yield spans
    spans.exporter.clear()


async def test_a_call_goes_on_with_its_callers_trace(recorded: Recorded) -> None:
    metadata = [*ADMIN, ("traceparent", TRACEPARENT)]
    async with serving(registered(EchoServicer())) as server:
        answer = await EchoStub(server.plain).Echo(EchoRequest(text="x"), metadata=metadata)

    [span] = recorded.spans
    assert span.name == "finops.test.v1.EchoService/Echo"
    assert span.kind is SpanKind.SERVER
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE_ID, SPAN_ID)
    assert answer.trace_id == TRACE_ID
    assert dict(span.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": "finops.test.v1.EchoService",
        "rpc.method": "Echo",
        "rpc.grpc.status": "OK",
    }


@pytest.mark.parametrize(
    ("error", "is_fault"), [(LookupError("secret"), True), (None, False)], ids=["fault", "refusal"]
)
async def test_a_span_is_an_error_where_the_server_is_at_fault(
    recorded: Recorded,
    error: Exception | None,
    is_fault: bool,  # noqa: FBT001 - a column of the table
) -> None:
    async def before(_: object) -> None:
        if error is not None:
            raise error

    request = EchoRequest(text="x") if error is not None else EchoRequest()
    async with serving(registered(EchoServicer(before=before))) as server:
        await refused(EchoStub(server.plain).Echo(request, metadata=ADMIN))

    [span] = recorded.spans
    assert (span.status.status_code is StatusCode.ERROR) is is_fault
    assert [event.name for event in span.events] == (["exception"] if is_fault else [])


async def test_without_an_exporter_the_trace_is_passed_on_all_the_same() -> None:
    metadata = [*ADMIN, ("traceparent", TRACEPARENT)]
    async with serving(registered(EchoServicer())) as server:
        stub = EchoStub(server.plain)
        given = await stub.Echo(EchoRequest(text="x"), metadata=metadata)
        first = await stub.Echo(EchoRequest(text="x"), metadata=ADMIN)
        second = await stub.Echo(EchoRequest(text="x"), metadata=ADMIN)

    assert given.trace_id == TRACE_ID
    assert len({first.trace_id, second.trace_id, TRACE_ID, ""}) == 4


@pytest.mark.parametrize("traceparent", ["", "nonsense", f"00-{'0' * 32}-{SPAN_ID}-01", "00-1-2-3"])
async def test_a_broken_traceparent_begins_a_new_trace(traceparent: str) -> None:
    metadata = [*ADMIN, ("traceparent", traceparent)]
    async with serving(registered(EchoServicer())) as server:
        answer = await EchoStub(server.plain).Echo(EchoRequest(text="x"), metadata=metadata)

    assert len(answer.trace_id) == 32
    assert answer.trace_id != TRACE_ID


async def test_a_trace_goes_through_two_services() -> None:
    async with (
        serving(registered(EchoServicer())) as second,
        second.channel("platform_admin") as peer,
    ):

        async def before(_: object) -> None:
            answers.append(await EchoStub(peer).Echo(EchoRequest(text="inner")))

        answers: list[EchoRequest] = []
        async with serving(registered(EchoServicer(before=before))) as first:
            metadata = [*ADMIN, ("traceparent", TRACEPARENT)]
            outer = await EchoStub(first.plain).Echo(EchoRequest(text="x"), metadata=metadata)

    assert outer.trace_id == answers[0].trace_id == TRACE_ID


def test_outside_of_a_span_there_is_no_trace() -> None:
    assert (current_trace_id(), current_traceparent()) == ("", None)


def test_a_feed_hop_is_a_link() -> None:
    tracer = Recorded().tracer
    with tracer.start_as_current_span("append") as origin:
        stored = current_traceparent()
    [link] = link_to(stored)

    assert link.context.trace_id == origin.get_span_context().trace_id
    assert link.context.span_id == origin.get_span_context().span_id


@pytest.mark.parametrize("traceparent", [None, "", "nonsense", f"00-{'0' * 32}-{'0' * 16}-00"])
def test_no_trace_is_no_link(traceparent: str | None) -> None:
    assert link_to(traceparent) == []


def test_a_span_that_is_not_recorded_keeps_the_callers_decision() -> None:
    def serve() -> tuple[bool, str | None]:
        span = enter_call(None, "call", {"traceparent": TRACEPARENT}, {})
        return span.is_recording(), current_traceparent()

    assert contextvars.Context().run(serve) == (False, TRACEPARENT)


def test_nothing_records_until_it_is_configured() -> None:
    assert recording_tracer() is None


def test_calls_are_counted_by_method_and_code() -> None:
    calls, registry = CallMetrics("proof"), CollectorRegistry()
    registry.register(calls.seconds)
    registry.register(calls.in_flight)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"finops_rpc_proof_{name}", labels)

    for code, seconds in (("OK", 0.02), ("OK", 0.3), ("NOT_FOUND", 0.001)):
        calls.begin("/a/b")
        calls.end("/a/b", code, seconds)
    calls.begin("/a/b")

    assert value("seconds_count", method="/a/b", code="OK") == 2
    assert value("seconds_sum", method="/a/b", code="OK") == pytest.approx(0.32)
    assert value("seconds_count", method="/a/b", code="NOT_FOUND") == 1
    assert value("seconds_bucket", method="/a/b", code="OK", le="0.025") == 1
    assert value("in_flight", method="/a/b") == 1


def test_a_configured_process_sends_spans_and_metrics_over_otlp() -> None:
    script = """
        import asyncio
        from concurrent import futures
        import grpc
        from opentelemetry.proto.collector.metrics.v1 import (
            metrics_service_pb2 as metrics_pb2, metrics_service_pb2_grpc as metrics_grpc)
        from opentelemetry.proto.collector.trace.v1 import (
            trace_service_pb2 as trace_pb2, trace_service_pb2_grpc as trace_grpc)
        from services.kernel import telemetry
        from tests.support.server import settings_of

        spans, names = [], set()

        class Spans(trace_grpc.TraceServiceServicer):
            def Export(self, request, context):
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        spans.extend(span.name for span in scope.spans)
                return trace_pb2.ExportTraceServiceResponse()

        class Metrics(metrics_grpc.MetricsServiceServicer):
            def Export(self, request, context):
                for resource in request.resource_metrics:
                    for scope in resource.scope_metrics:
                        names.update(metric.name for metric in scope.metrics)
                return metrics_pb2.ExportMetricsServiceResponse()

        collector = grpc.server(futures.ThreadPoolExecutor(2))
        trace_grpc.add_TraceServiceServicer_to_server(Spans(), collector)
        metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), collector)
        port = collector.add_insecure_port("127.0.0.1:0")
        collector.start()
        settings = settings_of(otlp_endpoint=f"http://127.0.0.1:{port}")
        told = telemetry.configure("proof", settings)
        tracer = telemetry.recording_tracer()
        span = telemetry.enter_call(tracer, "a call", {}, {})
        telemetry.SERVER_CALLS.begin("/a/b")
        telemetry.SERVER_CALLS.end("/a/b", "OK", 0.1)
        span.end()
        told.close()
        collector.stop(0).wait()
        print(spans, sorted(name for name in names if "rpc" in name))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("['a call'] ['finops_rpc_server_seconds']"), done.stdout
