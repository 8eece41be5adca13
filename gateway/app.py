"""The application: constructor calls, read from top to bottom, and the order of its layers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.routing import Router as Lifespan
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.calls import Calls
from gateway.compression import Compression
from gateway.descriptors import Catalog, packaged_image
from gateway.edge import Edge, ErrorBoundary, Meters
from gateway.health import Health
from gateway.limits import RateLimits
from gateway.pages import DASHBOARD, Pages
from gateway.peers import Peers
from gateway.security import SecurityHeaders
from gateway.settings import GatewaySettings
from services.kernel.memory import settle_memory

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REQUEST_HEADERS = (
    "authorization",
    "content-type",
    "grpc-timeout",
    "idempotency-key",
    "if-none-match",
    "last-event-id",
    "traceparent",
    "tracestate",
    "x-request-id",
)
RESPONSE_HEADERS = (
    "etag",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "traceparent",
    "x-request-id",
)
PREFLIGHT_SECONDS = 600


class Gateway:
    """The whole gateway as one ASGI application."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        image: bytes | None = None,
        meters: CollectorRegistry = REGISTRY,
        dashboard: Path = DASHBOARD,
    ) -> None:
        """Reads the contracts. image: their descriptors; by default those of the installation."""
        if image is None:
            image = packaged_image() if settings.image is None else settings.image.read_bytes()
        catalog = Catalog(image)
        self._limits = RateLimits(settings)
        self.peers = Peers(settings, catalog.methods, on_change=self._refresh)
        self._calls = Calls(settings, catalog, self.peers, self._limits)
        self._health = Health(self.peers, meters)
        self._pages = Pages(catalog, self.peers, dashboard)
        self._pages.add("/healthz", self._health.live)
        self._pages.add("/readyz", self._health.ready)
        self._pages.add("/metrics", self._health.metrics)
        self._app = Edge(self._layers(settings), Meters(meters))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection's worth of ASGI."""
        if scope["type"] == "lifespan":
            await Lifespan(lifespan=lambda _: self._life())(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def begin_drain(self) -> None:
        """Turns unready, so that balancers send no new traffic; calls are still answered."""
        self._health.is_draining = True

    def end_streams(self) -> None:
        """Ends open streams; their callers reconnect elsewhere, where they left off."""
        self._calls.streams.close()

    @asynccontextmanager
    async def _life(self) -> AsyncIterator[None]:
        await self.peers.start()
        settle_memory()
        try:
            yield
        finally:
            self.begin_drain()
            self.end_streams()
            await self.peers.stop()
            await self._limits.close()

    def _layers(self, settings: GatewaySettings) -> ASGIApp:
        app: ASGIApp = ErrorBoundary(self._answer, settings)
        app = Compression(app, settings.compress_bytes_min)
        app = SecurityHeaders(app)
        if settings.origins:
            app = CORSMiddleware(
                app,
                allow_origins=settings.origins,
                allow_methods=VERBS,
                allow_headers=REQUEST_HEADERS,
                expose_headers=RESPONSE_HEADERS,
                max_age=PREFLIGHT_SECONDS,
            )
        return app

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._pages.answer(request)
        if response is None:
            response = await self._calls.answer(request, scope["state"]["request_id"])
        await response(scope, receive, send)

    def _refresh(self) -> None:
        self._calls.refresh()
