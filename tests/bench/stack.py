"""A stack for one bench, as `finops up` starts it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cli.stack.keys import load_or_make_keys
from cli.stack.ports import free_port
from cli.stack.state import StackState, read_state
from cli.tokens import sign_token
from services.kernel.clock import SystemClock
from services.kernel.migrate import service_role, service_url, worker_role

FINOPS = Path(sys.executable).with_name("finops")


@dataclass(frozen=True, slots=True)
class BenchStack:
    """A running stack and how to reach it. stripe_port: where its services expect Stripe."""

    data_dir: Path
    state: StackState
    stripe_port: int

    @property
    def usage_address(self) -> str:
        """Where the usage service serves gRPC."""
        return f"127.0.0.1:{self.state.processes['usage'].port}"

    @property
    def budget_address(self) -> str:
        """Where the budget service serves gRPC."""
        return f"127.0.0.1:{self.state.processes['budget'].port}"

    @property
    def budget_pid(self) -> int:
        """The budget service's process."""
        return self.state.processes["budget"].pid

    @property
    def reporting_address(self) -> str:
        """Where the reporting service serves gRPC."""
        return f"127.0.0.1:{self.state.processes['reporting'].port}"

    @property
    def reporting_pid(self) -> int:
        """The reporting service's process."""
        return self.state.processes["reporting"].pid

    @property
    def usage_pid(self) -> int:
        """The usage service's process."""
        return self.state.processes["usage"].pid

    @property
    def usage_database_url(self) -> str:
        """The database as the usage service's own role."""
        secret = load_or_make_keys(self.data_dir).role_secret
        return service_url(self.state.database_url, service_role("usage"), secret)

    @property
    def usage_worker_url(self) -> str:
        """The database as the role of the usage service's workers."""
        secret = load_or_make_keys(self.data_dir).role_secret
        return service_url(self.state.database_url, worker_role("usage"), secret)

    @property
    def budget_database_url(self) -> str:
        """The database as the budget service's own role."""
        secret = load_or_make_keys(self.data_dir).role_secret
        return service_url(self.state.database_url, service_role("budget"), secret)

    @property
    def budget_worker_url(self) -> str:
        """The database as the budget service's worker."""
        secret = load_or_make_keys(self.data_dir).role_secret
        return service_url(self.state.database_url, worker_role("budget"), secret)

    def token(self, tenant: str) -> str:
        """Returns a token of an organisation's admin."""
        return sign_token(
            load_or_make_keys(self.data_dir),
            tenant=tenant,
            subject="bench",
            roles=["org_admin"],
            now=SystemClock().now(),
            life=timedelta(hours=6),
        )


@contextmanager
def running_stack(services: Sequence[str] = ()) -> Iterator[BenchStack]:
    """Starts a stack on free ports, and removes it with its data afterwards.

    services: those to start; empty starts all.
    """
    folder = Path(tempfile.mkdtemp(prefix="finops-bench-"))
    data = ["--data-dir", str(folder)]
    port, stripe_port = str(free_port()), free_port()
    up: list[str | Path] = [FINOPS, "up", "--no-demo", "--detach", "--port", port, *data]
    up += [part for name in services for part in ("--service", name)]
    environment = {
        **os.environ,
        # The benches' own receivers of notifications are on this machine.
        "FINOPS_EGRESS_ALLOW": "127.0.0.1",
        "FINOPS_STRIPE_ADDRESS": f"http://127.0.0.1:{stripe_port}",
    }
    subprocess.run(up, check=True, stdout=sys.stderr, env=environment)
    try:
        yield BenchStack(folder, read_state(folder), stripe_port)
    finally:
        down: list[str | Path] = [FINOPS, "down", "--purge", "--yes", *data]
        subprocess.run(down, check=True, stdout=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
