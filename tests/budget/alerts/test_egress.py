"""The watch over what libraries connect to."""

from __future__ import annotations

import socket

import pytest

from services.budget.domain.egress import EgressPolicy
from services.budget.service.egress import EgressRefused, watched


def test_a_host_that_an_earlier_message_resolved_opens_no_way_inside() -> None:
    policy = EgressPolicy.of(["localhost"])
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        with watched(policy):
            socket.create_connection(("localhost", server.getsockname()[1])).close()

        with watched(policy), pytest.raises(EgressRefused):
            client.connect(server.getsockname())
