"""The one place that knows how an error becomes an HTTP answer.

Bodies follow AIP-193, statuses follow grpc-gateway: `{"error": {code, status, message, details}}`.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any, ClassVar, Final

import grpc
import grpc.aio
from google.protobuf import any_pb2, json_format
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from starlette.responses import Response

from services.kernel.errors import (
    INTERNAL_MESSAGE,
    DeadlineExceeded,
    Error,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    to_status,
)

NOT_MODIFIED: Final = int(HTTPStatus.NOT_MODIFIED)
NO_CONTENT: Final = int(HTTPStatus.NO_CONTENT)
OK: Final = int(HTTPStatus.OK)
UNREADY: Final = int(HTTPStatus.SERVICE_UNAVAILABLE)
FOUND: Final = int(HTTPStatus.TEMPORARY_REDIRECT)
CLIENT_CLOSED_REQUEST: Final = 499

STATUS_DETAILS = "grpc-status-details-bin"
RETRY_SECONDS_DEFAULT = 1

HTTP_STATUS: Final[dict[grpc.StatusCode, int]] = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: CLIENT_CLOSED_REQUEST,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
}

# What a caller may meet on any operation; the document at /openapi.json lists exactly these.
DOCUMENTED: Final[dict[int, str]] = {
    400: "The request is not valid, or the state does not allow it; `details` name the field.",
    401: "The call carries no valid credential.",
    403: "The caller's roles do not allow this call, or it names another tenant.",
    404: "The resource does not exist or is not visible to this tenant.",
    405: "The path does not take this method; `Allow` lists those it takes.",
    408: "The body did not arrive in time.",
    409: "The resource exists already, or the change met another one.",
    413: "The body, or one line of it, is larger than the gateway takes.",
    414: "The path with its query is longer than the gateway takes.",
    415: "The content type or encoding of the body is not one that this method takes.",
    429: "A limit is used up; `Retry-After` says when to try again.",
    431: "The headers are larger than the gateway takes.",
    499: "The caller went away.",
    500: "An internal error occurred; report it with the request id.",
    501: "The service does not offer this method.",
    503: "The service is not reachable at the moment; retry with backoff.",
    504: "The deadline passed; ask for less, or allow more time.",
}


class RouteNotFound(NotFound):
    """No method is bound to this path."""

    reason = "ROUTE_NOT_FOUND"


class MalformedPath(InvalidArgument):
    """The path cannot be read; percent-encode UTF-8."""

    reason = "MALFORMED_PATH"


class MalformedBody(InvalidArgument):
    """The body cannot be read as what the method takes."""

    reason = "MALFORMED_BODY"


class MalformedHeader(InvalidArgument):
    """A header cannot be read; correct it."""

    reason = "MALFORMED_HEADER"


class UnknownParameter(InvalidArgument):
    """The query names a parameter that the method does not take."""

    reason = "UNKNOWN_PARAMETER"


class RateLimited(ResourceExhausted):
    """Too many requests; wait as long as Retry-After says."""

    reason = "RATE_LIMITED"


class HttpError(Error):
    """Base of the errors that HTTP has a status for and gRPC has none."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    http_status: ClassVar[int] = 400


class MethodNotAllowed(HttpError):
    """The path does not take this method; Allow lists those it takes."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "METHOD_NOT_ALLOWED"
    http_status = 405

    def __init__(self, allowed: list[str]) -> None:
        """Takes the methods that the path does take."""
        self.allowed = allowed
        super().__init__(allowed=",".join(allowed))


class BodyTooSlow(HttpError):
    """The body did not arrive in time."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "BODY_TOO_SLOW"
    http_status = 408


class BodyTooLarge(HttpError):
    """The body is larger than the gateway takes; send it in parts."""

    reason = "BODY_TOO_LARGE"
    http_status = 413


class TargetTooLong(HttpError):
    """The path with its query is longer than the gateway takes."""

    reason = "TARGET_TOO_LONG"
    http_status = 414


