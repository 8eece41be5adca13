"""What becomes of a peer's refusal."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import Metadata

from services.kernel.client import PeerUnavailable
from services.kernel.errors import Error
from services.reporting.convert.asking import asking
from services.reporting.errors import RecordsRefused


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.ABORTED, PeerUnavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, PeerUnavailable),
        (grpc.StatusCode.INVALID_ARGUMENT, RecordsRefused),
        (grpc.StatusCode.NOT_FOUND, RecordsRefused),
    ],
)
def test_what_a_peer_may_answer_later_is_no_refusal(
    code: grpc.StatusCode, expected: type[Error]
) -> None:
    error = grpc.aio.AioRpcError(code, Metadata(), Metadata(), details="said so")

    with pytest.raises(expected, match="said so") as raised, asking("acme", RecordsRefused):
        raise error

    assert raised.value.metadata == {"code": code.name}
