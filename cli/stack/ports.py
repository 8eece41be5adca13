"""Ports of 127.0.0.1, which the stacks of one machine share without taking each other's."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Collection

# A port is looked at long before its server listens on it: a service takes seconds to start.
# Whoever means to use one holds a name for it meanwhile, which the system frees with the process.
_held: dict[int, int] = {}  # file descriptor of the name, by port


def is_free(port: int) -> bool:
    """Tells whether a server could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Returns a port that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def claim(port: int) -> bool:
    """Takes a free port for this process until it ends; False when another has it.

    Only stacks respect the claim. Where the system has no abstract Unix sockets, which every
    Linux has, a port is claimed by nobody and this tells only whether it is free.
    """
    if port not in _held and sys.platform == "linux":
        with socket.socket(socket.AF_UNIX) as holder:
            try:
                holder.bind(f"\0finops-port-{port}")
            except OSError:
                return False
            _held[port] = holder.detach()
    if is_free(port):
        return True
    if port in _held:
        os.close(_held.pop(port))
    return False


def kept_port(port: int | None, taken: Collection[int] = ()) -> int:
    """Claims the port used before if it can be had, else another; none of those taken."""
    while not port or port in taken or not claim(port):
        port = free_port()
    return port
