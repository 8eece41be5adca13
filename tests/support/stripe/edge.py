"""The edge before the Stripe peer: checks requests, injects faults, fills gaps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.support.stripe.faults import DONE, KILLS, Fault, Plan
from tests.support.stripe.forms import flattened, parsed
from tests.support.stripe.overlay import PeerOverlay, stripe_error
from tests.support.stripe.recording import Recorded
from tests.support.stripe.schema import StripeSchema, stripe_schema
from tests.support.stripe.wire import Hangup, WireAnswer, WireRequest, serving_wire

SLOW_SECONDS = 3.0  # longer than any client of these tests waits


def no_faults(_: Recorded) -> Fault | None:
    """Lets everything pass."""
    return None


@dataclass
class StripeEdge:
    """What the tests ask and tell the edge. url: the API's base address.

    kill: what a killing fault calls. prunes_keys: forgets idempotency keys, as Stripe does after a
    day.
    """

    upstream: str
    schema: StripeSchema = field(default_factory=stripe_schema)
    plan: Plan = no_faults
    kill: Callable[[], None] = lambda: None
    url: str = ""
    prunes_keys: bool = False
    requests: list[Recorded] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = httpx.AsyncClient(base_url=self.upstream, timeout=30)
        self.overlay = PeerOverlay(self._forward)
        self._cached: dict[str, WireAnswer] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def sent(self, operation_id: str) -> list[Recorded]:
        """Returns the requests of one operation."""
        return [found for found in self.requests if found.operation_id == operation_id]

    async def answer(self, request: WireRequest) -> WireAnswer:
        """Answers one request."""
        recorded = self._record(request)
        parts = urlsplit(request.target)
        problems = self.schema.violations(request.method, parts.path, recorded.parameters)
        if problems:
            self.violations += problems
            return _error(400, "invalid_request_error", problems[0])
        fault = self.plan(recorded)
        key = recorded.idempotency_key
        if fault in KILLS or fault is Fault.LOST_BEFORE:
            if fault is Fault.KILL_AFTER:
                await self._carry_out(recorded, key)
            if fault in KILLS:
                self.kill()
            raise Hangup
        if fault is Fault.RATE_LIMITED:
            return _error(429, "rate_limit_error", "Too many requests", code="rate_limit")
        if key in self._cached:
            return self._cached[key]
        answer = await self._carry_out(recorded, key) if fault is None or fault in DONE else None
        return await self._end(fault, key, answer)

    async def _end(self, fault: Fault | None, key: str, answer: WireAnswer | None) -> WireAnswer:
        if fault is Fault.LOST_AFTER:
            raise Hangup
        if fault is Fault.TIMEOUT:
            await asyncio.sleep(SLOW_SECONDS)
            raise Hangup
        if fault is Fault.HALF_ANSWER:
            assert answer is not None
            return WireAnswer(answer.status, answer.body, cut=len(answer.body) // 2)
        if fault in (Fault.ERROR_BEFORE, Fault.ERROR_AFTER):
            self._cached[key] = _error(500, "api_error", "Something went wrong")
            return self._cached[key]
        if fault is Fault.LOCK_TIMEOUT:
            self._cached[key] = _error(
                429, "invalid_request_error", "This object is in use", code="lock_timeout"
            )
            return self._cached[key]
        assert answer is not None
        return answer

    async def _carry_out(self, recorded: Recorded, key: str) -> WireAnswer:
        """Does what was asked, one request a key at a time, as Stripe's own lock has it."""
        lock = self._locks.setdefault(key or recorded.path, asyncio.Lock())
        async with lock:
            status, body = await self.overlay.answer(
                recorded, "" if self.prunes_keys else recorded.idempotency_key
            )
        return WireAnswer(status, json.dumps(body).encode(), (("request-id", "req_edge"),))

    async def _forward(
        self, method: str, path: str, parameters: dict[str, Any], key: str = ""
    ) -> tuple[int, Any]:
        headers = {"authorization": "Bearer sk_test_edge"}
        if key:
            headers["idempotency-key"] = key
        if method in ("GET", "DELETE"):
            query = flattened(parameters)
            answer = await self.client.request(
                method, f"{path}?{query}" if query else path, headers=headers
            )
        else:
            headers["content-type"] = "application/x-www-form-urlencoded"
            content = flattened(parameters)
            answer = await self.client.request(method, path, content=content, headers=headers)
        return answer.status_code, answer.json()

    def _record(self, request: WireRequest) -> Recorded:
        parts = urlsplit(request.target)
        text = parts.query if request.method in ("GET", "DELETE") else request.body.decode()
        operation = self.schema.operation(request.method, parts.path)
        recorded = Recorded(
            operation_id=operation.operation_id if operation is not None else "",
            method=request.method,
            path=parts.path,
            parameters=parsed(text),
            idempotency_key=request.headers.get("idempotency-key", ""),
            version=request.headers.get("stripe-version", ""),
        )
        self.requests.append(recorded)
        return recorded


def _error(status: int, kind: str, message: str, *, code: str | None = None) -> WireAnswer:
    return WireAnswer(
        status,
        json.dumps(stripe_error(kind, message, code=code)).encode(),
        (("request-id", "req_edge"),),
    )


@asynccontextmanager
async def serving_edge(peer_url: str, world: str) -> AsyncIterator[StripeEdge]:
    """Serves an edge before a new account of the peer's, whose name is `world`."""
    edge = StripeEdge(f"{peer_url}/worlds/{world}")
    try:
        (await edge.client.put(edge.upstream)).raise_for_status()
        async with serving_wire(edge.answer) as url:
            edge.url = url
            yield edge
    finally:
        await edge.client.delete(edge.upstream)
        await edge.client.aclose()
