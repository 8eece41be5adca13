"""The one place that knows how a domain error becomes a gRPC status.

Domain code raises a subclass with a `reason`; its docstring is the text a caller reads, its keyword
arguments are the metadata. `to_status` turns any of them into `google.rpc.Status` with `ErrorInfo`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "finops.dev"
INTERNAL_MESSAGE = "An internal error occurred; report it with the trace id."


class Error(Exception):
    """Base of every error a caller may see."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, detail: str = "", /, **metadata: object) -> None:
        """Takes an optional sentence that says more than the class does, and the metadata."""
        self.detail = detail
        self.metadata = {key: str(value) for key, value in metadata.items()}
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The sentence for the caller: the detail given, else the class's first docstring line."""
        return self.detail or (type(self).__doc__ or "").partition("\n")[0]

    def details(self) -> list[Message]:
        """Returns the google.rpc detail messages, `ErrorInfo` first."""
        info = error_details_pb2.ErrorInfo(
            reason=self.reason, domain=DOMAIN, metadata=self.metadata
        )
        return [info]


class InvalidArgument(Error):
    """The request is not valid; correct it and send it again."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"


class FieldViolations(InvalidArgument):
    """Some fields of the request are not valid; each is named in the details."""

    reason = "FIELD_VIOLATIONS"

    def __init__(self, violations: list[tuple[str, str]]) -> None:
        """Takes (field path, what is wrong with it) pairs; at least one."""
        self.violations = violations
        first_field, first_text = violations[0]
        super().__init__(f"{first_field}: {first_text}" if first_field else first_text)

    def details(self) -> list[Message]:
        """Adds `BadRequest` with one violation a field."""
        bad_request = error_details_pb2.BadRequest()
        for field, description in self.violations:
            bad_request.field_violations.add(field=field, description=description)
        return [*super().details(), bad_request]


class OutOfRange(Error):
    """The request reaches beyond what is stored."""

    code = grpc.StatusCode.OUT_OF_RANGE
    reason = "OUT_OF_RANGE"


class NotFound(Error):
    """The resource does not exist or is not visible to this tenant."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"


class AlreadyExists(Error):
    """A resource with this name exists already."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"


class FailedPrecondition(Error):
    """The resource is not in a state that allows this."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "FAILED_PRECONDITION"


class Aborted(Error):
    """The change met another one; read the resource again and retry."""

    code = grpc.StatusCode.ABORTED
    reason = "ABORTED"


class Unauthenticated(Error):
    """The call carries no valid credential; send `Authorization: Bearer <token or API key>`."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDenied(Error):
    """The caller's roles do not allow this call."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class Unavailable(Error):
    """A part this call needs is not reachable at the moment; retry with backoff."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"


class DeadlineExceeded(Error):
    """The call took longer than it may; ask for less, or allow more time."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class ResourceExhausted(Error):
    """A limit is used up; retry after the time given."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "RESOURCE_EXHAUSTED"

    def __init__(
        self,
        detail: str = "",
        /,
        *,
        retry_after: timedelta | None = None,
        violations: list[tuple[str, str]] | None = None,
        **metadata: object,
    ) -> None:
        """Takes when to retry, and the (subject, description) of each limit that is used up."""
        self.retry_after = retry_after
        self.violations = violations or []
        super().__init__(detail, **metadata)

    def details(self) -> list[Message]:
        """Adds `RetryInfo` and `QuotaFailure` where they are known."""
        details = super().details()
        if self.retry_after is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromTimedelta(self.retry_after)
            details.append(retry)
        if self.violations:
            quota = error_details_pb2.QuotaFailure()
            for subject, description in self.violations:
                quota.violations.add(subject=subject, description=description)
            details.append(quota)
        return details


def to_status(error: Error) -> status_pb2.Status:
    """Returns the `google.rpc.Status` of a domain error."""
    code: int = error.code.value[0]
    status = status_pb2.Status(code=code, message=error.message)
    for detail in error.details():
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status
