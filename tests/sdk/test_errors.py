"""Which failures are worth trying again."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest
from finops_sdk.errors import from_grpc


@pytest.mark.parametrize(
    ("code", "details", "is_transient"),
    [
        (grpc.StatusCode.INTERNAL, "Internal error from Core", True),
        (grpc.StatusCode.INTERNAL, "An internal error occurred", False),
        (grpc.StatusCode.UNAVAILABLE, "draining", True),
    ],
)
def test_a_write_that_failed_as_its_stream_ended_is_a_lost_connection(
    code: grpc.StatusCode, details: str, *, is_transient: bool
) -> None:
    failure = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)

    assert from_grpc(failure).is_transient is is_transient
