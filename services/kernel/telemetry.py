"""Traces and metrics of a process, and the thread of a trace through calls and feeds.

Without an OTLP endpoint nothing is recorded or sent, but trace ids are made and passed on all the
same, so that logs and callers can name the call they speak of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http.server import HTTPServer
from threading import Thread
from typing import Any, Final

import structlog
from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from services.kernel.logs import configure_logs
from services.kernel.settings import ServiceSettings

TRACEPARENT: Final = "traceparent"
# From a cached answer to the longest query, in seconds.
LATENCY_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip

log = structlog.get_logger(__name__)
_propagator: Final = TraceContextTextMapPropagator()
_meter: Final = metrics.get_meter("finops.rpc")


class CallMetrics:
    """Rate, errors and duration of calls by method and status code, and how many are in flight.

    One histogram serves three: its count is the rate, its `code` tells the errors.
    """

    def __init__(self, side: str) -> None:
        """side: `server` or `client`."""
        self._seconds = _meter.create_histogram(
            f"finops_rpc_{side}_seconds",
            unit="s",
            description=f"Duration of {side} calls by method and status code.",
            explicit_bucket_boundaries_advisory=LATENCY_BUCKETS,
        )
        self._in_flight: dict[str, int] = {}
        self._labels: dict[tuple[str, str], dict[str, str]] = {}
        _meter.create_observable_gauge(
            f"finops_rpc_{side}_in_flight",
            callbacks=[self._observe],
            description=f"{side.capitalize()} calls that have begun and not ended.",
        )

    def begin(self, method: str) -> None:
        """Counts a call that has begun."""
        self._in_flight[method] = self._in_flight.get(method, 0) + 1

    def end(self, method: str, code: str, seconds: float) -> None:
        """Counts a call that has ended. method: one of the contracts', which bounds the labels."""
        self._in_flight[method] -= 1
        key = (method, code)
        labels = self._labels.get(key)
        if labels is None:
            labels = self._labels[key] = {"method": method, "code": code}
        self._seconds.record(seconds, labels)

    def _observe(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(count, {"method": name}) for name, count in [*self._in_flight.items()]]


SERVER_CALLS: Final = CallMetrics("server")
CLIENT_CALLS: Final = CallMetrics("client")


class Telemetry:
    """What `configure` has started; `close` sends what is left and stops it."""

    def __init__(
        self,
        tracers: TracerProvider,
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
    exporter = OTLPSpanExporter(endpoint=endpoint) if endpoint is not None else None
    tracers = tracer_provider(service, exporter, ratio=settings.trace_ratio)
    readers: list[MetricReader] = []
    if endpoint is not None:
        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=endpoint)))
    listening = None
    if settings.metrics_listen is not None:
        registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        readers.append(PrometheusMetricReader(registry=registry, scope_info_enabled=False))
        host, _, port = settings.metrics_listen.rpartition(":")
        listening = start_http_server(int(port), host.strip("[]") or "127.0.0.1", registry)
    resource = Resource.create({"service.name": f"finops-{service}"})
    meters = MeterProvider(metric_readers=readers, resource=resource)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    set_global_textmap(_propagator)
    if endpoint is not None:
        # Every statement passes asyncpg, SQLAlchemy's too; parameters are never recorded.
        AsyncPGInstrumentor().instrument()  # type: ignore[no-untyped-call]
        RedisInstrumentor().instrument()
    return Telemetry(tracers, meters, listening)


def tracer_provider(
    service: str, exporter: SpanExporter | None, *, ratio: float = 1.0
) -> TracerProvider:
    """Returns what makes spans. exporter: None records none. ratio: of new traces to record."""
    root = TraceIdRatioBased(ratio) if exporter is not None else ALWAYS_OFF
    # A caller's decision to record is passed on, even where nothing is sent from here.
    sampler = ParentBased(root)
    resource = Resource.create({"service.name": f"finops-{service}"})
    provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def enter_span(span: Span) -> None:
    """Makes the span the current one of this task, which ends with its call."""
    context.attach(trace.set_span_in_context(span))


def remote_context(metadata: Mapping[str, Any]) -> Context | None:
    """Returns the trace that a caller's metadata continues, None when it begins a new one."""
    return _propagator.extract(metadata) if TRACEPARENT in metadata else None


def current_trace_id() -> str:
    """Returns the id of the current trace as 32 hexadecimal digits, empty outside of one."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else ""


def current_traceparent() -> str:
    """Returns the current span as a W3C traceparent, empty outside of one."""
    span = trace.get_current_span().get_span_context()
    return traceparent_of(span) if span.is_valid else ""


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
