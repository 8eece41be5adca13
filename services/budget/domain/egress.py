"""Which addresses the service may send to, so that a channel cannot reach into this network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

_NAT64 = IPv6Network("64:ff9b::/96")
# Networks of their own that `is_global` takes for public: site-local addresses (RFC 3879), and a
# network's own translation prefix (RFC 8215), which can hide an IPv4 address at several places.
_LOCAL = (IPv6Network("fec0::/10"), IPv6Network("64:ff9b:1::/48"))


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Refuses what is not on the public internet, unless the operator allows the host.

    allowed: host names as channels write them, addresses, or networks such as 10.1.0.0/16.
    """

    allowed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, allowed: Iterable[str]) -> EgressPolicy:
        """Takes the operator's list."""
        return cls(frozenset(host.strip().lower().rstrip(".") for host in allowed if host.strip()))

    def allows(self, host: str, address: str) -> bool:
        """Tells whether a host that resolved to an address may be connected to."""
        if host.lower().rstrip(".").strip("[]") in self.allowed:
            return True
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return is_public(parsed) or any(_holds(network, parsed) for network in self.allowed)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tells whether an address is on the public internet, also where it wraps another."""
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    if any(address in network for network in _LOCAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Returns the IPv4 address that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]


def _holds(network: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False
