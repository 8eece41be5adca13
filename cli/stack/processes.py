"""One process of the stack: started, watched, started again after a crash, ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.errors import StackError
from cli.stack import process
from cli.stack.logs import open_log, tail
from cli.stack.state import ProcessState

_READY_SECONDS = 90.0
_POLL_SECONDS = 0.05
_PROBE_SECONDS = 2.0
_DRAIN_SECONDS = 30.0  # services drain for up to 20 s by themselves
_BACKOFF_SECONDS = 0.5
_BACKOFF_SECONDS_MAX = 10.0
_STEADY_SECONDS = 10.0  # a process that ran this long begins with a short pause again

Probe = Callable[[], Awaitable[bool]]
Report = Callable[[str], None]


async def serves_grpc(target: str) -> bool:
    """Tells whether the service at the address says it is SERVING."""
    async with grpc.aio.insecure_channel(target) as channel:
        try:
            health: Any = health_pb2_grpc.HealthStub(channel)  # its type stub names no method
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def serves_http(url: str) -> bool:
    """Tells whether the address answers 200."""
    async with httpx.AsyncClient(trust_env=False, timeout=_PROBE_SECONDS) as client:
        try:
            return (await client.get(url)).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def module_command(module: str) -> list[str]:
    """Returns the command that runs a module of this environment."""
    return [sys.executable, "-m", module]


@dataclass(slots=True)
class Child:
    """A process that is kept running until it is stopped."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log_path: Path
    probe: Probe
    state: ProcessState
    report: Report
    changed: Callable[[], None]
    _process: asyncio.subprocess.Process | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Starts the process and returns when it is healthy.

        Raises StackError with the end of its log when it ends before, or is not healthy in time.
        """
        await self._spawn()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _READY_SECONDS
        while loop.time() < deadline:
            if self._process is None or self._process.returncode is not None:
                raise StackError(f"{self.name} did not start. {self._log_end()}")
            if await self.probe():
                return
            await asyncio.sleep(_POLL_SECONDS)
        raise StackError(
            f"{self.name} is not healthy after {_READY_SECONDS:.0f} s. {self._log_end()}"
        )

    async def keep_running(self) -> None:
        """Waits for the process to end and starts it again, until `stop`."""
        loop = asyncio.get_running_loop()
        pause = _BACKOFF_SECONDS
        while self._process is not None:
            began = loop.time()
            code = await self._process.wait()
            if self._stopping.is_set():
                return
            if loop.time() - began > _STEADY_SECONDS:
                pause = _BACKOFF_SECONDS
            self.report(
                f"{self.name} {_ending(code)}; starting again in {pause:g} s, see {self.log_path}"
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return
            pause = min(pause * 2, _BACKOFF_SECONDS_MAX)
            self.state.restarts += 1
            await self._spawn()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Asks the process to end, and ends it when it takes too long or `hurry` is set."""
        self._stopping.set()
        running = self._process
        if running is None or running.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            running.send_signal(signal.SIGTERM)
        waits = [asyncio.create_task(running.wait()), asyncio.create_task(hurry.wait())]
        await asyncio.wait(waits, timeout=_DRAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
        await waits[0]
        waits[1].cancel()

    async def _spawn(self) -> None:
        with open_log(self.log_path) as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.environment),
                start_new_session=True,  # Ctrl-C in the terminal reaches the supervisor alone
            )
        self.state.pid = self._process.pid
        self.state.mark = process.mark(self._process.pid)
        self.changed()

    def _log_end(self) -> str:
        return f"The end of {self.log_path}:\n{tail(self.log_path)}"


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
