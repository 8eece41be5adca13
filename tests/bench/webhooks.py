"""A burst of Stripe's webhooks through the gateway: how long each is handled and waits."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Iterator
from datetime import timedelta
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
PATH = "/api/v1/billing/webhooks/stripe"
SETTINGS = "/api/v1/billing/provider-settings"
INBOX = "/api/v1/billing/webhook-events"
METHOD = "/finops.billing.v1.WebhookService/ReceiveStripeWebhook"


def bench_webhooks(stack: BenchStack) -> Iterator[Figure]:
    """Sends a thousand events over 64 connections, from a process of their own.

    The service takes up each event meanwhile: it asks Stripe, at whose place nobody answers.
    """
    headers = {"authorization": f"Bearer {_token(stack)}"}
    with httpx.Client(base_url=stack.state.rest_url, headers=headers, trust_env=False) as rest:
        change = {
            "kind": "PROVIDER_KIND_STRIPE",
            "apiKey": "sk_test_bench",
            "webhookSecret": SECRET,
        }
        changed = rest.patch(SETTINGS, json=change).raise_for_status().json()
        endpoint = changed["providerSettings"]["endpointId"]
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(_load, (stack.state.rest_url, endpoint, "warm", SENDERS * 2))
            before = _handled(stack)
            waits = pool.apply(_load, (stack.state.rest_url, endpoint, "evt", EVENTS))
        after = _handled(stack)
        stored = _stored(rest)
    if stored != EVENTS + SENDERS * 2:
        raise RuntimeError(f"{stored} events stored")
    spent = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    yield Figure("webhook_p99_ms", _quantile(spent, 0.99) * 1000, "ms", EVENTS)
    yield Figure("webhook_answer_p99_ms", percentile(waits, 0.99) * 1000, "ms", EVENTS)


def _token(stack: BenchStack) -> str:
    return sign_token(
        load_or_make_keys(stack.data_dir),
        tenant=TENANT,
        subject="bench",
        roles=["platform_admin"],
        now=SystemClock().now(),
        life=timedelta(hours=1),
    )


def _load(url: str, endpoint: str, prefix: str, count: int) -> list[float]:
    return uvloop.run(_send(url, endpoint, prefix, count))


async def _send(url: str, endpoint: str, prefix: str, count: int) -> list[float]:
    """Returns how long each answer took, with all senders busy from the first to the last."""
    address = urlsplit(url)
    waiting = iter([_request(address.netloc, endpoint, f"{prefix}_{n}", n) for n in range(count)])
    waits: list[float] = []

    async def sender() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for request in waiting:
            began = time.perf_counter()
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


def _handled(stack: BenchStack) -> dict[float, float]:
    """Returns how many webhooks the service has handled within so many seconds each."""
    port = stack.state.processes["billing"].metrics_port
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).raise_for_status().text
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "finops_rpc_server_seconds_bucket"
        and sample.labels["method"] == METHOD
        and sample.labels["code"] == "OK"
    }


def _quantile(counts: dict[float, float], share: float) -> float:
    """Returns a quantile of cumulative counts by upper bound, as Prometheus interpolates it."""
    wanted = share * counts[float("inf")]
    low, below = 0.0, 0.0
    for bound in sorted(counts):
        if counts[bound] >= wanted:
            inside = counts[bound] - below
            return low + (bound - low) * (wanted - below) / inside
        low, below = bound, counts[bound]
    raise RuntimeError("nothing was handled")


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
