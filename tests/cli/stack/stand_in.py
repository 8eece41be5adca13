"""Stands in for a service or the gateway: healthy at once, ends on SIGTERM.

`python stand_in.py service|gateway|broken`; it listens where the stack tells it to.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


async def serve_grpc(ended: asyncio.Event) -> None:
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(os.environ["FINOPS_LISTEN"])
    await server.start()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    await ended.wait()
    await server.stop(None)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(_OK)
    await writer.drain()
    writer.close()


async def serve_http(ended: asyncio.Event) -> None:
    host, _, port = os.environ["FINOPS_GATEWAY_LISTEN"].partition(":")
    async with await asyncio.start_server(answer, host, int(port)):
        await ended.wait()


async def main(kind: str) -> None:
    if kind == "broken":
        raise SystemExit("the settings are not valid: FINOPS_EXAMPLE")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await (serve_http(ended) if kind == "gateway" else serve_grpc(ended))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
