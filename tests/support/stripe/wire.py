"""A small HTTP server that answers half, or nothing, on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One request. target: path and query."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class WireAnswer:
    """One answer. cut: closes the connection after so many bytes of the body."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    cut: int | None = None


class Hangup(Exception):
    """Closes the connection without an answer."""


Handler = Callable[[WireRequest], Awaitable[WireAnswer]]


@asynccontextmanager
async def serving_wire(handler: Handler) -> AsyncIterator[str]:
    """Serves on a free loopback port, and yields the address."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _converse(reader, writer, handler)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, Hangup):
            writer.transport.abort()
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler
) -> None:
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        answer = await handler(WireRequest(method, target, headers, body))
        fields = [
            ("content-type", "application/json"),
            ("content-length", str(len(answer.body))),
            *answer.headers,
        ]
        status = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        text = status + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
        writer.write(text.encode("latin-1") + answer.body[: answer.cut])
        await writer.drain()
        if answer.cut is not None:
            raise Hangup
