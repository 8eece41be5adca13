"""Which addresses count as inside."""

from __future__ import annotations

import pytest

from services.budget.domain.egress import EgressPolicy


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104 - refused, not bound
        "::1",
        "::ffff:10.0.0.1",
        "fd00::1",
        "fe80::1%eth0",
        "fec0::1",  # site-local: withdrawn, and still routed where it was set up
        "2002:a00:1::",  # 6to4 of 10.0.0.1
        "64:ff9b::10.0.0.1",
        "64:ff9b:1:a00:0:100:808:808",  # a translator's own prefix, 10.0.0.1 in the middle
        "localhost",
    ],
)
def test_an_inside_address_is_refused_however_it_is_written(address: str) -> None:
    assert not EgressPolicy().allows("hooks.example.com", address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_a_public_address_is_allowed(address: str) -> None:
    assert EgressPolicy().allows("hooks.example.com", address)


def test_the_operator_allows_a_host_an_address_or_a_network() -> None:
    policy = EgressPolicy.of([" Hooks.internal. ", "fec0::/10"])

    assert policy.allows("hooks.internal", "10.0.0.1")
    assert policy.allows("other.internal", "fec0::1")
    assert not policy.allows("other.internal", "10.0.0.1")
