"""Streams over HTTP: items as lines of JSON or as server-sent events, uploads as lines of JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from starlette.responses import Response

from gateway.bodies import BodyReader, lines
from gateway.call import Call
from gateway.errors import MalformedBody, failure_of
from gateway.frames import Form, Framer, StreamedResponse, form_of
from gateway.settings import GatewaySettings
from gateway.transcode import Transcoder
from services.kernel.errors import Error, FieldViolations

Learn = Callable[[Call, Any], Awaitable[None]]
REFUSAL_SECONDS = 0.03  # ten times what a service takes to refuse a credential


class Failed:
    """The first error of an upload; a call that it cancelled ends for this reason."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def reraise(self) -> None:
        """Raises the upload's error where there was one."""
        if self.error is not None:
            raise self.error


class OpenStreams:
    """All streams that are open, so that a stop can end them all."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Takes the bounds of items, lines and heartbeats."""
        self._settings = settings
        self._stops: set[asyncio.Event] = set()

    def close(self) -> None:
        """Ends every stream after the item it is sending."""
        for stop in self._stops:
            stop.set()

    async def watch(self, call: Call, payload: bytes, learn: Learn) -> Response:
        """Answers a call that gives many messages. Raises the error that came before the first."""
        rpc = call.start(payload, timeout=call.timeout, metadata=call.metadata)
        return await self._respond(call, rpc, learn, Failed(), upload=None)

    async def exchange(self, call: Call, learn: Learn) -> Response:
        """Answers a call that takes and gives many messages; both directions run at once."""
        rpc = call.start(timeout=call.timeout, metadata=call.metadata)
        failed = Failed()
        upload = asyncio.ensure_future(self._write(call, rpc, failed))
        return await self._respond(call, rpc, learn, failed, upload=upload)

    @asynccontextmanager
    async def writing(self, call: Call, rpc: Any) -> AsyncIterator[Failed]:
        """Sends the request's lines to a call while the block waits for its answer."""
        failed = Failed()
        upload = asyncio.ensure_future(self._write(call, rpc, failed))
        try:
            yield failed
        finally:
            rpc.cancel()
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)

    async def _respond(
        self,
        call: Call,
        rpc: Any,
        learn: Learn,
        failed: Failed,
        *,
        upload: asyncio.Future[None] | None,
    ) -> Response:
        items = _Items(rpc, failed, upload)
        form = form_of(call.transcoder, call.request.headers)
        try:
            # An error within the first moment still becomes a status; later ones become an item.
            await items.first(None if form is Form.RAW else self._settings.first_item_seconds)
            if items.is_here:
                await learn(call, rpc)
        except BaseException:
            await items.close()
            raise
        stop = asyncio.Event()
        self._stops.add(stop)
        framer = Framer(form, call.transcoder)
        frames = _frames(items, framer, stop, self._settings.heartbeat_seconds)
        kind = framer.content_type(items.peek() if items.is_here else None)
        # While an upload runs it is the one that reads what the caller sends, its leaving included.
        receive = call.request.receive if upload is None else None
        return StreamedResponse(frames, kind, receive, stop, on_end=self._stops.discard)

    async def _write(self, call: Call, rpc: Any, failed: Failed) -> None:
        """Reads lines and writes each as a message; an error ends the call."""
        reader = BodyReader(
            call.request.receive,
            call.request.headers,
            bytes_max=self._settings.stream_bytes_max,
            seconds_max=call.timeout,
        )
        number = 0
        if await _is_refused(rpc):
            return
        try:
            async for line in lines(reader.chunks(), self._settings.line_bytes_max):
                number += 1
                await rpc.write(_message(call.transcoder, line, number))
            await rpc.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the call has ended; its reader says why
        except Error as error:
            failed.error = error
            rpc.cancel()


async def _is_refused(rpc: Any) -> bool:
    """Waits a moment for the service to refuse the call as such.

    grpc.aio reports a call that ends while it is written to as an internal error of its own and
    loses the service's status (grpc/grpc#36066), so nothing is written into a refusal.
    """
    code = asyncio.ensure_future(rpc.code())
    try:
        done, _ = await asyncio.wait({code}, timeout=REFUSAL_SECONDS)
    finally:
        code.cancel()
    return bool(done)


def _message(transcoder: Transcoder, line: bytes, number: int) -> bytes:
    try:
        return transcoder.item(line)
    except FieldViolations as error:
        named = [(f"line {number}: {field}", text) for field, text in error.violations]
        raise FieldViolations(named) from error
    except MalformedBody as error:
        raise MalformedBody(f"line {number}: {error.message}", line=number) from error


async def _frames(
    items: _Items, framer: Framer, stop: asyncio.Event, heartbeat_seconds: float
) -> AsyncIterator[bytes]:
    """Yields each item as it comes, and a sign of life where the form has one."""
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while True:
            await asyncio.wait(
                (items.next, stopped),
                timeout=heartbeat_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if items.is_here:
                item = items.peek()
                if item is None:
                    return
                yield framer.item(item)
                items.advance()
            elif stopped.done():
                return
            elif framer.heartbeat:
                yield framer.heartbeat
    except (Error, grpc.aio.AioRpcError) as error:
        if framer.form is Form.RAW:
            raise
        yield framer.error(failure_of(error))
    finally:
        stopped.cancel()
        await items.close()


class _Items:
    """The answers of a call, read one ahead."""

    def __init__(self, rpc: Any, failed: Failed, upload: asyncio.Future[None] | None) -> None:
        self._rpc = rpc
        self._failed = failed
        self._upload = upload
        self.next: asyncio.Future[Any] = asyncio.ensure_future(_read(rpc))

    @property
    def is_here(self) -> bool:
        return self.next.done()

    async def first(self, seconds: float | None) -> None:
        """Waits for the first item. Raises the error that came instead of it."""
        await asyncio.wait((self.next,), timeout=seconds)
        if self.next.done():
            self.peek()

    def peek(self) -> bytes | None:
        """Returns the item that is here, None at the end. Raises the call's or upload's error."""
        try:
            item = self.next.result()
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            self._failed.reraise()
            raise
        return None if item is grpc.aio.EOF else item

    def advance(self) -> None:
        self.next = asyncio.ensure_future(_read(self._rpc))

    async def close(self) -> None:
        self._rpc.cancel()
        tasks = [task for task in (self.next, self._upload) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(rpc: Any) -> Any:
    return await rpc.read()
