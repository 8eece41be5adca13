"""Batches of JSON through the gateway: events a second."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import uvloop

from tests.bench.batches import json_template
from tests.bench.figures import Figure
from tests.bench.stack import BenchStack

BATCH_EVENTS = 1_000
CLIENTS = 4
SECONDS = 20
PATH = "/api/v1/finops/usage"


def bench_rest(stack: BenchStack) -> Iterator[Figure]:
    """Posts batches over four kept connections, from a process of their own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(_load, (stack, 3, 0))
        events, seconds = pool.apply(_load, (stack, SECONDS, 10**9))
    yield Figure("rest_events_per_second", events / seconds, "events/s", events)


def _load(stack: BenchStack, seconds: float, first: int) -> tuple[int, float]:
    return uvloop.run(_post(stack, seconds, first))


async def _post(stack: BenchStack, seconds: float, first: int) -> tuple[int, float]:
    marker, body = json_template(1, BATCH_EVENTS)
    number = first
    done = 0
    began = time.perf_counter()

    async def client() -> None:
        nonlocal number, done
        address = urlsplit(stack.state.rest_url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {stack.token('bench-rest')}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        while time.perf_counter() < began + seconds:
            number += 1
            fresh = f"{number:0{len(marker)}d}".encode()
            writer.write(head + body.replace(marker.encode(), fresh))
            answer = await _answer(reader)
            if set(answer["statuses"]) != {"RECORD_STATUS_ACCEPTED"}:
                raise RuntimeError(f"batch {number}: {answer['problems'][:3]}")
            done += BATCH_EVENTS
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done, time.perf_counter() - began


async def _answer(reader: asyncio.StreamReader) -> dict[str, list[str]]:
    """Reads one answer: its head, then as much as the head says."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = next(
        int(line.partition(":")[2])
        for line in head.splitlines()
        if line.startswith("content-length:")
    )
    text = await reader.readexactly(length)
    if " 200 " not in head.partition("\r\n")[0]:
        raise RuntimeError(f"{head.partition(chr(13))[0]}: {text[:500]!r}")
    answer: dict[str, list[str]] = json.loads(text)
    return answer
