"""How one service calls another: a channel that generated stubs take as gRPC's own.

Every call carries a token with the acting tenant, the trace, and a deadline that is never later
than that of the call being served. What is safe to repeat is repeated by gRPC itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from services.kernel.caller import caller_or_none
from services.kernel.deadline import remaining_seconds
from services.kernel.errors import DeadlineExceeded, Unavailable
from services.kernel.ids import new_id
from services.kernel.method_policy import MethodPolicy, policy_of
from services.kernel.settings import ServiceSettings
from services.kernel.telemetry import CLIENT_CALLS, TRACEPARENT, traceparent_of
from services.kernel.tls import channel_credentials
from services.kernel.tokens import ServiceTokens
from services.kernel.wire import PING_SECONDS, PING_TIMEOUT_SECONDS, SIZES

DEADLINE_SECONDS: Final = 10.0
STREAM_DEADLINE_SECONDS: Final = (
    3600.0  # streams resume; one that hangs unseen ends within the hour
)
ATTEMPTS: Final = 4
AUTHORIZATION: Final = "authorization"

Metadata = Sequence[tuple[str, str | bytes]]
_tracer: Final = trace.get_tracer("finops.rpc")
_acting_tenant: ContextVar[str | None] = ContextVar("acting_tenant", default=None)


class UnknownPeer(RuntimeError):
    """A service to call is not among the settings' peers."""


class PeerUnavailable(Unavailable):
    """A service that this call needs is not reachable at the moment; retry with backoff."""

    reason = "PEER_UNAVAILABLE"


class PeerTimeout(DeadlineExceeded):
    """A service that this call needs did not answer in time."""

    reason = "PEER_TIMEOUT"


@contextmanager
def on_behalf_of(tenant_id: str) -> Iterator[None]:
    """Makes the calls in the block act for the tenant: for work that no caller asked for."""
    token = _acting_tenant.set(tenant_id)
    try:
        yield
    finally:
        _acting_tenant.reset(token)


def acting_tenant() -> str:
    """Returns the tenant that calls act for: `on_behalf_of`, else the caller's, else none."""
    tenant_id = _acting_tenant.get()
    if tenant_id is not None:
        return tenant_id
    caller = caller_or_none()
    return caller.tenant_id if caller is not None else ""


def channel(peer: str, settings: ServiceSettings, *, service: str) -> PeerChannel:
    """Opens a channel to a service of `FINOPS_PEERS`; no network is touched before the first call.

    service: who calls. Raises UnknownPeer; OSError for missing certificates.
    """
    target = settings.peers.get(peer)
    if target is None:
        raise UnknownPeer(f"{service} needs {peer}: add it to FINOPS_PEERS")
    secret = settings.service_token_secret
    tokens = (
        ServiceTokens(secret.get_secret_value(), service=service, audience=settings.audience)
        if secret is not None
        else None
    )
    options = (
        (("grpc.ssl_target_name_override", settings.peer_server_name),)
        if settings.peer_server_name
        else ()
    )
    return PeerChannel(
        target,
        peer=peer,
        credentials=channel_credentials(settings),
        authorization=lambda: f"Bearer {tokens.token(acting_tenant())}" if tokens else "",
        options=options,
    )


