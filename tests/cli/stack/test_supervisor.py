"""The stack starts in order, mends itself, ends in order, and survives being killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.stack import process
from cli.stack.postgres import EmbeddedPostgres
from cli.stack.state import StackState, read_state
from cli.stack.supervisor import stop_stack

_SECONDS = 60.0
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="finops-test-") as folder:
        yield Path(folder) / "stack"


@pytest.fixture
def start(data_dir: Path) -> Iterator[Start]:
    """Starts stacks on the data directory, and ends what is left of them."""
    started: list[subprocess.Popen[str]] = []

    def run(*names: str, port: str = "-") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.cli.stack.run_stack", str(data_dir), port]
        child = subprocess.Popen(
            [*command, *(names or ("usage", "budget"))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(child)
        return child

    yield run
    for child in started:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        child.communicate(timeout=_SECONDS)
    left = [item.pid for item in read_state(data_dir).processes.values() if item.is_alive]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    asyncio.run(stop_stack(data_dir, report=print))
    asyncio.run(EmbeddedPostgres(data_dir).remove())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def ready(data_dir: Path, child: subprocess.Popen[str]) -> StackState:
    def is_ready() -> bool:
        assert child.poll() is None, child.communicate()[0]
        state = read_state(data_dir)
        return state.pid == child.pid and state.phase == "ready"

    wait_for(is_ready)
    return read_state(data_dir)


def finish(child: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    child.send_signal(number)
    return child.communicate(timeout=_SECONDS)[0]


@pytest.mark.e2e
def test_a_stack_starts_and_ends_cleanly_twice_on_the_same_ports(
    data_dir: Path, start: Start
) -> None:
    addresses = []
    for number in (signal.SIGINT, signal.SIGTERM):
        child = start()
        state = ready(data_dir, child)
        addresses.append((state.rest_url, state.targets, state.database_url))

        output = finish(child, number)

        assert child.returncode == 0, output
        assert not any(item.is_alive for item in state.processes.values())
        assert EmbeddedPostgres(data_dir).pid is None
    assert addresses[0] == addresses[1]


@pytest.mark.fault
def test_a_crashed_process_and_a_crashed_database_come_back(data_dir: Path, start: Start) -> None:
    child = start()
    before = ready(data_dir, child)
    postgres = EmbeddedPostgres(data_dir)
    assert postgres.pid is not None

    os.kill(before.processes["usage"].pid, signal.SIGKILL)
    os.kill(postgres.pid, signal.SIGKILL)
    wait_for(lambda: read_state(data_dir).processes["usage"].restarts == 1)
    wait_for(lambda: read_state(data_dir).processes["usage"].is_alive)
    wait_for(lambda: postgres.pid is not None)

    output = finish(child)
    assert "usage was ended by SIGKILL; starting again" in output
    assert "PostgreSQL has ended; starting it again" in output


@pytest.mark.fault
def test_what_a_killed_stack_left_behind_is_taken_over(data_dir: Path, start: Start) -> None:
    child = start()
    before = ready(data_dir, child)
    server = EmbeddedPostgres(data_dir).pid

    child.kill()
    child.wait()
    assert all(item.is_alive for item in before.processes.values())
    second = start()
    after = ready(data_dir, second)

    assert not any(item.is_alive for item in before.processes.values())
    assert EmbeddedPostgres(data_dir).pid == server
    assert after.rest_url == before.rest_url
    assert "ending what a killed run left behind" in finish(second)


@pytest.mark.e2e
def test_a_second_stack_on_the_same_data_is_refused(data_dir: Path, start: Start) -> None:
    first = start()
    ready(data_dir, first)

    second = start()
    output = second.communicate(timeout=_SECONDS)[0]

    assert second.returncode == 1
    assert f"A stack runs on {data_dir} already (process {first.pid}, http://" in output
    assert "finops down" in output
    assert process.is_alive(first.pid)


@pytest.mark.e2e
def test_a_service_that_does_not_start_is_shown_with_its_log(data_dir: Path, start: Start) -> None:
    child = start("broken")

    output = child.communicate(timeout=_SECONDS)[0]

    assert child.returncode == 1
    assert "broken did not start" in output
    assert "FINOPS_EXAMPLE" in output
    assert EmbeddedPostgres(data_dir).pid is None


@pytest.mark.e2e
def test_a_port_that_is_taken_is_named(start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        child = start(port=str(port))
        output = child.communicate(timeout=_SECONDS)[0]

    assert child.returncode == 1
    assert f"Port {port} is taken" in output


@pytest.mark.e2e
def test_secrets_are_for_their_owner_only(data_dir: Path, start: Start) -> None:
    ready(data_dir, start())

    for name in ("stack.json", "secrets.json", "postgres.json"):
        assert (data_dir / name).stat().st_mode & 0o077 == 0, name
