"""The forms of a streamed answer: lines of JSON, server-sent events, or raw bytes.

Source of the event form: WHATWG HTML, section "Server-sent events".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from enum import Enum
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.errors import OK, Failure
from gateway.headers import accepts_events
from gateway.transcode import BYTES, Transcoder

NDJSON: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"
HEARTBEAT: Final = b": keep-alive\n\n"


class Form(Enum):
    """How items follow each other in the body."""

    LINES = "lines"
    EVENTS = "events"
    RAW = "raw"


class Framer:
    """Puts the items of one stream into its form."""

    def __init__(self, form: Form, transcoder: Transcoder) -> None:
        """Takes the translation of one item."""
        self.form = form
        self._transcoder = transcoder

    @property
    def heartbeat(self) -> bytes:
        """What a silent stream sends to show that it is alive; empty where the form has none."""
        return HEARTBEAT if self.form is Form.EVENTS else b""

    def content_type(self, first: bytes | None) -> str:
        """Returns the stream's content type; a raw one takes its first item's."""
        if self.form is Form.EVENTS:
            return EVENTS
        if self.form is Form.LINES:
            return NDJSON
        return BYTES if first is None else self._transcoder.response(first)[1]

    def item(self, payload: bytes) -> bytes:
        """Returns one item; JSON is on one line, so that a line or a field holds it."""
        body, _ = self._transcoder.response(payload)
        if self.form is Form.RAW:
            return body
        if self.form is Form.LINES:
            return body + b"\n"
        position = self._transcoder.sequence(payload)
        head = f"id: {_one_line(position)}\n".encode() if position else b""
        return head + b"data: " + body + b"\n\n"

    def error(self, failure: Failure) -> bytes:
        """Returns the last item of a stream that failed after it began."""
        if self.form is Form.EVENTS:
            return b"event: error\ndata: " + failure.body() + b"\n\n"
        return failure.body() + b"\n"


class StreamedResponse(Response):
    """Sends frames as they come and ends when the caller leaves or the gateway stops."""

    def __init__(
        self,
        frames: AsyncIterator[bytes],
        kind: str,
        receive: Receive | None,
        stop: asyncio.Event,
        *,
        on_end: Callable[[asyncio.Event], None],
    ) -> None:
        """Takes the frames, and an event that ends them.

        receive: where to listen for the caller's leaving; None where somebody else listens.
        """
        self.status_code = OK
        self.background = None
        self._frames = frames
        self._receive = receive
        self._stop = stop
        self._on_end = on_end
        headers = MutableHeaders()
        headers["content-type"] = kind
        headers["cache-control"] = "no-store"
        headers["x-accel-buffering"] = "no"
        self.raw_headers = headers.raw

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Sends the response; `receive` is left to whoever reads the request's body."""
        listener = None
        if self._receive is not None:
            listener = asyncio.ensure_future(self._listen(self._receive))
        start = {"type": "http.response.start", "status": OK, "headers": self.raw_headers}
        try:
            await send(start)
            async for frame in self._frames:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._on_end(self._stop)
            if listener is not None:
                listener.cancel()
            await _close(self._frames)

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue
        self._stop.set()


def form_of(transcoder: Transcoder, headers: Headers) -> Form:
    """Returns the form that the method gives and the caller accepts."""
    if transcoder.gives_raw_body:
        return Form.RAW
    return Form.EVENTS if accepts_events(headers) else Form.LINES


def _one_line(text: str) -> str:
    return text.replace("\n", "").replace("\r", "").replace("\0", "")


async def _close(frames: AsyncIterator[bytes]) -> None:
    close = getattr(frames, "aclose", None)
    if close is not None:
        await close()
