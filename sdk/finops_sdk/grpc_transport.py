"""Calls over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from finops_sdk.errors import ApiError, from_grpc
from finops_sdk.methods import Method
from finops_sdk.transport import Token

_MESSAGE_BYTES_MAX = 128 << 20  # a part of an import has 64 MiB
_OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_retries", 0),  # the SDK retries, with what it knows about each method
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def open_channel(target: str, certificate_authority: Path | None = None) -> grpc.aio.Channel:
    """Opens a channel to `host:port` or `grpc://host:port` in the clear, `grpcs://` with TLS."""
    scheme, separator, address = target.rpartition("://")
    if scheme == "grpcs":
        roots = certificate_authority.read_bytes() if certificate_authority else None
        credentials = grpc.ssl_channel_credentials(root_certificates=roots)
        return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
    if separator and scheme != "grpc":
        raise ValueError(f"{target!r} is not a gRPC address; use grpc://host:port or grpcs://")
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


class GrpcTransport:
    """Sends each call to the address of its service."""

    def __init__(
        self,
        targets: Mapping[str, str],
        token: Token,
        *,
        certificate_authority: Path | None = None,
    ) -> None:
        """Takes `{service: address}`; the key `*` is for services not named."""
        self._channels = {
            service: open_channel(target, certificate_authority)
            for service, target in targets.items()
        }
        self._token = token

    async def call(self, method: Method, request: Message, timeout_seconds: float) -> Message:
        """Sends one message and returns the answer."""
        send = self._channel(method).unary_unary(
            method.path,
            request_serializer=_serialize,
            response_deserializer=method.response_class.FromString,
        )
        try:
            answer: Message = await send(
                request, timeout=timeout_seconds, metadata=self._metadata()
            )
        except grpc.aio.AioRpcError as error:
            raise from_grpc(error) from None
        return answer

    async def stream(
        self,
        method: Method,
        requests: AsyncIterator[Message],
        timeout_seconds: float | None,
    ) -> AsyncIterator[Message]:
        """Sends messages as they come and yields answers as they come."""
        channel, metadata = self._channel(method), self._metadata()
        codecs: dict[str, Any] = {
            "request_serializer": _serialize,
            "response_deserializer": method.response_class.FromString,
        }
        call: Any
        if method.takes_stream and method.gives_stream:
            stream = channel.stream_stream(method.path, **codecs)
            call = stream(requests, timeout=timeout_seconds, metadata=metadata)
        else:
            follow = channel.unary_stream(method.path, **codecs)
            call = follow(await anext(requests), timeout=timeout_seconds, metadata=metadata)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise from_grpc(error) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        """Closes every channel."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    def _channel(self, method: Method) -> grpc.aio.Channel:
        channel = self._channels.get(method.service) or self._channels.get("*")
        if channel is None:
            raise ApiError(
                code=grpc.StatusCode.UNAVAILABLE,
                message=f"No address of the service {method.service!r} is known",
            )
        return channel

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self._token()
        return (("authorization", f"Bearer {token}"),) if token else ()


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
