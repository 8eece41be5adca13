"""A gRPC server of the example contract, in this process, without generated code.

It validates by the contract's rules and refuses callers without a token, as the real ones do.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import protovalidate
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection
from protobuf import Message, Registry

from gateway.descriptors import Catalog, Method

TENANTS = {"Bearer alice": "acme", "Bearer bob": "acme", "Bearer carol": "globex"}
Context = grpc.aio.ServicerContext[bytes, bytes]


class ExampleServer:
    """Serves some services of a catalog; unknown methods answer an empty message."""

    def __init__(self, catalog: Catalog, services: frozenset[str]) -> None:
        self.registry: Registry = catalog.registry
        self.calls: list[str] = []
        self.cancelled = asyncio.Event()
        self._methods = {m.path: m for m in catalog.methods if m.service in services}
        self._services = services
        self._health = health.HealthServicer()
        self.server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> str:
        """Starts it and returns its target."""
        size = ("grpc.max_receive_message_length", 100 << 20)
        self.server = grpc.aio.server(options=[size, ("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((_Handlers(self),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        reflection.enable_server_reflection(self._services, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        await self.server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        return f"127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Stops it at once."""
        assert self.server is not None
        await self.server.stop(None)

    def method(self, path: str) -> Method | None:
        return self._methods.get(path)

    def new(self, name: str, **values: Any) -> Message:
        shape = self.registry.message(f"example.v1.{name}")
        assert shape is not None
        return shape.type(**values)

    async def admit(self, method: Method, request: Message | None, context: Context) -> None:
        """Authenticates, names the tenant, validates."""
        self.calls.append(method.name)
        if not method.policy.is_public:
            metadata = dict(context.invocation_metadata() or ())
            tenant = TENANTS.get(str(metadata.get("authorization")))
            if tenant is None:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no valid credential")
            assert tenant is not None
            if method.name != "Fail":  # a call that has begun to answer is not retried
                await context.send_initial_metadata((("x-finops-tenant", tenant),))
        if request is not None:
            await self.validate(request, context)

    async def validate(self, request: Message, context: Context) -> None:
        """Refuses what the contract's rules refuse."""
        violations = protovalidate.collect_violations(request)
        if violations:
            bad = error_details_pb2.BadRequest()
            for violation in violations:
                bad.field_violations.add(description=violation.proto.message)
            await abort(context, grpc.StatusCode.INVALID_ARGUMENT, "not valid", bad)

    async def answer(self, method: Method, request: Message, context: Context) -> Message:
        """Answers a unary call."""
        special: Callable[..., Any] | None = getattr(self, f"_on_{method.name}", None)
        if special is not None:
            found: Message = await special(request, context)
            return found
        if method.input is method.output:
            return request
        return method.output.type()

    async def _on_Upload(self, request: Any, _: Context) -> Message:  # noqa: N802 - the RPC's name
        content = request.content
        size = 0 if content is None else len(content.data)
        return self.new(
            "UploadResponse",
            file_name=request.file_name,
            offset=request.offset,
            size=size,
            content_type=content.content_type if content else "",
            sha256=hashlib.sha256(content.data).hexdigest() if content else "",
        )

    async def _on_Download(self, request: Any, _: Context) -> Message:  # noqa: N802
        body = self.registry.message("google.api.HttpBody")
        assert body is not None
        return body.type(content_type="text/csv", data=f"name\n{request.name}\n".encode())

    async def _on_GetMetadata(self, _: Any, context: Context) -> Message:  # noqa: N802
        metadata = {k: v for k, v in context.invocation_metadata() or () if isinstance(v, str)}
        return self.new(
            "MetadataResponse", metadata=metadata, seconds_left=context.time_remaining()
        )

    async def _on_CreateOrder(self, request: Any, _: Context) -> Message:  # noqa: N802
        order: Message = request.order
        return order

    async def _on_UpdateOrder(self, request: Any, _: Context) -> Message:  # noqa: N802
        order: Message = request.order
        return order

    async def _on_ListOrders(self, _: Any, __: Context) -> Message:  # noqa: N802
        return self.new("ListOrdersResponse", orders=[self.new("Order", order_id="order-1")])

    async def _on_GetOrder(self, request: Any, _: Context) -> Message:  # noqa: N802
        return self.new("Order", order_id=request.order_id)

    async def _on_Fail(self, request: Any, context: Context) -> Message:  # noqa: N802
        if request.code == "CRASH":
            raise RuntimeError("a secret detail")
        if request.code == "SLOW":
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        details: list[Any] = []
        if request.with_details:
            details.append(error_details_pb2.ErrorInfo(reason="TEST", domain="test"))
        if request.retry_delay is not None:
            delay = duration_pb2.Duration(seconds=request.retry_delay.seconds)
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        await abort(context, grpc.StatusCode[request.code], "as asked", *details)
        raise AssertionError

    async def stream(
        self, method: Method, request: Any, context: Context
    ) -> AsyncIterator[Message]:
        """Answers a call that gives a stream."""
        if method.name == "DownloadParts":
            body = self.registry.message("google.api.HttpBody")
            assert body is not None
            for part in (b"one,", b"two"):
                yield body.type(content_type="text/csv", data=part)
            return
        first = int(request.after_sequence or 0) + 1
        for number in range(first, first + request.count):
            yield self.new("Item", sequence=str(number), text=f"item {number}")
        if request.fails:
            await abort(context, grpc.StatusCode.OUT_OF_RANGE, "too far")
        if request.stays:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise


