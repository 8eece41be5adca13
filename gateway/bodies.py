"""Reading request bodies within bounds of size and time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Receive

from gateway.errors import (
    BodyTooLarge,
    BodyTooSlow,
    ClientClosed,
    MalformedBody,
    MalformedHeader,
    UnsupportedMediaType,
)

# A refused body is read to its end up to here, so that the caller is there to read the answer.
DISCARDED_BYTES_MAX: Final = 256 << 20
DISCARD_SECONDS_MAX: Final = 30.0
_GZIP_WINDOW: Final = 31


class BodyReader:
    """The body of one request."""

    def __init__(
        self, receive: Receive, headers: Headers, *, bytes_max: int, seconds_max: float
    ) -> None:
        """Takes the bound of the body as sent and of the body decoded, which are the same."""
        self._receive = receive
        self._headers = headers
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._is_whole = False

    async def read(self) -> bytes:
        """Returns the whole body, decoded.

        Raises BodyTooLarge, BodyTooSlow, ClientClosed, UnsupportedMediaType, MalformedBody.
        """
        chunks = [chunk async for chunk in self.chunks()]
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yields the body as it arrives, decoded. Raises as `read` does."""
        self._check_length()
        decoder = _decoder(self._headers.get("content-encoding", ""))
        received = produced = 0
        async for chunk in self._raw():
            received += len(chunk)
            if received > self._bytes_max:
                await self._refuse()
            if decoder is None:
                yield chunk
                continue
            plain = _inflate(decoder, chunk, self._bytes_max + 1 - produced)
            produced += len(plain)
            if produced > self._bytes_max:
                await self._refuse()
            yield plain
        if decoder is not None and received and not decoder.eof:
            raise MalformedBody("the gzip body ends before its end")

    def _check_length(self) -> None:
        length = self._headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise MalformedHeader("Content-Length is a number")

    async def _raw(self) -> AsyncIterator[bytes]:
        if int(self._headers.get("content-length", "0")) > self._bytes_max:
            await self._refuse()
        clock = asyncio.get_running_loop().time
        # Only the time the sender takes counts, not the time the consumer of the chunks takes.
        remaining = self._seconds_max
        while not self._is_whole:
            began = clock()
            try:
                async with asyncio.timeout(remaining):
                    chunk = await self._next()
            except TimeoutError as error:
                raise BodyTooSlow from error
            remaining -= clock() - began
            yield chunk

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientClosed
        self._is_whole = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body

    async def _refuse(self) -> None:
        """Discards the rest and raises BodyTooLarge."""
        if self._headers.get("expect", "").lower() != "100-continue":
            await self._discard()
        limit = f"{self._bytes_max:,} bytes"
        raise BodyTooLarge(f"the body is larger than {limit}; send it in parts", limit=limit)

    async def _discard(self) -> None:
        discarded = 0
        try:
            async with asyncio.timeout(DISCARD_SECONDS_MAX):
                while not self._is_whole and discarded < DISCARDED_BYTES_MAX:
                    discarded += len(await self._next())
        except TimeoutError:
            return  # the answer is sent all the same; the connection closes behind it


async def lines(chunks: AsyncIterator[bytes], bytes_max: int) -> AsyncIterator[bytes]:
    """Yields the lines that are not blank. Raises BodyTooLarge for a line over `bytes_max`."""
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *whole, tail = rest.split(b"\n")
            rest = tail
            for line in whole:
                _check_line(line, bytes_max)
                if line.strip():
                    yield bytes(line)
        _check_line(rest, bytes_max)
    if rest.strip():
        yield bytes(rest)


def _check_line(line: bytes | bytearray, bytes_max: int) -> None:
    if len(line) > bytes_max:
        raise BodyTooLarge(f"a line is larger than {bytes_max:,} bytes; send smaller batches")


def _decoder(encoding: str) -> zlib._Decompress | None:
    """Returns the decoder of a Content-Encoding; None where the body is plain."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return zlib.decompressobj(_GZIP_WINDOW)
        case other:
            raise UnsupportedMediaType(f"the content encoding is gzip or none, not {other[:40]}")


def _inflate(decoder: zlib._Decompress, chunk: bytes, bytes_max: int) -> bytes:
    """Decompresses at most `bytes_max` bytes, so that a small bomb stays small."""
    try:
        return decoder.decompress(chunk, max(1, bytes_max))
    except zlib.error as error:
        raise MalformedBody(f"the body is not gzip: {error}") from error
