"""Real receivers of notifications: an HTTP server and an SMTP server of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import Any

from aiosmtpd.smtp import SMTP
from standardwebhooks import Webhook

Answer = Callable[[int], Awaitable[bytes]]  # the answer to the n-th request, from 0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass(slots=True)
class Request:
    """One request as it arrived."""

    head: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """An HTTP server that keeps what it gets.

    secret: with one, each request's signature is checked as it arrives, and counted in `verified`.
    """

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    answer: Answer | None = None
    secret: str = ""
    verified: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.requests.append(Request(first, headers, body))
            number = len(self.requests) - 1
            if self.secret:
                Webhook(self.secret).verify(self.requests[number].body, headers)
                self.verified += 1
            writer.write(OK if self.answer is None else await self.answer(number))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def http_receiver(
    answer: Answer | None = None, *, port: int = 0, host: str = "127.0.0.1", secret: str = ""
) -> AsyncIterator[Receiver]:
    """Serves on a free port, or on a given one."""
    receiver = Receiver(answer=answer, secret=secret)
    server = await asyncio.start_server(receiver.serve, host, port)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()


@dataclass(slots=True)
class Mailbox:
    """An SMTP server that keeps what it gets."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)
    receivers: list[str] = field(default_factory=list)
    refusing: bool = False

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refusing:
            return "451 4.3.0 try later"
        self.mails.append(message_from_bytes(envelope.content))
        self.receivers += envelope.rcpt_tos
        return "250 2.0.0 queued as 4711"


@asynccontextmanager
async def smtp_receiver() -> AsyncIterator[Mailbox]:
    """Serves on a free port."""
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, hostname="mail.example.com"), "127.0.0.1", 0
    )
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        await server.wait_closed()
