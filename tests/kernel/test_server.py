"""A service as a process: how it starts, what every server has, and how it stops."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.kernel.auth import Authenticator
from services.kernel.method_policy import ContractIncomplete
from services.kernel.server import start
from services.kernel.wire import MESSAGE_BYTES_MAX
from tests.support.echo import EchoRequest, EchoServicer, EchoStub, registered
from tests.support.server import (
    JWT_SECRET,
    SERVICE_SECRET,
    all_of,
    bearer,
    refused,
    serving,
    settings_of,
    token_of,
)
from tests.support.source_tree import ROOT
from tests.support.waiting import eventually

ADMIN = bearer(token_of("platform_admin"))
METHOD = 'method="/finops.test.v1.EchoService/Echo"'
IN_FLIGHT = 20


@dataclass
class Service:
    """A process that serves, its port, and what it logged once it has ended."""

    process: asyncio.subprocess.Process
    listening: dict[str, Any]
    channel: grpc.aio.Channel | None

    async def in_flight(self, count: int) -> None:
        """Waits until the service works on so many calls."""

        async def is_so() -> bool:
            return f"{{{METHOD}}} {float(count)}" in await self.scraped()

        await eventually(is_so)

    async def scraped(self) -> str:
        """Returns its metrics."""
        url = f"http://127.0.0.1:{self.listening['metrics_port']}/metrics"
        return await asyncio.to_thread(fetched, url)

    async def ended(self) -> tuple[int, list[dict[str, Any]]]:
        """Awaits the end; returns exit code and log."""
        async with asyncio.timeout(30):
            output, _ = await self.process.communicate()
        return self.process.returncode or 0, [json.loads(line) for line in output.splitlines()]


@asynccontextmanager
async def service(folder: Path, **environment: str) -> AsyncIterator[Service]:
    port_file = folder / "port"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.echo_process",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ
        | {
            "FINOPS_JWT_SECRET": JWT_SECRET,
            "FINOPS_SERVICE_TOKEN_SECRET": SERVICE_SECRET,
            "FINOPS_PORT_FILE": str(port_file),
            "FINOPS_METRICS_LISTEN": "127.0.0.1:0",
            **environment,
        },
    )

    echo = Service(process, {}, None)
    try:
        echo.listening = await logged(process, "listening")
        target = f"127.0.0.1:{echo.listening['port']}"
        async with grpc.aio.insecure_channel(target) as channel:
            echo.channel = channel
            yield echo
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def logged(process: asyncio.subprocess.Process, event: str) -> dict[str, Any]:
    """Reads the log up to the event, and returns it."""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while True:
            line: dict[str, Any] = json.loads(await process.stdout.readline())
            if line["event"] == event:
                return line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_no_accepted_call_is_lost_when_the_service_stops(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with service(tmp_path) as echo:
        stub = EchoStub(echo.channel)
        slow = [calling(stub, f"call {n}", seconds=1.0) for n in range(IN_FLIGHT)]
        await echo.in_flight(IN_FLIGHT)
        echo.process.send_signal(number)
        answers = await asyncio.gather(*slow)
        code, log = await echo.ended()

    assert [answer.text for answer in answers] == [f"call {n}" for n in range(IN_FLIGHT)]
    assert code == 0
    events = [line["event"] for line in log if line["event"] != "worker begun"]
    assert events == ["draining", "worker ended", "closed", "stopped"]


def calling(stub: EchoStub, text: str, *, seconds: float = 0.0) -> Any:
    """Sends a call and returns it."""
    return stub.Echo(EchoRequest(text=text, seconds=seconds), metadata=ADMIN)


async def test_a_call_that_outlasts_the_drain_is_cut(tmp_path: Path) -> None:
    async with service(tmp_path, FINOPS_DRAIN_SECONDS="0.5") as echo:
        stub = EchoStub(echo.channel)
        endless = calling(stub, "endless", seconds=600)
        await echo.in_flight(1)
        echo.process.terminate()
        refusal = await refused(endless)
        code, _ = await echo.ended()

    assert refusal.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert code == 0


async def test_a_second_signal_cuts_the_drain_short(tmp_path: Path) -> None:
    async with service(tmp_path, FINOPS_DRAIN_SECONDS="600") as echo:
        stub = EchoStub(echo.channel)
        endless = calling(stub, "endless", seconds=600)
        await echo.in_flight(1)
        echo.process.terminate()
        await logged(echo.process, "draining")
        echo.process.terminate()
        await refused(endless)
        code, _ = await echo.ended()

    assert code == 0


async def test_new_calls_are_refused_while_the_old_ones_end(tmp_path: Path) -> None:
    async with service(tmp_path) as echo:
        stub = EchoStub(echo.channel)
        slow = calling(stub, "old", seconds=2.0)
        await echo.in_flight(1)
        echo.process.terminate()

        await logged(echo.process, "draining")
        refusal = await refused(calling(stub, "new"))
        is_ongoing = not slow.done()
        answer = await slow

    assert is_ongoing
    assert answer.text == "old"
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")


async def test_whoever_calls_during_the_stop_is_answered_or_told_to_repeat() -> None:
    codes = []

    async def keep_calling(stub: EchoStub) -> None:
        while True:
            try:
                await calling(stub, "x")
            except grpc.aio.AioRpcError as error:
                codes.append(error.code())
                return

    async with serving(registered(EchoServicer())) as server:
        stub = EchoStub(server.plain)
        callers = [asyncio.ensure_future(keep_calling(stub)) for _ in range(50)]
        await calling(stub, "they have begun")
        await server.running.stop(20)
        await asyncio.gather(*callers)

    assert set(codes) == {grpc.StatusCode.UNAVAILABLE}


async def test_log_and_port_file_say_where_the_service_listens(tmp_path: Path) -> None:
    async with service(tmp_path) as echo:
        listening = echo.listening
        files = {path.name: path.read_text() for path in [tmp_path / "port"]}

    assert listening["services"] == ["finops.test.v1.EchoService"]
    assert (listening["service"], listening["level"]) == ("echo", "info")
    assert files == {"port": f"{listening['port']}\n"}


async def test_metrics_are_served_beside_the_calls(tmp_path: Path) -> None:
    async with service(tmp_path) as echo:
        await calling(EchoStub(echo.channel), "x")
        await refused(EchoStub(echo.channel).Echo(EchoRequest(text="x")))
        text = await echo.scraped()

    assert f'finops_rpc_server_seconds_count{{code="OK",{METHOD}}} 1.0' in text
    assert f'finops_rpc_server_seconds_count{{code="UNAUTHENTICATED",{METHOD}}} 1.0' in text
    assert f"finops_rpc_server_in_flight{{{METHOD}}} 0.0" in text
    assert "process_resident_memory_bytes" in text


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - of this machine
        return str(response.read().decode())


async def test_every_service_tells_its_health() -> None:
    async with serving(registered(EchoServicer())) as server:
        health: Any = health_pb2_grpc.HealthStub(server.plain)
        whole = await health.Check(health_pb2.HealthCheckRequest())
        one = health_pb2.HealthCheckRequest(service="finops.test.v1.EchoService")
        echo = await health.Check(one)
        refusal = await refused(health.Check(health_pb2.HealthCheckRequest(service="nothing")))

    assert whole.status == echo.status == health_pb2.HealthCheckResponse.SERVING
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_reflection_shows_the_contracts() -> None:
    async def questions() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async with serving(registered(EchoServicer())) as server:
        plain: Any = server.plain
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(plain)
        [answer] = await all_of(stub.ServerReflectionInfo(questions()))

    assert {found.name for found in answer.list_services_response.service} == {
        "finops.test.v1.EchoService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_a_service_without_permissions_does_not_start() -> None:
    settings = settings_of()
    servicer = registered(EchoServicer(), service="IncompleteService")

    with pytest.raises(ContractIncomplete, match="Unguarded has no permission"):
        await start(settings, [servicer], authenticator=Authenticator.from_settings(settings))


async def test_a_taken_address_is_not_shared() -> None:
    async with serving(registered(EchoServicer())) as server:
        settings = settings_of(listen=server.target)
        with pytest.raises(RuntimeError, match="bind"):
            await start(
                settings,
                [registered(EchoServicer())],
                authenticator=Authenticator.from_settings(settings),
            )


async def test_a_large_message_passes_and_a_larger_one_is_refused() -> None:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with (
        serving(registered(EchoServicer())) as server,
        grpc.aio.insecure_channel(server.target, options) as channel,
    ):
        large = EchoRequest(text="x", request_id="r" * (MESSAGE_BYTES_MAX - 100))
        answered = await EchoStub(channel).Echo(large, metadata=ADMIN)
        larger = EchoRequest(text="x", request_id="r" * (MESSAGE_BYTES_MAX + 1))
        refusal = await refused(EchoStub(channel).Echo(larger, metadata=ADMIN))

    assert answered.text == "x"
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_more_calls_than_allowed_at_once_are_refused() -> None:
    met, may_answer = asyncio.Event(), asyncio.Event()

    async def before(_: Any) -> None:
        met.set()
        await may_answer.wait()

    async with serving(registered(EchoServicer(before=before)), concurrent_calls_max=1) as server:
        stub = EchoStub(server.plain)
        first = calling(stub, "first")
        await met.wait()
        refusal = await refused(calling(stub, "second"))
        may_answer.set()
        answer = await first

    assert answer.text == "first"
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
