"""Compressed answers, where the caller accepts them and they are worth it."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

import brotli
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Fast settings: an answer is sent once, so a few percent more are not worth the time.
BROTLI_QUALITY: Final = 4
GZIP_LEVEL: Final = 5
_GZIP_WINDOW: Final = 31
# Live streams are not held back to be compressed; images and archives are compressed already.
_COMPRESSIBLE: Final = ("application/json", "text/html", "text/css", "text/javascript")
_COMPRESSIBLE_ALSO: Final = ("application/javascript", "image/svg+xml", "text/plain", "text/csv")


class Compressor(Protocol):
    """Compresses a body piece by piece."""

    def add(self, piece: bytes) -> bytes:
        """Returns what is ready after this piece."""

    def finish(self) -> bytes:
        """Returns the rest."""


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Compressor(quality=BROTLI_QUALITY)

    def add(self, piece: bytes) -> bytes:
        ready: bytes = self._inner.process(piece)
        return ready

    def finish(self) -> bytes:
        rest: bytes = self._inner.finish()
        return rest


class _Gzip:
    def __init__(self) -> None:
        self._inner = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def add(self, piece: bytes) -> bytes:
        return self._inner.compress(piece)

    def finish(self) -> bytes:
        return self._inner.flush()


class _Zstandard:
    def __init__(self) -> None:
        module: Any = importlib.import_module("compression.zstd")
        self._inner = module.ZstdCompressor()

    def add(self, piece: bytes) -> bytes:
        ready: bytes = self._inner.compress(piece)
        return ready

    def finish(self) -> bytes:
        rest: bytes = self._inner.flush()
        return rest


def _has_zstandard() -> bool:
    """Tells whether this Python brings Zstandard (3.14 on)."""
    try:
        importlib.import_module("compression.zstd")
    except ImportError:
        return False
    return True


ENCODINGS: Final[dict[str, Callable[[], Compressor]]] = {
    "br": _Brotli,
    **({"zstd": _Zstandard} if _has_zstandard() else {}),
    "gzip": _Gzip,
}


def negotiate(accept_encoding: str) -> str | None:
    """Returns the best encoding that the header accepts; None for none. Order breaks ties."""
    weights: dict[str, float] = {}
    for entry in accept_encoding.lower().split(","):
        name, _, parameter = entry.partition(";")
        weights[name.strip()] = _weight(parameter)
    default = weights.get("*", 0.0)
    found = max(ENCODINGS, key=lambda name: weights.get(name, default))
    return found if weights.get(found, default) > 0 else None


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


class Compression:
    """ASGI middleware: compresses bodies of text types above a size."""

    def __init__(self, app: ASGIApp, bytes_min: int) -> None:
        """bytes_min: smaller bodies are sent as they are."""
        self._app = app
        self._bytes_min = bytes_min

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, with a `send` that compresses where the caller accepts it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        accepted = Headers(scope=scope).get("accept-encoding")
        encoding = None if accepted is None else negotiate(accepted)
        await self._app(scope, receive, _Sender(send, encoding, self._bytes_min))


class _Sender:
    """Holds the start of a response back until its first piece tells whether to compress."""

    def __init__(self, send: Send, encoding: str | None, bytes_min: int) -> None:
        self._send = send
        self._encoding = encoding
        self._bytes_min = bytes_min
        self._start: Message | None = None
        self._compressor: Compressor | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        if self._start is not None:
            start, self._start = self._start, None
            self._decide(start, message)
            await self._send(start)
        if self._compressor is not None:
            message = self._compressed(self._compressor, message)
        await self._send(message)

    def _decide(self, start: Message, message: Message) -> None:
        headers = MutableHeaders(raw=start["headers"])
        kind = headers.get("content-type", "").partition(";")[0].strip()
        if kind not in _COMPRESSIBLE + _COMPRESSIBLE_ALSO or "content-encoding" in headers:
            return
        headers.add_vary_header("accept-encoding")
        is_small = not message.get("more_body") and len(message["body"]) < self._bytes_min
        if self._encoding is None or is_small:
            return
        self._compressor = ENCODINGS[self._encoding]()
        headers["content-encoding"] = self._encoding
        del headers["content-length"]

    @staticmethod
    def _compressed(compressor: Compressor, message: Message) -> Message:
        body = compressor.add(message.get("body", b""))
        if not message.get("more_body", False):
            body += compressor.finish()
        return {**message, "body": body}
