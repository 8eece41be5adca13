"""Ports that several stacks of one machine choose at the same time."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from cli.stack import ports

_CLAIM = "import sys; from cli.stack import ports; print(ports.claim(int(sys.argv[1])), flush=True)"


def claimed_elsewhere(port: int, *, then: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", f"{_CLAIM}; {then or 'pass'}", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


@pytest.mark.skipif(sys.platform != "linux", reason="ports are claimed on Linux only")
def test_two_stacks_do_not_choose_one_port_before_either_listens() -> None:
    port = ports.free_port()
    other = claimed_elsewhere(port, then="sys.stdin.read()")
    with other:
        assert answer(other) == "True"

        assert not ports.claim(port)
        assert ports.kept_port(port) != port

        other.kill()
        other.wait()
        assert ports.claim(port)  # the claim ends with its process, however that ends
    with claimed_elsewhere(port) as third:
        assert answer(third) == "False"


def test_a_port_in_use_is_not_claimed_and_left_to_others_afterwards() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        assert not ports.claim(port)
        assert ports.kept_port(port) != port

    with claimed_elsewhere(port) as other:
        assert answer(other) == "True"


def test_a_claimed_port_is_kept_and_those_taken_are_avoided() -> None:
    port = ports.kept_port(None)

    assert ports.kept_port(port) == port
    assert ports.kept_port(port, {port}) != port
