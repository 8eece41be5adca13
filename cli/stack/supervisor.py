"""Starts the whole stack in order, keeps it running, and ends it in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cli.errors import StackError
from cli.stack import ports, process
from cli.stack.account import make_folder
from cli.stack.keys import StackKeys, load_or_make_keys
from cli.stack.postgres import EmbeddedPostgres
from cli.stack.processes import Child, Report, module_command, serves_grpc, serves_http
from cli.stack.redis import MISSING, EmbeddedRedis
from cli.stack.services import (
    default_port,
    gateway_environment,
    service_environment,
    service_names,
)
from cli.stack.state import ProcessState, StackState, locked, read_state
from services.kernel.clock import Clock, SystemClock
from services.kernel.migrate import migrate

DEFAULT_PORT = 8080
_SERVER_POLL_SECONDS = 0.5
OnReady = Callable[[StackState], Awaitable[None]]


def log_path(data_dir: Path, name: str) -> Path:
    """Returns where the output of one process of the stack goes."""
    return data_dir / "logs" / f"{name}.log"


@asynccontextmanager
async def database(data_dir: Path) -> AsyncIterator[str]:
    """Yields the owner's database URL: FINOPS_DATABASE_URL, else the embedded server's.

    The embedded server is started when it does not run, and then ended again.
    """
    named = os.environ.get("FINOPS_DATABASE_URL")
    if named:
        yield named
        return
    server = EmbeddedPostgres(data_dir, log_path=log_path(data_dir, "postgres"))
    was_running = server.pid is not None
    url = await server.start()
    try:
        yield url
    finally:
        if not was_running:
            await server.stop()


async def migrate_all(owner_url: str, keys: StackKeys) -> dict[str, str]:
    """Brings every service's schema up to date; returns the revision of each."""
    revisions = {}
    for name in service_names():
        revisions[name] = await migrate(owner_url, name, secret=keys.role_secret)
    return revisions


