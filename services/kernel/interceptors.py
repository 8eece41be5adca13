"""What happens to every call around its method, driven by the method's policy alone.

In this order: a span and metrics; errors become statuses; the caller is authenticated and must
hold the method's permission; requests are parsed and validated; a repeated request_id is answered
from store. The stages are one interceptor, because each link of a chain costs every call.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from opentelemetry.trace import Status, StatusCode, Tracer

from services.kernel import audit
from services.kernel.auth import Authenticator
from services.kernel.call_status import abort, code_named
from services.kernel.caller import Caller, require_permission, require_tenant, set_caller
from services.kernel.database import Database
from services.kernel.deadline import set_deadline
from services.kernel.drain import Drain, ServerDraining
from services.kernel.envelope import Envelope
from services.kernel.errors import INTERNAL_MESSAGE, Error, InvalidArgument
from services.kernel.idempotency import answer_once, request_key
from services.kernel.method_policy import MethodPolicy, policy_of
from services.kernel.telemetry import (
    SERVER_CALLS,
    current_trace_id,
    enter_call,
    recording_tracer,
)
from services.kernel.validation import validate

TENANT_METADATA: Final = "x-finops-tenant"
REQUEST_ID_METADATA: Final = "idempotency-key"
REQUEST_ID_LENGTH_MAX: Final = 128
CREDENTIAL_CHECK_SECONDS: Final = 1.0  # between checks on a stream; its messages come faster

# Faults of the server, as opposed to those of the caller, which no span needs to shout about.
_FAULTS: Final = frozenset({"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNIMPLEMENTED"})

_Context = Any  # grpc.aio.ServicerContext, whose stubs differ from the class
log = structlog.get_logger(__name__)


class MalformedMessage(InvalidArgument):
    """The request's bytes are no message of the method's type; check the contract's version."""

    reason = "MALFORMED_MESSAGE"


class InvalidRequestId(InvalidArgument):
    """A request_id has at most 128 characters."""

    reason = "INVALID_REQUEST_ID"


class AuditMissing(AssertionError):
    """An audited method changed something, or could have, without an audit entry."""


class KernelInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each method once, when it is first called."""

    def __init__(
        self,
        authenticator: Authenticator,
        *,
        database: Database | None = None,
        drain: Drain | None = None,
        tracer: Tracer | None = None,
        requires_audit: bool = False,
        envelope: Envelope | None = None,
    ) -> None:
        """database: where answers to idempotent calls are kept; None keeps none.

        envelope: seals those answers.

        requires_audit: an audited method without an entry fails, for tests; else it is logged.
        """
        self.authenticator = authenticator
        self.database = database
        self.drain = drain or Drain()
        self.tracer = tracer or recording_tracer()
        self.requires_audit = requires_audit
        self.envelope = envelope
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Returns the method's handler, wrapped; None for an unknown method."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            wrapped = self._wrapped[method] = _Endpoint(self, handler, policy_of(method)).wrapped()
        return wrapped


class _Endpoint:
    """One method with its stages around it."""

    def __init__(
        self,
        kernel: KernelInterceptor,
        handler: grpc.RpcMethodHandler[Any, Any],
        policy: MethodPolicy,
    ) -> None:
        self._kernel = kernel
        self._handler: Any = handler
        self._policy = policy
        self._parse = policy.request_type.FromString
        service, _, name = policy.method.removeprefix("/").rpartition("/")
        self._span_name = f"{service}/{name}"
        self._is_probe = service.startswith("grpc.")  # health, which a stopping server tells too
        self._attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}

    def wrapped(self) -> Any:
        """Returns the handler that gRPC calls. It gets bytes: they are parsed for no stranger."""
        handler = self._handler
        if not handler.response_streaming:
            # The answer leaves as bytes, so that a fault in it is ours to report.
            one = self._unary_unary if not handler.request_streaming else self._stream_unary
            make = _MAKERS[handler.request_streaming, False]
            return make(self._unary(one), None, None)
        make = _MAKERS[handler.request_streaming, True]
        many = self._unary_stream if not handler.request_streaming else self._stream_stream
        return make(self._streaming(many), None, handler.response_serializer)

    # gRPC looks at the function to learn its kind, so these are functions and no bound partials.

    def _unary(self, stages: Callable[..., Awaitable[bytes]]) -> Any:
        async def call(request: Any, context: _Context) -> Any:
            return await self._observed(context, stages, request)

        return call

    def _streaming(self, stages: Callable[..., Awaitable[None]]) -> Any:
        async def call(request: Any, context: _Context) -> None:
            await self._observed(context, stages, request)

        return call

    async def _observed(self, context: _Context, stages: Any, request: Any) -> Any:
        """Telemetry and errors; inside, authentication and the stages of the method's kind."""
        metadata = dict(context.invocation_metadata())
        method = self._policy.method
        span = enter_call(self._kernel.tracer, self._span_name, metadata, self._attributes)
        set_deadline(context.time_remaining())
        SERVER_CALLS.begin(method)
        began = time.perf_counter()
        code = "OK"
        has_entered = False
        try:
            if not self._is_probe:
                self._kernel.drain.enter()
                has_entered = True
            caller = await self._admit(context, metadata)
            return await stages(request, context, metadata, caller)
        except grpc.aio.AbortError:
            code = code_named(context.code())
            raise
        except asyncio.CancelledError:
            code = "CANCELLED" if context.time_remaining() != 0 else "DEADLINE_EXCEEDED"
            raise
        except Error as error:
            code = error.code.name
            await abort(context, error)
        except grpc.aio.InternalError:
            code = "CANCELLED"  # gRPC could not send: the caller has gone
            raise
        except Exception as error:  # whatever it is, the caller sees a constant text
            code = grpc.StatusCode.INTERNAL.name
            log.exception("call failed", method=method)
            span.record_exception(error)
            await abort(context, Error(INTERNAL_MESSAGE, trace_id=current_trace_id()))
        finally:
            if has_entered:
                self._kernel.drain.leave()
            SERVER_CALLS.end(method, code, time.perf_counter() - began)
            if span.is_recording():
                span.set_attribute("rpc.grpc.status", code)
                if code in _FAULTS:
                    span.set_status(Status(StatusCode.ERROR))
                span.end()

    async def _admit(self, context: _Context, metadata: dict[str, Any]) -> Caller | None:
        """Authenticates and authorizes; returns None for a public method."""
        policy = self._policy
        if policy.is_public:
            return None
        caller = await self._kernel.authenticator.authenticate(metadata)
        if policy.grants.isdisjoint(caller.permissions):
            require_permission(caller, policy.permission)
        set_caller(caller)
        tenant = ((TENANT_METADATA, caller.tenant_id),)
        if self._handler.response_streaming:
            await context.send_initial_metadata(tenant)
        else:
            # Initial metadata of its own would cost a unary call a quarter of its throughput.
            context.set_trailing_metadata(tenant)
        return caller

    async def _unary_unary(
        self, raw: bytes, context: _Context, metadata: dict[str, Any], caller: Caller | None
    ) -> bytes:
        request = self._request(raw)
        if self._policy.is_idempotent and caller is not None:
            answer = await self._answered_once(request, context, metadata, caller)
        else:
            answer = await self._called(request, context)
        return answer.SerializeToString()

    async def _answered_once(
        self, request: Any, context: _Context, metadata: dict[str, Any], caller: Caller
    ) -> Message:
        """Calls the method, or answers from store what the same request_id asked before."""
        database = self._kernel.database
        request_id = request.request_id or str(metadata.get(REQUEST_ID_METADATA, ""))
        if len(request_id) > REQUEST_ID_LENGTH_MAX:
            raise InvalidRequestId(length=len(request_id))
        if getattr(self._handler.unary_unary, "answers_repetitions", False):
            request.request_id = request_id
            return await self._called(request, context)
        if not request_id or database is None:
            return await self._called(request, context)
        key = request_key(
            request,
            tenant_id=require_tenant(caller, getattr(request, "tenant_id", "")),
            method=self._policy.method,
            request_id=request_id,
        )
        answer_type = self._policy.response_type
        return await answer_once(
            database,
            key,
            answer_type,
            lambda: self._called(request, context),
            envelope=self._kernel.envelope,
        )

    async def _called(self, request: Any, context: _Context) -> Message:
        """Calls the method, and makes sure of its audit entry."""
        behavior = self._handler.unary_unary
        if not self._policy.is_audited:
            answer: Message = await behavior(request, context)
            return answer
        with audit.recorded() as entries:
            answer = await behavior(request, context)
        if not entries:
            log.error("audit entry missing", method=self._policy.method)
            if self._kernel.requires_audit:
                raise AuditMissing(self._policy.method)
        return answer

    async def _stream_unary(
        self, raws: Any, context: _Context, metadata: dict[str, Any], caller: Caller | None
    ) -> bytes:
        # Not drained: half an upload has no answer.
        requests = self._requests(raws, _Credential(self._kernel, metadata, caller))
        answer: Message = await self._handler.stream_unary(requests, context)
        return answer.SerializeToString()

    async def _unary_stream(
        self, raw: bytes, context: _Context, metadata: dict[str, Any], caller: Caller | None
    ) -> None:
        request = self._request(raw)
        credential = _Credential(self._kernel, metadata, caller)
        drain = self._kernel.drain
        await self._respond(self._handler.unary_stream, request, context, credential, drain)

    async def _stream_stream(
        self, raws: Any, context: _Context, metadata: dict[str, Any], caller: Caller | None
    ) -> None:
        """Drains by ending the requests, so that what was taken is still acknowledged."""
        drain = self._kernel.drain
        credential = _Credential(self._kernel, metadata, caller)
        requests = self._requests(raws, credential, drain)
        await self._respond(self._handler.stream_stream, requests, context, credential, None)
        if drain.has_begun and not self._policy.is_public:
            raise ServerDraining

    async def _respond(
        self,
        behavior: Any,
        request: Any,
        context: _Context,
        credential: _Credential,
        drain: Drain | None,
    ) -> None:
        """Sends what the method yields. A method that writes by itself only runs."""
        if not inspect.isasyncgenfunction(behavior):
            run = partial(behavior, request, context)
            await (run() if drain is None else drain.wait(run))
            return
        responses = behavior(request, context)
        step = partial(anext, responses, None)
        async with aclosing(responses):
            while True:
                message = await (step() if drain is None else drain.wait(step))
                if message is None:
                    return
                await credential.check()
                await context.write(message)

    async def _requests(
        self, raws: AsyncIterator[bytes], credential: _Credential, drain: Drain | None = None
    ) -> AsyncIterator[Message]:
        """Yields each request parsed and validated, until the caller or the server ends them."""
        step: Any = partial(anext, raws, None)
        while True:
            try:
                raw = await (step() if drain is None else drain.wait(step))
            except ServerDraining:
                return
            if raw is None:
                return
            await credential.check()
            yield self._request(raw)

    def _request(self, raw: bytes) -> Message:
        try:
            request: Message = self._parse(raw)
        except DecodeError as error:
            raise MalformedMessage from error
        if not self._policy.validates_items:
            validate(request, raw)
        return request


class _Credential:
    """A stream's credential, which has to hold as long as messages flow."""

    def __init__(
        self, kernel: KernelInterceptor, metadata: dict[str, Any], caller: Caller | None
    ) -> None:
        # A service's token is short-lived to limit theft, not the work it began.
        self._is_checked = caller is not None and not caller.is_service
        self._authenticator = kernel.authenticator
        self._metadata = metadata
        self._next = time.monotonic() + CREDENTIAL_CHECK_SECONDS

    async def check(self) -> None:
        """Raises Unauthenticated when the credential has expired or was revoked meanwhile."""
        if self._is_checked and time.monotonic() >= self._next:
            await self._authenticator.authenticate(self._metadata)
            self._next = time.monotonic() + CREDENTIAL_CHECK_SECONDS


_MAKERS: Final[dict[tuple[bool, bool], Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
