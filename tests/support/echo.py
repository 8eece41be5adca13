"""A service of the tests: its contract, its servicer and its stub, made of `echo.proto`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import grpc
from finops.options.v1 import method_pb2  # noqa: F401 - the contract refers to it
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from grpc_tools import protoc

from services.kernel import audit
from services.kernel.caller import caller_or_none
from services.kernel.database import Database
from services.kernel.telemetry import current_trace_id
from tests.support.notes import write

PACKAGE = "finops.test.v1"
CONTRACT = Path(__file__).with_name("echo.proto")


def _load() -> None:
    """Compiles the contract into the process's pool."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        as_file(files("finops") / "descriptors.binpb") as image,
    ):
        out = Path(scratch) / "echo.binpb"
        arguments = [
            "protoc",
            f"-I{CONTRACT.parent}",
            f"--descriptor_set_in={image}",
            f"--descriptor_set_out={out}",
            CONTRACT.name,
        ]
        if protoc.main(arguments) != 0:
            raise RuntimeError("echo.proto does not compile")
        for file in descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file:
            descriptor_pool.Default().Add(file)


def _message(name: str) -> Any:
    descriptor = descriptor_pool.Default().FindMessageTypeByName(f"{PACKAGE}.{name}")
    return message_factory.GetMessageClass(descriptor)


# protovalidate's rules must be in the pool before a contract that uses them.
from buf.validate import validate_pb2  # noqa: E402, F401

_load()
EchoRequest: Any = _message("EchoRequest")
EchoResponse: Any = _message("EchoResponse")

Before = Callable[[Any], Awaitable[None]]


async def nothing(_: Any) -> None:
    """Does nothing before the answer."""


class EchoServicer:
    """Answers each text with itself. before: awaited with each request, to fail or to wait."""

    def __init__(self, database: Database | None = None, *, before: Before = nothing) -> None:
        self.database = database
        self.before = before
        self.calls: list[str] = []

    async def echo(self, request: Any, context: Any) -> Any:  # noqa: ARG002 - gRPC's signature
        self.calls.append(request.text)
        await self.before(request)
        if request.seconds:
            await asyncio.sleep(request.seconds)
        caller = caller_or_none()
        subject = caller.subject if caller is not None else ""
        return EchoResponse(text=request.text, subject=subject, trace_id=current_trace_id())

    greet = echo

    async def write(self, request: Any, context: Any) -> Any:
        answer = await self.echo(request, context)
        if self.database is not None:
            caller = caller_or_none()
            tenant_id = request.tenant_id or (caller.tenant_id if caller is not None else "")
            async with self.database.transaction(tenant_id) as tx:
                await write(tx, request.text)
                await audit.append(tx, action="note.create", resource=f"notes/{request.text}")
        return answer

    append = write

    async def count(self, request: Any, context: Any) -> AsyncIterator[Any]:
        while True:
            yield await self.echo(request, context)

    async def join(self, requests: AsyncIterator[Any], context: Any) -> Any:
        texts = [request.text async for request in requests]
        return await self.echo(EchoRequest(text="+".join(texts)), context)

    async def chat(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield await self.echo(request, context)


def _service(name: str) -> ServiceDescriptor:
    return descriptor_pool.Default().FindServiceByName(f"{PACKAGE}.{name}")


def _kind(method: Any) -> str:
    sides = (method.client_streaming, method.server_streaming)
    return "_".join("stream" if is_stream else "unary" for is_stream in sides)


def add_to_server(servicer: Any, server: Any, *, service: str = "EchoService") -> None:
    """Registers the servicer as generated code would."""
    handlers = {}
    for method in _service(service).methods:
        request = message_factory.GetMessageClass(method.input_type)
        response = message_factory.GetMessageClass(method.output_type)
        make = getattr(grpc, f"{_kind(method)}_rpc_method_handler")
        behavior = getattr(servicer, method.name.lower(), servicer.echo)
        handlers[method.name] = make(behavior, request.FromString, response.SerializeToString)
    name = f"{PACKAGE}.{service}"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, handlers)])
    server.add_registered_method_handlers(name, handlers)


def registered(servicer: Any, *, service: str = "EchoService") -> Callable[[Any], None]:
    """Returns what `kernel.server` takes of a service."""
    return partial(add_to_server, servicer, service=service)


class EchoStub:
    """Calls the service, as a generated stub does."""

    def __init__(self, channel: Any) -> None:
        for method in _service("EchoService").methods:
            request = message_factory.GetMessageClass(method.input_type)
            response = message_factory.GetMessageClass(method.output_type)
            call = getattr(channel, _kind(method))(
                path(method.name),
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )
            setattr(self, method.name, call)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def path(method: str, *, service: str = "EchoService") -> str:
    """Returns a method's path."""
    return f"/{PACKAGE}.{service}/{method}"
