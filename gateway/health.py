"""Whether the gateway lives, whether it takes traffic, and what it measures."""

from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.errors import OK, UNREADY
from gateway.peers import Peers

PROBE_AGE_SECONDS_MAX = 0.5


class Health:
    """Answers probes; a stop makes it unready before anything else."""

    def __init__(self, peers: Peers, meters: CollectorRegistry) -> None:
        """Takes the peers, and the registry of the gateway's own meters."""
        self._peers = peers
        self._meters = meters
        self._probe: asyncio.Future[None] | None = None
        self.is_draining = False

    async def live(self, _request: Request) -> Response:
        """Answers that the process runs."""
        return JSONResponse({"status": "ok"}, headers={"cache-control": "no-store"})

    async def ready(self, _request: Request) -> Response:
        """Answers whether calls can be taken, with the state of every peer."""
        await self._probed()
        states = self._peers.states
        is_ready = self._peers.is_ready and not self.is_draining
        word = "ready" if is_ready and all(states.values()) else "degraded"
        document = {
            "status": word if is_ready else "unavailable",
            "draining": self.is_draining,
            "peers": {
                name: "serving" if serves else "unavailable" for name, serves in states.items()
            },
        }
        return JSONResponse(document, OK if is_ready else UNREADY, {"cache-control": "no-store"})

    async def metrics(self, _request: Request) -> Response:
        """Answers every meter of the process in Prometheus' text form."""
        text = generate_latest(self._meters)
        if self._meters is not REGISTRY:
            text += generate_latest(REGISTRY)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    async def _probed(self) -> None:
        """Asks the peers now; requests that come at the same time share one probe."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.ensure_future(self._peers.probe())
        await asyncio.shield(self._probe)
