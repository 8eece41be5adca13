"""A collector of traces, as an operator runs one: OTLP over gRPC, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True, slots=True)
class CollectedSpan:
    """A span as it arrived. Ids are hexadecimal; links: the trace ids it links to."""

    service: str
    name: str
    trace_id: str
    links: frozenset[str]
    attributes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Collector:
    """What has arrived so far, and where it listens."""

    address: str
    spans: list[CollectedSpan] = field(default_factory=list)

    def of_trace(self, trace_id: str) -> list[CollectedSpan]:
        """Returns the spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, spans: list[CollectedSpan]) -> None:
        self._spans = spans

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - the contract's name
        for resource in request.resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            self._spans += [
                CollectedSpan(
                    service=named["service.name"],
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    links=frozenset(link.trace_id.hex() for link in span.links),
                    attributes=frozenset(each.key for each in span.attributes),
                )
                for scope in resource.scope_spans
                for span in scope.spans
            ]
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def Export(self, *_: Any) -> Any:  # noqa: N802 - the contract's name
        return metrics_service_pb2.ExportMetricsServiceResponse()


@contextmanager
def running_collector() -> Iterator[Collector]:
    """Listens on a free port until the block ends."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    port = server.add_insecure_port("127.0.0.1:0")
    collector = Collector(f"http://127.0.0.1:{port}")
    add_traces: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add_metrics: Any = metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server
    add_traces(_Traces(collector.spans), server)
    add_metrics(_Metrics(), server)
    server.start()
    try:
        yield collector
    finally:
        server.stop(grace=1).wait()
