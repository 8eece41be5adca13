"""A world of Stripe's for each test, and workers that can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.billing.service.provider.stripe_provider import StripeProvider
from services.kernel.envelope import Envelope
from services.kernel.ids import new_id
from tests.billing.conftest import ENCRYPTION_KEY
from tests.billing.provider.charging_stage import stage
from tests.support.database import ServiceDatabase
from tests.support.stripe.edge import StripeEdge, serving_edge
from tests.support.stripe.peer import stripe_peer

__all__ = ["stage", "stripe_peer"]

WORKER = Path(__file__).with_name("push_worker.py")
ROOT = WORKER.parents[3]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the SDK give httpx its bodies in the way that httpx would rather not have."""
    allowed = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
    for item in items:
        if item.path.parent == WORKER.parent:
            item.add_marker(allowed)


@pytest.fixture
async def edge(stripe_peer: str) -> AsyncIterator[StripeEdge]:
    """An edge before an account of the test's own; every request was what the schema takes."""
    async with serving_edge(stripe_peer, f"world-{new_id()}") as found:
        yield found
        assert found.violations == []


@pytest.fixture
async def stripe(edge: StripeEdge) -> AsyncIterator[StripeProvider]:
    """The Stripe provider at the edge."""
    provider = StripeProvider("sk_test_peer", base_url=edge.url, timeout_seconds=5)
    yield provider
    await provider.close()


@pytest.fixture(scope="session")
def envelope() -> Envelope:
    """The envelope of the tests' key."""
    return Envelope([SecretStr(ENCRYPTION_KEY)])


@dataclass
class PushWorkers:
    """A worker, begun anew whenever it was killed. supervisor: its parent's process."""

    supervisor: subprocess.Popen[bytes]
    starts: int = 0

    @property
    def kills(self) -> int:
        """How many workers were killed."""
        return self.starts - 1

    def kill(self) -> None:
        """Kills the worker with SIGKILL, and starts another."""
        assert self.supervisor.stdin is not None
        assert self.supervisor.stdout is not None
        self.supervisor.stdin.write(b"another\n")
        self.supervisor.stdin.flush()
        assert int(self.supervisor.stdout.readline()) > 0
        self.starts += 1


@contextmanager
def push_workers(
    service: ServiceDatabase, edge: StripeEdge, log: Path, *, has_safeguards: bool = True
) -> Iterator[PushWorkers]:
    """Runs a worker at the edge, which may kill it."""
    told = {
        "url": service.url,
        "worker_url": service.worker_url,
        "encryption_key": ENCRYPTION_KEY,
        "stripe": edge.url,
        "has_safeguards": has_safeguards,
    }

    with log.open("ab") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "tests.billing.provider.push_worker", json.dumps(told)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        )
    with supervisor:
        workers = PushWorkers(supervisor)
        edge.kill = workers.kill
        workers.kill()
        # Its end of input ends the supervisor, and the supervisor its worker.
        yield workers
