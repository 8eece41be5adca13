"""Stripe's webhooks through the gateway: how long each waits for its answer."""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
import stripe
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from cli.stack.keys import load_or_make_keys
from cli.tokens import sign_token
from services.kernel.clock import SystemClock
from tests.bench.figures import Figure, percentile
from tests.bench.stack import BenchStack

TENANT = "bench-webhooks"
SECRET = "whsec_of_the_bench_of_webhooks"
EVENTS = 1_000
SENDERS = 64
ADDRESSES = 16  # Stripe sends from about as many; the gateway bounds what comes from each
START_SECONDS = 0.2  # in which the connections are made
CALLS = "finops_rpc_server_seconds_bucket"
METHOD = "/ReceiveStripeWebhook"
PATH = "/api/v1/billing/webhooks/stripe"
SETTINGS = "/api/v1/billing/provider-settings"
INBOX = "/api/v1/billing/webhook-events"
# Stripe takes 80 requests a second from a seller, and tells two or three things of each.
EVENTS_PER_SECOND = 200


def bench_webhooks(stack: BenchStack) -> Iterator[Figure]:
    """Sends a thousand events at a steady pace, timed from when each is due; then all at once.

    64 connections from a process of their own. Beside what they wait for, through the gateway, goes
    what the billing service's own histogram says of the burst: from a call's arrival to its answer.
    The service takes the events up meanwhile, and asks a Stripe that knows none of their objects.
    """
    headers = {"authorization": f"Bearer {_token(stack)}"}
    with httpx.Client(base_url=stack.state.rest_url, headers=headers, trust_env=False) as rest:
        change = {
            "kind": "PROVIDER_KIND_STRIPE",
            "apiKey": "sk_test_bench",
            "webhookSecret": SECRET,
        }
        changed = rest.patch(SETTINGS, json=change).raise_for_status().json()
        door = (stack.state.rest_url, changed["providerSettings"]["endpointId"])
        spawning = multiprocessing.get_context("spawn")
        with _ignorant_stripe(stack.stripe_port), spawning.Pool(1) as pool:
            pool.apply(_load, (*door, "first", SENDERS, EVENTS_PER_SECOND))
            paced = pool.apply(_load, (*door, "paced", EVENTS, EVENTS_PER_SECOND))
            before = _handled(stack)
            burst = pool.apply(_load, (*door, "burst", EVENTS, 0))
            after = _handled(stack)
        stored = _stored(rest)
    if stored != SENDERS + 2 * EVENTS:
        raise RuntimeError(f"{stored} events stored")
    yield Figure("webhook_p99_ms", percentile(paced, 0.99) * 1000, "ms", EVENTS)
    yield Figure("webhook_burst_p99_ms", percentile(burst, 0.99) * 1000, "ms", EVENTS)
    handled = {edge: count - before.get(edge, 0) for edge, count in after.items()}
    yield Figure("webhook_burst_handler_p99_ms", _quantile(handled, 0.99) * 1000, "ms", EVENTS)


def _handled(stack: BenchStack) -> dict[float, float]:
    """Returns how many webhooks the billing service has answered within each edge, in seconds."""
    port = stack.state.processes["billing"].metrics_port
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    found: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == CALLS and sample.labels["method"].endswith(METHOD):
                edge = float(sample.labels["le"])
                found[edge] = found.get(edge, 0) + sample.value
    return found


def _quantile(handled: Mapping[float, float], share: float) -> float:
    """Returns a quantile of a histogram's cumulative counts, as Prometheus estimates it."""
    wanted, below, under = share * handled[math.inf], 0.0, 0.0
    for edge, count in sorted(handled.items()):
        if count >= wanted:
            return below + (edge - below) * (wanted - under) / (count - under)
        below, under = edge, count
    raise RuntimeError("the histogram is empty")


class _KnowsNothing(BaseHTTPRequestHandler):
    """Answers as Stripe does for what it does not have."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"error": {"type": "invalid_request_error", "code": "resource_missing"}}'
        self.send_response(HTTPStatus.NOT_FOUND)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing: the bench prints figures."""


@contextmanager
def _ignorant_stripe(port: int) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", port), _KnowsNothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def _token(stack: BenchStack) -> str:
    return sign_token(
        load_or_make_keys(stack.data_dir),
        tenant=TENANT,
        subject="bench",
        roles=["platform_admin"],
        now=SystemClock().now(),
        life=timedelta(hours=1),
    )


def _load(url: str, endpoint: str, prefix: str, count: int, pace: int) -> list[float]:
    return uvloop.run(_send(url, endpoint, prefix, count, pace))


async def _send(url: str, endpoint: str, prefix: str, count: int, pace: int) -> list[float]:
    """Returns how long each answer took. pace: requests a second; 0 as fast as senders can."""
    address = urlsplit(url)
    waiting = iter(
        [(n, _request(address.netloc, endpoint, f"{prefix}_{n}", n)) for n in range(count)]
    )
    waits: list[float] = []

    first = time.perf_counter() + START_SECONDS

    async def sender() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for number, request in waiting:
            began = first + number / pace if pace else time.perf_counter()
            await asyncio.sleep(began - time.perf_counter())
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            text = await reader.readexactly(length)
            waits.append(time.perf_counter() - began)
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise RuntimeError(f"{head!r}: {text[:500]!r}")
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(sender() for _ in range(SENDERS)))
    return waits


def _request(host: str, endpoint: str, event_id: str, number: int) -> bytes:
    """Returns an event as Stripe sends it, signed now."""
    event = {
        "id": event_id,
        "object": "event",
        "type": "invoice.paid",
        "created": int(time.time()),
        "livemode": False,
        "api_version": str(stripe.api_version),
        # What an invoice weighs with a few lines.
        "data": {"object": {"id": f"in_{number}", "object": "invoice", "x": "x" * 6_000}},
    }
    body = json.dumps(event)
    stamp = int(time.time())
    signature = stripe.WebhookSignature.generate_signature_header(body, SECRET, stamp)
    return (
        f"POST {PATH}/{endpoint} HTTP/1.1\r\nHost: {host}\r\nStripe-Signature: {signature}\r\n"
        f"X-Forwarded-For: 192.0.2.{number % ADDRESSES}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _stored(rest: httpx.Client) -> int:
    """Returns how many events the inbox has."""
    count, token = 0, ""
    while True:
        page = rest.get(INBOX, params={"page_size": 1_000, "page_token": token})
        answer = page.raise_for_status().json()
        count += len(answer["webhookEvents"])
        token = answer.get("nextPageToken", "")
        if not token:
            return count