@dataclass(slots=True)
class Stack:
    """The local stack of one data directory.

    port: of the gateway; None takes 8080 when it is free. report: takes one line a step.
    services: those to run; empty runs all.
    """

    data_dir: Path
    report: Report
    port: int | None = None
    services: Sequence[str] = ()
    clock: Clock = field(default_factory=SystemClock)
    state: StackState = field(default_factory=StackState)
    _children: list[Child] = field(default_factory=list)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)
    _postgres: EmbeddedPostgres | None = None
    _redis: EmbeddedRedis | None = None

    async def run(self, on_ready: OnReady) -> None:
        """Runs until SIGINT or SIGTERM; a second one does not wait for calls in progress.

        on_ready: called once everything is healthy. Raises StackError when something cannot start.
        """
        make_folder(self.data_dir, 0o711 if os.geteuid() == 0 else 0o700)
        with locked(self.data_dir), self._signals():
            before = read_state(self.data_dir)
            await end_orphans(before, self.report)
            self._enter(before)
            work = asyncio.create_task(self._run(on_ready))
            ended = asyncio.create_task(self._ended.wait())
            try:
                await asyncio.wait((work, ended), return_when=asyncio.FIRST_COMPLETED)
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await work
            finally:
                ended.cancel()
                await self._stop()

    async def _run(self, on_ready: OnReady) -> None:
        keys = load_or_make_keys(self.data_dir)
        await self._start_servers()
        await migrate_all(self.state.database_url, keys)
        self.report("schemas are up to date")
        self._place_gateway()
        # All at once: the gateway is ready as soon as the services behind it are.
        await self._start([*self._service_children(keys), self._gateway_child()])
        self.state.phase = "ready"
        self._write()
        watches = [asyncio.create_task(child.keep_running()) for child in self._children]
        watches.append(asyncio.create_task(self._keep_servers()))
        try:
            await on_ready(self.state)
            self.state.is_loaded = True
            self._write()
            await asyncio.gather(*watches)
        finally:
            for watch in watches:
                watch.cancel()

    async def _start_servers(self) -> None:
        began = time.monotonic()
        url = os.environ.get("FINOPS_DATABASE_URL")
        if not url:
            path = log_path(self.data_dir, "postgres")
            self._postgres = EmbeddedPostgres(self.data_dir, log_path=path)
            url = await self._postgres.start()
            self.report(f"PostgreSQL answers after {time.monotonic() - began:.1f} s")
        self.state.database_url = url
        redis_url = os.environ.get("FINOPS_REDIS_URL")
        if not redis_url:
            path = log_path(self.data_dir, "redis")
            self._redis = EmbeddedRedis(self.data_dir, log_path=path)
            redis_url = await self._redis.start()
            self.report("Redis answers" if redis_url else MISSING)
        self.state.redis_url = redis_url or ""
        self._write()

    async def _start(self, children: list[Child]) -> None:
        self._children += children
        began = time.monotonic()

        async def start(child: Child) -> None:
            await child.start()
            self.report(f"{child.name} is healthy after {time.monotonic() - began:.1f} s")

        tasks = [asyncio.create_task(start(child)) for child in children]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def _place(self, name: str, port: int, *, has_metrics: bool) -> ProcessState:
        """Gives a process its ports: those of the last run when they are free."""
        last = self.state.processes.pop(name, ProcessState())
        others = self.state.processes.values()
        taken = {number for other in others for number in (other.port, other.metrics_port)}
        state = ProcessState(port=ports.kept_port(last.port or port, taken))
        if has_metrics:
            state.metrics_port = ports.kept_port(last.metrics_port, {*taken, state.port})
        self.state.processes[name] = state
        return state

    def _service_children(self, keys: StackKeys) -> list[Child]:
        names = [name for name in service_names() if not self.services or name in self.services]
        for gone in set(self.state.processes) - {*names, "gateway"}:
            del self.state.processes[gone]
        places = {name: self._place(name, default_port(name), has_metrics=True) for name in names}
        peers = {name: f"127.0.0.1:{state.port}" for name, state in places.items()}
        return [
            self._child(
                name,
                f"services.{name}",
                service_environment(
                    name,
                    data_dir=self.data_dir,
                    owner_url=self.state.database_url,
                    redis_url=self.state.redis_url,
                    keys=keys,
                    port=state.port,
                    metrics_port=state.metrics_port,
                    peers=peers,
                    public_url=self.state.rest_url,
                ),
                partial(serves_grpc, peers[name]),
            )
            for name, state in places.items()
        ]

    def _place_gateway(self) -> None:
        """Gives the gateway its port before others start, whose links for people name it."""
        if self.port is not None and not ports.claim(self.port):
            raise StackError(
                f"Port {self.port} is taken; end what listens there or choose another --port"
            )
        if self.port is not None:
            self.state.processes["gateway"] = ProcessState(port=self.port)
        state = self._place("gateway", DEFAULT_PORT, has_metrics=False)
        self.state.rest_url = f"http://127.0.0.1:{state.port}"

    def _gateway_child(self) -> Child:
        state = self.state.processes["gateway"]
        return self._child(
            "gateway",
            "gateway",
            gateway_environment(
                redis_url=self.state.redis_url, port=state.port, peers=self.state.targets
            ),
            partial(serves_http, f"{self.state.rest_url}/readyz"),
        )

    def _child(
        self,
        name: str,
        module: str,
        environment: dict[str, str],
        probe: Callable[[], Awaitable[bool]],
    ) -> Child:
        return Child(
            name=name,
            command=module_command(module),
            environment=environment,
            log_path=log_path(self.data_dir, name),
            probe=probe,
            state=self.state.processes[name],
            report=self.report,
            changed=self._write,
        )

    async def _keep_servers(self) -> None:
        """Starts the embedded servers again when they have died."""
        servers = {
            "PostgreSQL": self._postgres,
            "Redis": self._redis if self.state.redis_url else None,
        }
        while True:
            for name, server in servers.items():
                if server is not None and server.pid is None:
                    self.report(f"{name} has ended; starting it again")
                    try:
                        await server.start()
                    except StackError as error:
                        # It may have been killed while it started: the next look tries again.
                        self.report(f"{name} did not start: {error}")
            await asyncio.sleep(_SERVER_POLL_SECONDS)

    async def _stop(self) -> None:
        self.state.phase = "stopping"
        self._write()
        front = [child for child in self._children if child.name == "gateway"]
        back = [child for child in self._children if child.name != "gateway"]
        for group in (front, back):
            await asyncio.gather(*(child.stop(self._hurry) for child in group))
        if self._redis is not None:
            await self._redis.stop()
        if self._postgres is not None:
            await self._postgres.stop()
        self.state.phase = "stopped"
        self._write()
        self.report("stopped")

    def _enter(self, before: StackState) -> None:
        self.state = StackState(
            phase="starting",
            pid=os.getpid(),
            mark=process.mark(os.getpid()),
            started_at=self.clock.now().isoformat(timespec="seconds"),
            demo_tenant=before.demo_tenant,
            processes=before.processes,
        )
        self._write()

    def _write(self) -> None:
        self.state.write(self.data_dir)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def end() -> None:
            if self._ended.is_set():
                self._hurry.set()
            self._ended.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def end_orphans(state: StackState, report: Report) -> None:
    """Ends the processes that a killed stack left behind; its servers are taken over instead."""
    orphans = {name: left for name, left in state.processes.items() if left.is_alive}
    if orphans:
        report(f"ending what a killed run left behind: {', '.join(orphans)}")
    await asyncio.gather(
        *(
            process.end(left.pid, (signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0))
            for left in orphans.values()
        )
    )


async def delete_data(data_dir: Path) -> None:
    """Deletes a data directory that a stack made, and its database wherever that lies."""
    await EmbeddedPostgres(data_dir).remove()
    if read_state(data_dir).started_at:
        await asyncio.to_thread(shutil.rmtree, data_dir)


async def stop_stack(data_dir: Path, report: Report) -> bool:
    """Ends the stack of a data directory, also one whose supervisor was killed.

    Returns whether there was anything to end. Raises StackError when it does not end.
    """
    state = read_state(data_dir)
    if state.is_running:
        # Longer than the children may drain, one group after the other, and the servers after them.
        if not await process.end(state.pid, (signal.SIGTERM, 120.0)):
            raise StackError(
                f"The stack (process {state.pid}) does not end; see {log_path(data_dir, 'stack')}"
            )
        return True
    if not state.started_at:
        return False
    with locked(data_dir):
        had_children = any(left.is_alive for left in state.processes.values())
        await end_orphans(state, report)
        servers = (EmbeddedPostgres(data_dir), EmbeddedRedis(data_dir))
        had_servers = any(server.pid is not None for server in servers)
        for server in servers:
            await server.stop()
        state.phase = "stopped"
        state.write(data_dir)
    return had_children or had_servers