class UnsupportedMediaType(HttpError):
    """The content type or encoding of the body is not one that this method takes."""

    reason = "UNSUPPORTED_MEDIA_TYPE"
    http_status = 415


class HeadersTooLarge(HttpError):
    """The headers are larger than the gateway takes."""

    reason = "HEADERS_TOO_LARGE"
    http_status = 431


class ClientClosed(Error):
    """The caller went away before the answer."""

    code = grpc.StatusCode.CANCELLED
    reason = "CLIENT_CLOSED"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in the form that HTTP sends it."""

    http_status: int
    code: grpc.StatusCode
    status: status_pb2.Status
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """Returns the AIP-193 document as JSON on one line."""
        error = {
            "code": self.http_status,
            "status": self.code.name,
            "message": self.status.message,
            "details": [_detail(detail) for detail in self.status.details],
        }
        return json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":")).encode()

    def response(self) -> Response:
        """Returns the HTTP response."""
        return Response(self.body(), self.http_status, self.headers, "application/json")


def failure_of(error: BaseException) -> Failure:
    """Returns what the caller sees of any error; the unknown become INTERNAL with constant text."""
    if isinstance(error, grpc.aio.AioRpcError):
        return _failure_of_call(error)
    if isinstance(error, Error):
        http_status = getattr(error, "http_status", HTTP_STATUS[error.code])
        allowed = {"allow": ", ".join(error.allowed)} if isinstance(error, MethodNotAllowed) else {}
        return _failure(error.code, to_status(error), http_status, allowed)
    return _failure(grpc.StatusCode.INTERNAL, to_status(Error(INTERNAL_MESSAGE)))


def is_fault(http_status: int) -> bool:
    """Tells whether an answer is a fault of the suite's, which an operator must see."""
    return http_status >= HTTP_STATUS[grpc.StatusCode.INTERNAL]


def _failure_of_call(error: grpc.aio.AioRpcError) -> Failure:
    code = error.code()
    status = status_pb2.Status()
    packed = (error.trailing_metadata() or grpc.aio.Metadata()).get(STATUS_DETAILS)
    if isinstance(packed, bytes):
        try:
            status.ParseFromString(packed)
        except DecodeError:
            status.Clear()
    if not status.details:
        status = _bare_status(code, error.details() or "")
    return _failure(code, status)


def _bare_status(code: grpc.StatusCode, text: str) -> status_pb2.Status:
    """Describes a failure without details: the transport's, whose text would name addresses."""
    if code is grpc.StatusCode.UNAVAILABLE:
        return to_status(Unavailable())
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return to_status(DeadlineExceeded())
    if HTTP_STATUS[code] == HTTP_STATUS[grpc.StatusCode.INTERNAL]:
        return to_status(Error(INTERNAL_MESSAGE))
    status = to_status(Error(text or code.name))
    status.details.clear()
    info = error_details_pb2.ErrorInfo(reason=code.name, domain="finops.dev")
    status.details.add().Pack(info)
    return status


def _failure(
    code: grpc.StatusCode,
    status: status_pb2.Status,
    http_status: int | None = None,
    headers: dict[str, str] | None = None,
) -> Failure:
    found = dict(headers or {})
    seconds = _retry_seconds(status)
    if seconds is None and code is grpc.StatusCode.UNAVAILABLE:
        seconds = RETRY_SECONDS_DEFAULT
    if seconds is not None:
        found["retry-after"] = str(seconds)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        found["www-authenticate"] = "Bearer"
    return Failure(http_status or HTTP_STATUS[code], code, status, found)


def _retry_seconds(status: status_pb2.Status) -> int | None:
    for detail in status.details:
        if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            delay: timedelta = retry.retry_delay.ToTimedelta()
            return max(1, math.ceil(delay.total_seconds()))
    return None


def _detail(detail: any_pb2.Any) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json_format.MessageToDict(detail)
    except (TypeError, DecodeError, json_format.Error):
        # A type that is not in this process: its bytes still reach a caller who knows it.
        value = base64.b64encode(detail.value).decode()
        return {"@type": detail.type_url, "value": value}
    return document
