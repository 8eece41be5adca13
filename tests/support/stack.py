"""A whole stack, as `finops up` starts it on a machine with nothing but Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from finops_sdk import AsyncClient

from cli.connection import local_targets, local_token
from cli.stack.ports import free_port
from cli.stack.services import service_names
from cli.stack.state import ProcessState, StackState, read_state

FINOPS = Path(sys.executable).with_name("finops")
START_SECONDS_MAX = 180  # a busy machine starts six processes slowly
Question = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class RunningStack:
    """A running stack and the ways into it. start_seconds: how long `finops up` took.

    rest: speaks HTTP with the gateway, without a token of its own.
    """

    data_dir: Path
    start_seconds: float
    rest: httpx.Client

    @property
    def state(self) -> StackState:
        """The processes and addresses as they are now."""
        return read_state(self.data_dir)

    def finops(self, *arguments: str | Path) -> str:
        """Runs a command of the command line and returns its output; it must succeed."""
        return run_finops(self.data_dir, *arguments)

    def client(self, tenant: str, *, roles: Sequence[str] = ("org_admin",)) -> AsyncClient:
        """Returns a client that speaks gRPC with the services, with fresh tokens of the tenant."""
        token = local_token(self.data_dir, tenant, roles=roles)
        return AsyncClient(local_targets(self.state), token, timeout_seconds=60)

    def ask(self, tenant: str, path: str, question: Question) -> dict[str, Any]:
        """Gets an answer over REST, all pages of its rows in one."""
        headers = {"authorization": f"Bearer {local_token(self.data_dir, tenant)()}"}
        rows: list[Any] = []
        token = ""
        while True:
            response = self.rest.get(
                path, params={**question, "page_token": token}, headers=headers
            )
            assert response.status_code == httpx.codes.OK, response.text
            answer: dict[str, Any] = response.json()
            rows += answer["rows"]
            token = answer["nextPageToken"]
            if not token:
                return {**answer, "rows": rows}


def run_finops(
    data_dir: Path, *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> str:
    """Runs `finops` on a data directory with servers of its own; it must succeed."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FINOPS_")}
    result = subprocess.run(
        [FINOPS, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=START_SECONDS_MAX,
        env={**kept, "FINOPS_DATA_DIR": str(data_dir), **(environment or {})},
        cwd=data_dir,
    )
    assert result.returncode == 0, f"finops {arguments}: {result.stdout}\n{result.stderr}"
    return result.stdout


@contextmanager
def running_stack(
    *,
    demo: bool = False,
    services: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningStack]:
    """Starts a stack on free ports, and removes it with its data afterwards.

    services: those to start; empty starts all. environment: settings of every process.
    """
    folder = Path(tempfile.mkdtemp(prefix="finops-test-"))
    # Ports of their own: other stacks that start meanwhile want the default ones.
    places = {name: ProcessState(port=free_port()) for name in service_names()}
    StackState(processes=places).write(folder)
    began = time.monotonic()
    try:
        wanted = "--demo" if demo else "--no-demo"
        chosen = [part for name in services for part in ("--service", name)]
        up = ("up", wanted, "--detach", "--port", str(free_port()), *chosen)
        run_finops(folder, *up, environment=environment)
        seconds = time.monotonic() - began
        url = read_state(folder).rest_url
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as rest:
            yield RunningStack(folder, seconds, rest)
    finally:
        run_finops(folder, "down", "--purge", "--yes")
        shutil.rmtree(folder, ignore_errors=True)