class PeerChannel(grpc.aio.Channel):
    """One peer. Its calls raise PeerUnavailable and PeerTimeout, else grpc.aio.AioRpcError."""

    def __init__(
        self,
        target: str,
        *,
        peer: str,
        authorization: Callable[[], str],
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[tuple[str, str | int]] = (),
    ) -> None:
        """authorization: the metadata of each call, empty for none."""
        self.target = target
        self.peer = peer
        self._authorization = authorization
        self._credentials = credentials
        self._options = options
        self._channels: dict[str, grpc.aio.Channel] = {}

    def unary_unary(self, method: str, *serializers: Any, **options: Any) -> Any:
        """Returns `async (request, timeout=, metadata=) -> response`."""
        call = self._channel(method).unary_unary(method, *serializers, **options)
        return partial(self._answer, call, policy_of(method))

    def stream_unary(self, method: str, *serializers: Any, **options: Any) -> Any:
        """Returns `async (requests, timeout=, metadata=) -> response`."""
        call = self._channel(method).stream_unary(method, *serializers, **options)
        return partial(self._answer, call, policy_of(method))

    def unary_stream(self, method: str, *serializers: Any, **options: Any) -> Any:
        """Returns `(request, timeout=, metadata=) -> asynchronous iterator`."""
        call = self._channel(method).unary_stream(method, *serializers, **options)
        return partial(self._answers, call, policy_of(method))

    def stream_stream(self, method: str, *serializers: Any, **options: Any) -> Any:
        """Returns `(requests, timeout=, metadata=) -> asynchronous iterator`."""
        call = self._channel(method).stream_stream(method, *serializers, **options)
        return partial(self._answers, call, policy_of(method))

    async def _answer(
        self,
        call: Any,
        policy: MethodPolicy,
        request: Any,
        *,
        timeout: float = DEADLINE_SECONDS,  # noqa: ASYNC109 - the stubs' own name
        metadata: Metadata = (),
    ) -> Any:
        with _Measured(policy.method, self.peer) as measured:
            return await call(
                _identified(request, policy),
                timeout=remaining_seconds(timeout),
                metadata=self._metadata(metadata, measured.span),
            )

    async def _answers(
        self,
        call: Any,
        policy: MethodPolicy,
        request: Any,
        *,
        timeout: float = STREAM_DEADLINE_SECONDS,  # noqa: ASYNC109 - the stubs' own name
        metadata: Metadata = (),
    ) -> AsyncIterator[Any]:
        with _Measured(policy.method, self.peer) as measured:
            rpc = call(
                request,
                timeout=remaining_seconds(timeout),
                metadata=self._metadata(metadata, measured.span),
            )
            try:
                async for answer in rpc:
                    yield answer
            finally:
                rpc.cancel()  # does nothing to one that has ended

    def _metadata(self, given: Metadata, span: Span) -> Metadata:
        """Adds the token, unless the caller brings one, and the trace."""
        metadata = list(given)
        names = {name for name, _ in metadata}
        authorization = self._authorization() if AUTHORIZATION not in names else ""
        if authorization:
            metadata.append((AUTHORIZATION, authorization))
        context = span.get_span_context()
        if context.is_valid and TRACEPARENT not in names:
            metadata.append((TRACEPARENT, traceparent_of(context)))
        return metadata

    def _channel(self, method: str) -> grpc.aio.Channel:
        """Returns the connection for a method's service: retries are configured by service."""
        service = method.removeprefix("/").rpartition("/")[0]
        known = self._channels.get(service)
        if known is None:
            options = (*_OPTIONS, ("grpc.service_config", service_config(service)), *self._options)
            if self._credentials is None:
                known = grpc.aio.insecure_channel(self.target, options)
            else:
                known = grpc.aio.secure_channel(self.target, self._credentials, options)
            self._channels[service] = known
        return known

    async def close(self, grace: float | None = None) -> None:
        """Closes the connections; calls in flight may end within the grace, in seconds."""
        for known in self._channels.values():
            await known.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - gRPC's signature
        """Returns the state of the health service's connection."""
        return self._channel(HEALTH).get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits until that state is another."""
        await self._channel(HEALTH).wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until the peer is connected."""
        await self._channel(HEALTH).channel_ready()


HEALTH: Final = f"/{health_pb2.DESCRIPTOR.services_by_name['Health'].full_name}/Check"
_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    *SIZES,
    ("grpc.keepalive_time_ms", PING_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_SECONDS * 1000),
)


def service_config(service: str) -> str:
    """Returns gRPC's configuration of a service, as JSON: all replicas in turn, and retries.

    Repeated is only what does no more the second time; the answer UNAVAILABLE does not say
    whether the first attempt had an effect. service: full name, of a loaded contract.
    """
    methods = descriptor_pool.Default().FindServiceByName(service).methods
    repeatable = [
        {"service": service, "method": method.name}
        for method in methods
        if policy_of(f"/{service}/{method.name}").is_repeatable
    ]
    retry = {
        "maxAttempts": ATTEMPTS,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    configuration: dict[str, Any] = {
        "loadBalancingConfig": [{"round_robin": {}}],
        # A peer in trouble gets fewer retries, so that they do not keep it there.
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
    if repeatable:
        configuration["methodConfig"] = [{"name": repeatable, "retryPolicy": retry}]
    return json.dumps(configuration)


def _identified(request: Any, policy: MethodPolicy) -> Any:
    """Returns the request with a request_id, by which a retry is known as such."""
    if not policy.is_idempotent or not isinstance(request, Message):
        return request
    copy: Any = type(request)()
    copy.CopyFrom(request)
    copy.request_id = copy.request_id or new_id()
    return copy


class _Measured:
    """The span and metrics around one call, and what its failure means to our own caller."""

    def __init__(self, method: str, peer: str) -> None:
        self._method = method
        self._peer = peer
        self._began = 0.0
        self.span = _tracer.start_span(method.removeprefix("/"), kind=SpanKind.CLIENT)

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        CLIENT_CALLS.begin(self._method)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            code = grpc.StatusCode.OK
        elif isinstance(error, grpc.aio.AioRpcError):
            code = error.code()
        else:
            code = grpc.StatusCode.CANCELLED
        CLIENT_CALLS.end(self._method, code.name, time.perf_counter() - self._began)
        if code is not grpc.StatusCode.OK:
            self.span.set_status(Status(StatusCode.ERROR, code.name))
        self.span.end()
        if isinstance(error, grpc.aio.AioRpcError):
            self._translate(error)

    def _translate(self, error: grpc.aio.AioRpcError) -> NoReturn:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            raise PeerUnavailable(peer=self._peer) from error
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise PeerTimeout(peer=self._peer) from error
        raise error
