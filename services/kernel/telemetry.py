"""Traces and metrics of a process, and the thread of a trace through calls and feeds.

Without an OTLP endpoint nothing is recorded or sent, but trace ids are made and passed on all the
same, so that logs and callers can name the call they speak of.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from http.server import HTTPServer
from threading import Thread
from typing import Any, Final

import structlog
from opentelemetry import context, metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from services.kernel.logs import configure_logs
from services.kernel.settings import ServiceSettings

TRACEPARENT: Final = "traceparent"
# From a cached answer to the longest query, in seconds.
LATENCY_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip

log = structlog.get_logger(__name__)
_propagator: Final = TraceContextTextMapPropagator()


class CallMetrics:
    """Rate, errors and duration of calls by method and status code, and how many are in flight.

    One histogram serves three: its count is the rate, its `code` tells the errors. It is
    Prometheus' own, because OpenTelemetry's costs a call ten times as much; that one is fed only
    where metrics are sent over OTLP.
    """

    def __init__(self, side: str) -> None:
        """side: `server` or `client`."""
        self._name = f"finops_rpc_{side}_seconds"
        self.seconds = Histogram(
            self._name,
            f"Duration of {side} calls by method and status code.",
            ["method", "code"],
            buckets=LATENCY_BUCKETS,
            registry=None,
        )
        self.in_flight = Gauge(
            f"finops_rpc_{side}_in_flight",
            f"{side.capitalize()} calls that have begun and not ended.",
            ["method"],
            registry=None,
        )
        self.sent: metrics.Histogram | None = None
        self._begun: dict[str, Gauge] = {}
        self._ended: dict[tuple[str, str], Histogram] = {}

    def send(self) -> None:
        """Feeds OpenTelemetry's histogram too."""
        self.sent = metrics.get_meter("finops.rpc").create_histogram(
            self._name,
            unit="s",
            explicit_bucket_boundaries_advisory=LATENCY_BUCKETS,
        )

    def begin(self, method: str) -> None:
        """Counts a call that has begun. method: of the contracts, which bounds the labels."""
        gauge = self._begun.get(method)
        if gauge is None:
            gauge = self._begun[method] = self.in_flight.labels(method)
        gauge.inc()

    def end(self, method: str, code: str, seconds: float) -> None:
        """Counts a call that has ended."""
        self._begun[method].dec()
        key = (method, code)
        histogram = self._ended.get(key)
        if histogram is None:
            histogram = self._ended[key] = self.seconds.labels(method, code)
        histogram.observe(seconds)
        if self.sent is not None:
            self.sent.record(seconds, {"method": method, "code": code})


SERVER_CALLS: Final = CallMetrics("server")
CLIENT_CALLS: Final = CallMetrics("client")


class Telemetry:
    """What `configure` has started; `close` sends what is left and stops it."""

    def __init__(
        self,
        tracers: TracerProvider | None,
        meters: MeterProvider,
        endpoint: tuple[HTTPServer, Thread] | None,
    ) -> None:
        self._tracers = tracers
        self._meters = meters
        self._endpoint = endpoint

    @property
    def metrics_port(self) -> int | None:
        """The port that serves `/metrics`, None when none does."""
        return self._endpoint[0].server_port if self._endpoint is not None else None

    def close(self) -> None:
        """Sends what is left, within the exporters' own time limits, and frees the port."""
        if self._tracers is not None:
            self._tracers.shutdown()
        self._meters.shutdown()
        if self._endpoint is not None:
            server, thread = self._endpoint
            server.shutdown()
            server.server_close()
            thread.join()


def configure(service: str, settings: ServiceSettings) -> Telemetry:
    """Starts logs, traces and metrics of this process; once a process.

    Metrics are served on `metrics_listen` and sent to `otlp_endpoint`; traces are sent there.
    Raises OSError when the metrics port is taken.
    """
    configure_logs(service, settings.log_level)
    endpoint = settings.otlp_endpoint
    tracers = None
    readers: list[MetricReader] = []
    if endpoint is not None:
        exporter = OTLPSpanExporter(endpoint=endpoint)
        tracers = tracer_provider(service, exporter, ratio=settings.trace_ratio)
        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=endpoint)))
    listening = None
    if settings.metrics_listen is not None:
        registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        for calls in (SERVER_CALLS, CLIENT_CALLS):
            registry.register(calls.seconds)
            registry.register(calls.in_flight)
        readers.append(PrometheusMetricReader(registry=registry, scope_info_enabled=False))
        host, _, port = settings.metrics_listen.rpartition(":")
        listening = start_http_server(int(port), host.strip("[]") or "127.0.0.1", registry)
    resource = Resource.create({"service.name": f"finops-{service}"})
    meters = MeterProvider(metric_readers=readers, resource=resource)
    metrics.set_meter_provider(meters)
    set_global_textmap(_propagator)
    if tracers is not None:
        trace.set_tracer_provider(tracers)
        SERVER_CALLS.send()
        CLIENT_CALLS.send()
        # Every statement passes asyncpg, SQLAlchemy's too; parameters are never recorded.
        AsyncPGInstrumentor().instrument()  # type: ignore[no-untyped-call]
        RedisInstrumentor().instrument()
    return Telemetry(tracers, meters, listening)


def tracer_provider(service: str, exporter: SpanExporter, *, ratio: float = 1.0) -> TracerProvider:
    """Returns what makes and sends spans. ratio: of the traces that begin here."""
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        resource=Resource.create({"service.name": f"finops-{service}"}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def recording_tracer() -> Tracer | None:
    """Returns the tracer of calls, None where `configure` found nowhere to send spans."""
    provider = trace.get_tracer_provider()
    return provider.get_tracer("finops.rpc") if isinstance(provider, TracerProvider) else None


def enter_call(
    tracer: Tracer | None, name: str, metadata: Mapping[str, Any], attributes: Mapping[str, str]
) -> Span:
    """Begins the span of a call that is served and makes it this task's current one.

    metadata: the caller's, whose trace goes on. tracer: None records nothing; the caller's span,
    or ids of a new trace, then stand for the call. The task ends with its call, and so does this.
    """
    remote = _propagator.extract(metadata) if TRACEPARENT in metadata else None
    if tracer is not None:
        kind = SpanKind.SERVER
        span = tracer.start_span(name, context=remote, kind=kind, attributes=attributes)
    else:
        span = trace.get_current_span(remote) if remote is not None else trace.INVALID_SPAN
        if not span.get_span_context().is_valid:
            # Not secret: the ids only have to differ.
            ids = random.getrandbits(128), random.getrandbits(64)
            span = NonRecordingSpan(SpanContext(*ids, is_remote=False))
    context.attach(trace.set_span_in_context(span))
    return span


def current_trace_id() -> str:
    """Returns the id of the current trace as 32 hexadecimal digits, empty outside of one."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else ""


def current_traceparent() -> str | None:
    """Returns the current span as a W3C traceparent, None outside of one; for such a column."""
    span = trace.get_current_span().get_span_context()
    return traceparent_of(span) if span.is_valid else None


def traceparent_of(span: SpanContext) -> str:
    """Returns a span as a W3C traceparent."""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def link_to(traceparent: str | None) -> list[Link]:
    """Returns the links of a span that goes on with what another trace began, over a feed or a job.

    traceparent: as `current_traceparent` gave it there; none and a broken one give no link.
    """
    if not traceparent:
        return []
    extracted = _propagator.extract({TRACEPARENT: traceparent})
    span = trace.get_current_span(extracted).get_span_context()
    return [Link(span)] if span.is_valid else []