async def abort(context: Context, code: grpc.StatusCode, text: str, *details: Any) -> None:
    """Ends a call with a status and its details."""
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    trailing = (("grpc-status-details-bin", status.SerializeToString()),) if details else ()
    await context.abort(code, text, trailing)


class _Handlers(grpc.GenericRpcHandler):
    """Finds the behaviour of each method by its kind."""

    def __init__(self, server: ExampleServer) -> None:
        self._server = server

    def service(self, call_details: grpc.HandlerCallDetails) -> Any:
        method = self._server.method(call_details.method)
        if method is None:
            return None
        bound = _Bound(self._server, method)
        kind = method.descriptor.method_kind
        if kind == "unary":
            return grpc.unary_unary_rpc_method_handler(bound.unary)
        if kind == "server_streaming":
            return grpc.unary_stream_rpc_method_handler(bound.server_stream)
        if kind == "client_streaming":
            return grpc.stream_unary_rpc_method_handler(bound.client_stream)
        return grpc.stream_stream_rpc_method_handler(bound.both_streams)


class _Bound:
    """One method's behaviour, on bytes."""

    def __init__(self, server: ExampleServer, method: Method) -> None:
        self._server = server
        self._method = method

    async def unary(self, payload: bytes, context: Context) -> bytes:
        request = self._method.input.type.from_binary(payload)
        await self._server.admit(self._method, request, context)
        return (await self._server.answer(self._method, request, context)).to_binary()

    async def server_stream(self, payload: bytes, context: Context) -> AsyncIterator[bytes]:
        request = self._method.input.type.from_binary(payload)
        await self._server.admit(self._method, request, context)
        async for item in self._server.stream(self._method, request, context):
            yield item.to_binary()

    async def client_stream(self, items: AsyncIterator[bytes], context: Context) -> bytes:
        await self._server.admit(self._method, None, context)
        texts = [self._method.input.type.from_binary(i).text async for i in items]  # type: ignore[attr-defined]
        if "refuse" in texts:
            await abort(context, grpc.StatusCode.FAILED_PRECONDITION, "refused")
        return self._server.new("CollectResponse", count=len(texts), texts=texts).to_binary()

    async def both_streams(
        self, items: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        await self._server.admit(self._method, None, context)
        async for item in items:
            await self._server.validate(self._method.input.type.from_binary(item), context)
            yield self._method.output.type.from_binary(item).to_binary()
