"""The one error of the SDK, the same over gRPC and REST."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
_WRITE_FAILED = "Internal error from Core"
_TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED)


@dataclass(eq=False)
class ApiError(Exception):
    """A call that was answered with an error, or not answered at all (UNAVAILABLE).

    reason: stable, in upper case, what programs decide on. violations: (field path or limit, what
    is wrong with it).
    retry_after: seconds after which to try again, where the service says so.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None

    def __str__(self) -> str:
        return self.message

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed later."""
        return self.code in _TRANSIENT or self.retry_after is not None


def from_status(status: status_pb2.Status) -> ApiError:
    """Returns the error that a `google.rpc.Status` describes."""
    error = ApiError(code=code_of(status.code), message=status.message)
    for packed in status.details:
        info = error_details_pb2.ErrorInfo()
        request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        quota = error_details_pb2.QuotaFailure()
        if packed.Unpack(info):
            error.reason, error.metadata = info.reason, dict(info.metadata)
        elif packed.Unpack(request):
            error.violations = tuple(
                (violation.field, violation.description) for violation in request.field_violations
            )
        elif packed.Unpack(quota):
            error.violations = tuple(
                (violation.subject, violation.description) for violation in quota.violations
            )
        elif packed.Unpack(retry):
            error.retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return error


def code_of(number: int) -> grpc.StatusCode:
    """Returns the status code with this number; UNKNOWN where there is none."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    return codes.get(number, grpc.StatusCode.UNKNOWN)


def from_grpc(error: grpc.aio.AioRpcError) -> ApiError:
    """Returns the error behind a failed gRPC call."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                break
    if error.code() is grpc.StatusCode.INTERNAL and error.details() == _WRITE_FAILED:
        # A stream ended while this side wrote, and how it ended is lost: grpc/grpc issue 36066.
        # The next attempt learns it, so this one counts as a lost connection.
        return ApiError(code=grpc.StatusCode.UNAVAILABLE, message="the stream ended early")
    return ApiError(code=error.code(), message=error.details() or error.code().name)


_BY_HTTP = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def from_json(http_status: int, content: object) -> ApiError:
    """Returns the error of a REST answer: AIP-193 JSON, or whatever else a proxy sends."""
    body = content.get("error") if isinstance(content, dict) else None
    if not isinstance(body, dict) or not isinstance(body.get("status"), str):
        code = _BY_HTTP.get(http_status, grpc.StatusCode.UNKNOWN)
        return ApiError(code=code, message=f"the server answered HTTP {http_status}")
    code = getattr(grpc.StatusCode, body["status"], grpc.StatusCode.UNKNOWN)
    status = status_pb2.Status(code=code.value[0], message=str(body.get("message", "")))
    for detail in _details(body):
        try:
            json_format.ParseDict(detail, status.details.add())
        except json_format.ParseError:
            del status.details[-1]  # a detail of a type this version does not know
    return from_status(status)


def _details(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    details = body.get("details", [])
    return [detail for detail in details if isinstance(detail, dict)]
