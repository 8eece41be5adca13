"""What carries a call: gRPC or REST."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from google.protobuf.message import Message

from finops_sdk.methods import Method

Token = Callable[[], str | None]


class Transport(Protocol):
    """Carries one attempt of one call. Every failure is an ApiError."""

    async def call(self, method: Method, request: Message, timeout_seconds: float) -> Message:
        """Sends one message and returns the answer."""

    def stream(
        self,
        method: Method,
        requests: AsyncIterator[Message],
        timeout_seconds: float | None,
    ) -> AsyncIterator[Message]:
        """Sends messages as they come and yields answers as they come."""

    async def close(self) -> None:
        """Lets go of connections."""
