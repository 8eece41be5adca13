"""The outermost layer: a request id, a span and metrics for each request, and no stray error."""

from __future__ import annotations

import time
from typing import Any, Final

import grpc.aio
import structlog
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.calls import ROUTE_KEY
from gateway.errors import failure_of, is_fault
from gateway.headers import REQUEST_ID, request_id_of
from gateway.security import check_request
from gateway.settings import GatewaySettings
from services.kernel.errors import Error

SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_OTHER_ROUTE: Final = "other"  # bounds the label: what callers make up is no label of its own
_VERBS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("finops.gateway")


class Meters:
    """What the gateway counts of its own requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers the meters."""
        self.requests = Counter(
            "finops_gateway_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "finops_gateway_request_seconds",
            "Time from the request's head to the answer's last byte.",
            ("route", "method"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.open = Gauge(
            "finops_gateway_open_requests", "Requests that are being answered.", registry=registry
        )


class Edge:
    """ASGI middleware that every request passes first."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        """Takes the application inside."""
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, whatever happens inside."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = request_id_of(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        verb = scope["method"] if scope["method"] in _VERBS else _OTHER_ROUTE
        context = propagate.extract(headers)
        began = time.perf_counter()
        with (
            self._meters.open.track_inprogress(),
            _tracer.start_as_current_span(verb, context=context, kind=SpanKind.SERVER) as span,
        ):
            answer = _Answer(send, request_id, scope)
            try:
                await self._app(scope, receive, answer)
            finally:
                route = scope.get(ROUTE_KEY, _OTHER_ROUTE)
                _describe(span, scope, route, verb, answer.status)
                self._meters.requests.labels(route, verb, str(answer.status)).inc()
                self._meters.seconds.labels(route, verb).observe(time.perf_counter() - began)


class ErrorBoundary:
    """ASGI middleware: turns every error from inside into an answer, and logs the suite's own."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        """Takes the application inside, and the bounds of a request's head."""
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. An error after the answer began cuts the connection."""
        has_started = False

        async def noted(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            check_request(scope, self._settings)
            await self._app(scope, receive, noted)
        except Exception as error:
            failure = failure_of(error)
            if is_fault(failure.http_status):
                _log_fault(error, scope)
            if has_started:
                raise
            await failure.response()(scope, receive, send)


def _log_fault(error: Exception, scope: Scope) -> None:
    """Logs a fault; one that a service reported was logged there with its trace."""
    bound = log.bind(
        request_id=scope["state"]["request_id"], route=scope.get(ROUTE_KEY, _OTHER_ROUTE)
    )
    if isinstance(error, grpc.aio.AioRpcError):
        bound.warning("call failed", code=error.code().name)
    elif isinstance(error, Error):
        bound.warning("call failed", code=error.code.name, reason=error.reason)
    else:
        bound.error("request failed", exc_info=error)


class _Answer:
    """The `send` of a request: notes the status and adds what every answer bears."""

    def __init__(self, send: Send, request_id: str, scope: Scope) -> None:
        self._send = send
        self._request_id = request_id
        self._scope = scope
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._dress(MutableHeaders(raw=message["headers"]))
        await self._send(message)

    def _dress(self, headers: MutableHeaders) -> None:
        headers[REQUEST_ID] = self._request_id
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        if "traceparent" in carrier:
            headers["traceparent"] = carrier["traceparent"]
        allowance = self._scope["state"].get("allowance")
        if allowance is not None:
            for name, value in allowance.headers.items():
                headers.setdefault(name, value)


def _describe(span: Span, scope: Scope, route: str, verb: str, status: int) -> None:
    if not span.is_recording():
        return
    attributes: dict[str, Any] = {
        "http.request.method": verb,
        "http.route": route,
        "http.response.status_code": status,
        "url.scheme": scope.get("scheme", "http"),
    }
    span.update_name(f"{verb} {route}")
    span.set_attributes(attributes)
    if not status or is_fault(status):
        span.set_status(StatusCode.ERROR)
