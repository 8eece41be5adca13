"""A real server in this process, reached through a real connection and the real stubs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.kernel.auth import ApiKeyDirectory, Authenticator, ServiceTokens, sign_token
from services.kernel.client import PeerChannel
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.server import Register, Running, start
from services.kernel.settings import ServiceSettings

JWT_SECRET = "secret-of-the-tests-for-people-and-programs"
SERVICE_SECRET = "secret-of-the-tests-for-services-alone"
TENANT = "acme"


def settings_of(**changed: Any) -> ServiceSettings:
    """Returns settings with the tests' secrets."""
    return ServiceSettings(
        **{"jwt_secret": JWT_SECRET, "service_token_secret": SERVICE_SECRET} | changed
    )


def token_of(*roles: str, tenant: str = TENANT, subject: str = "ada") -> str:
    """Returns a token of a person with these roles."""
    return sign_token(
        JWT_SECRET,
        subject=subject,
        tenant_id=tenant,
        roles=roles,
        lifetime=timedelta(hours=1),
    )


def service_token_of(service: str = "budget", *, tenant: str = TENANT) -> str:
    """Returns a token with which a service acts for the tenant, "" for none."""
    return ServiceTokens(SERVICE_SECRET, service=service).token(tenant)


def bearer(credential: str) -> list[tuple[str, str]]:
    """Returns the metadata that carries a credential."""
    return [("authorization", f"Bearer {credential}")]


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that runs, and channels to it."""

    running: Running
    plain: grpc.aio.Channel
    _channels: list[PeerChannel] = field(default_factory=list)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.running.port}"

    def channel(self, *roles: str, tenant: str = TENANT, subject: str = "ada") -> PeerChannel:
        """Returns a channel of a caller with these roles, for generated stubs."""
        return self.channel_with(token_of(*roles, tenant=tenant, subject=subject))

    def channel_with(self, credential: str | Callable[[], str]) -> PeerChannel:
        """Returns a channel that shows the credential, or what makes a fresh one for each call."""

        def authorization() -> str:
            return f"Bearer {credential if isinstance(credential, str) else credential()}"

        channel = PeerChannel(self.target, peer="local", authorization=authorization)
        self._channels.append(channel)
        return channel

    async def close(self) -> None:
        """Closes the channels and stops the server at once."""
        for channel in (*self._channels, self.plain):
            await channel.close()
        await self.running.stop(0)


@asynccontextmanager
async def serving(
    *servicers: Register,
    database: Database | None = None,
    api_keys: ApiKeyDirectory | None = None,
    clock: Clock | None = None,
    requires_audit: bool = True,
    authenticator: Authenticator | None = None,
    envelope: Envelope | None = None,
    **settings: Any,
) -> AsyncIterator[LocalServer]:
    """Serves on a free port. servicers: as `kernel.server.serve` takes them.

    An audited method that writes no audit entry fails, unless told otherwise.
    """
    chosen = settings_of(**settings)
    running = await start(
        chosen,
        servicers,
        authenticator=authenticator
        or Authenticator.from_settings(chosen, api_keys=api_keys, clock=clock),
        database=database,
        requires_audit=requires_audit,
        envelope=envelope,
    )
    server = LocalServer(running, grpc.aio.insecure_channel(f"127.0.0.1:{running.port}"))
    try:
        yield server
    finally:
        await server.close()


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status that a call ended with."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    details: dict[str, Message]

    @property
    def fields(self) -> list[str]:
        """The fields that a BadRequest names, in order."""
        violations: Any = self.details["BadRequest"]
        return [violation.field for violation in violations.field_violations]


async def refused(call: Awaitable[object]) -> Refusal:
    """Awaits a call that must fail, and returns how it did."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """Reads a status and its details."""
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type] # it only reads metadata
    found: dict[str, Message] = {}
    info = error_details_pb2.ErrorInfo()
    for packed in status.details if status is not None else ():
        name = packed.TypeName().rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name)()
        packed.Unpack(found[name])
    info = found.get("ErrorInfo", info)
    return Refusal(error.code(), error.details() or "", info.reason, dict(info.metadata), found)


async def all_of(answers: AsyncIterator[Any], *, most: int = 1_000) -> list[Any]:
    """Reads a stream to its end, or so many messages of it."""
    found: list[Any] = []
    async for answer in answers:
        found.append(answer)
        if len(found) == most:
            break
    return found
