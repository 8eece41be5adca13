"""What runs: `<data_dir>/stack.json` for other commands, and the lock against a second stack."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cli.errors import StackError, Unreachable
from cli.stack import private, process

FILE = "stack.json"
Phase = Literal["starting", "ready", "stopping", "stopped"]


@dataclass(slots=True)
class ProcessState:
    """One process of the stack. mark: tells it from a later process with the same id."""

    pid: int = 0
    mark: str = ""
    port: int = 0
    metrics_port: int = 0
    restarts: int = 0

    @property
    def is_alive(self) -> bool:
        """Whether the process itself still runs."""
        return process.is_same(self.pid, self.mark)


@dataclass(slots=True)
class StackState:
    """The stack as it stands. URLs contain passwords, so the file is for its owner only.

    is_loaded: whether everything that follows the start, such as the demo, is done too.
    """

    phase: Phase = "stopped"
    pid: int = 0
    mark: str = ""
    started_at: str = ""
    rest_url: str = ""
    database_url: str = ""
    redis_url: str = ""
    is_loaded: bool = False
    demo_tenant: str = ""
    processes: dict[str, ProcessState] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """Whether the process that supervises the stack lives."""
        return process.is_same(self.pid, self.mark)

    @property
    def targets(self) -> dict[str, str]:
        """Address of each service's gRPC server."""
        return {
            name: f"127.0.0.1:{state.port}"
            for name, state in self.processes.items()
            if state.port and name != "gateway"
        }

    def write(self, data_dir: Path) -> None:
        """Replaces the state file."""
        private.write(data_dir / FILE, asdict(self))


def read_state(data_dir: Path) -> StackState:
    """Returns the state as last written, which may be that of a stack that was killed."""
    content: dict[str, Any] = private.read(data_dir / FILE)
    processes = {
        name: ProcessState(**values) for name, values in content.pop("processes", {}).items()
    }
    return StackState(**content, processes=processes)


def running_state(data_dir: Path) -> StackState:
    """Returns the state of a running stack. Raises Unreachable when none runs here."""
    state = read_state(data_dir)
    if not state.is_running:
        raise Unreachable(
            f"No stack runs on {data_dir}; start one with `finops up --data-dir {data_dir}`, or "
            "name another with --data-dir or --url"
        )
    return state


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Holds the data directory; the system lets go of it even after kill -9.

    Raises StackError when another stack holds it.
    """
    descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            state = read_state(data_dir)
            address = f", {state.rest_url}" if state.rest_url else ""
            raise StackError(
                f"A stack runs on {data_dir} already (process {state.pid}{address}); stop it with "
                f"`finops down --data-dir {data_dir}`, or choose another --data-dir"
            ) from None
        yield
    finally:
        os.close(descriptor)
