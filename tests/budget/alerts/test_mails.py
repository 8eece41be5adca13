"""No mail outlives the lease of its delivery, so that nobody sends it a second time meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.budget.domain.delivery import DeliveryAttempt
from services.budget.domain.notification import Notification
from services.budget.service.delivering import LEASE
from services.budget.service.mails import MAIL_SECONDS, MailSender, MailServer
from tests.budget.conftest import NOW


@asynccontextmanager
async def smtp(handle: Callable[..., Coroutine[Any, Any, None]]) -> AsyncIterator[str]:
    """Serves raw connections, and yields the URL."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def sent(url: str, seconds: float) -> DeliveryAttempt:
    sender = MailSender(MailServer(url, "FinOps <finops@example.com>"), mail_seconds=seconds)
    notification = Notification(event_type="alert.opened", title="Spend", text_body="Much")
    return await sender.send(["ada@example.com"], notification, message_id="m-1", created_at=NOW)


async def drip(writer: asyncio.StreamWriter, text: bytes) -> None:
    """Answers byte by byte for ever, so that no single wait of the client is long."""
    while not writer.is_closing():
        writer.write(text)
        await writer.drain()
        await asyncio.sleep(0.05)


async def converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, last: bytes
) -> None:
    """Takes a mail; `last` answers the farewell."""
    writer.write(b"220 here\r\n")
    is_data = False
    while line := await reader.readline():
        if is_data:
            if line == b".\r\n":
                is_data = False
                writer.write(b"250 taken\r\n")
        elif line.upper().startswith(b"DATA"):
            is_data = True
            writer.write(b"354 go on\r\n")
        elif line.upper().startswith(b"QUIT"):
            writer.write(last)
        else:
            writer.write(b"250 fine\r\n")
    writer.close()


def test_an_attempt_ends_well_before_the_lease() -> None:
    assert LEASE.total_seconds() >= MAIL_SECONDS + 30


async def test_a_server_that_answers_by_single_bytes_is_cut_off() -> None:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        await drip(writer, b"2")

    async with smtp(handle) as url, asyncio.timeout(10):
        attempt = await sent(url, seconds=0.4)

    assert not attempt.is_success
    assert attempt.latency.total_seconds() < 5


async def test_no_mail_begins_after_its_time() -> None:
    connections = 0

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    async with smtp(handle) as url:
        attempt = await sent(url, seconds=0.0)

    assert "in time" in attempt.error
    assert connections == 0


@pytest.mark.parametrize("last", [b"221 bye\r\n", b"500 what\r\n", b"2"])
async def test_a_mail_that_was_taken_is_sent_however_the_farewell_goes(last: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await converse(reader, writer, last=last)

    async with smtp(handle) as url, asyncio.timeout(10):
        attempt = await sent(url, seconds=1.0)

    assert attempt.is_success
    assert attempt.response_excerpt == "250 taken"
