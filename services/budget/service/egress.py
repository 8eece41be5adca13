"""Connections to where tenants say, and never into this network.

A name is resolved once, every address it has is checked, and the connection goes to the address
that was checked: so a name that resolves to something else a moment later leads nowhere else.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from services.budget.domain.alert_errors import AddressRefused
from services.budget.domain.egress import EgressPolicy

RESOLVE_SECONDS = 5.0


class EgressRefused(OSError):
    """A library that sends for a tenant tried to connect into this network."""


async def checked_address(policy: EgressPolicy, host: str, port: int) -> str:
    """Returns an address of the host that may be connected to.

    Raises AddressRefused when one of its addresses is inside, OSError or TimeoutError when the name
    does not resolve.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(RESOLVE_SECONDS):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        if not policy.allows(host, address):
            # The address itself is not told: it would map this network for whoever asks.
            raise AddressRefused(
                f"{host} is inside this network; the operator can allow it by FINOPS_EGRESS_ALLOW",
                host=host,
            )
    return addresses[0]


class _Watched(threading.local):
    policy: EgressPolicy | None = None
    host: str = ""


_watched = _Watched()
_installing = threading.Lock()
_installed: list[bool] = []


@contextmanager
def watched(policy: EgressPolicy) -> Iterator[None]:
    """Refuses connections into this network that the thread tries inside the block.

    For libraries that connect by themselves, redirects and look-ups included: the interpreter's
    audit hook sees each before it happens, and whatever a library connects to has to be an address
    by then. Raises EgressRefused inside the library.
    """
    with _installing:
        if not _installed:
            sys.addaudithook(_audit)
            _installed.append(True)
    # A host that this thread resolved for another message says nothing of this one.
    _watched.policy, _watched.host = policy, ""
    try:
        yield
    finally:
        _watched.policy = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not event.startswith("socket."):
        return
    policy = _watched.policy
    if policy is None:
        return
    if event == "socket.getaddrinfo":
        _watched.host = str(arguments[0] or "")
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        target = arguments[1]
        address = str(target[0]) if isinstance(target, tuple) else ""
        if not policy.allows(_watched.host, address):
            raise EgressRefused(f"{_watched.host or address} is inside this network")
