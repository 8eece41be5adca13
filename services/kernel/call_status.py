"""Ends a call with a status whose details fit into metadata."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2

from services.kernel.errors import Error, to_status

STATUS_METADATA: Final = "grpc-status-details-bin"
STATUS_BYTES_MAX: Final = 4096  # in base 64 still below the 8 KiB that clients take as metadata
MESSAGE_LENGTH_MAX: Final = 200  # characters, which percent-encoding makes nine times as long


async def abort(context: Any, error: Error) -> None:
    """Sends the error as `google.rpc.Status` and raises grpc.aio.AbortError.

    context: a grpc.aio.ServicerContext; its trailing metadata is sent too.
    """
    status = bounded(to_status(error))
    details = (STATUS_METADATA, status.SerializeToString())
    trailing = (*context.trailing_metadata(), details)
    await context.abort(error.code, status.message, trailing)


def bounded(status: status_pb2.Status) -> status_pb2.Status:
    """Shortens a status: its text first, then violations, then whole details, the last first."""
    if len(status.message) > MESSAGE_LENGTH_MAX:
        status.message = status.message[: MESSAGE_LENGTH_MAX - 1] + "…"
    while status.ByteSize() > STATUS_BYTES_MAX and status.details:
        _cut(status)
    return status


def _cut(status: status_pb2.Status) -> None:
    last = status.details[-1]
    violations = error_details_pb2.BadRequest()
    if last.Unpack(violations) and len(violations.field_violations) > 1:
        del violations.field_violations[len(violations.field_violations) // 2 :]
        last.Pack(violations)
    else:
        del status.details[-1]


def code_named(code: grpc.StatusCode | None) -> str:
    """Returns a code's name; a method that sets none ends with OK."""
    return code.name if code is not None else grpc.StatusCode.OK.name
