"""A domain error becomes one status with its code, reason, metadata and details."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from services.kernel import errors
from services.kernel.errors import Error, FieldViolations, ResourceExhausted, to_status

KINDS: list[tuple[type[Error], grpc.StatusCode, str]] = [
    (errors.Error, grpc.StatusCode.INTERNAL, "INTERNAL"),
    (errors.InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    (errors.OutOfRange, grpc.StatusCode.OUT_OF_RANGE, "OUT_OF_RANGE"),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"),
    (errors.FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION"),
    (errors.Aborted, grpc.StatusCode.ABORTED, "ABORTED"),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
    (errors.PermissionDenied, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    (errors.ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"),
]


def details_of(error: Error) -> list[Message]:
    """Returns the unpacked details of an error's status, in order."""
    kinds = (
        error_details_pb2.ErrorInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.RetryInfo,
        error_details_pb2.QuotaFailure,
    )
    unpacked: list[Message] = []
    for packed in to_status(error).details:
        for kind in kinds:
            if packed.Is(kind.DESCRIPTOR):
                message = kind()
                packed.Unpack(message)
                unpacked.append(message)
    return unpacked


@pytest.mark.parametrize(("kind", "code", "reason"), KINDS, ids=[reason for _, _, reason in KINDS])
def test_a_kind_fixes_code_and_reason(
    kind: type[Error], code: grpc.StatusCode, reason: str
) -> None:
    error = kind("The sentence.", budget="b1", limit=5)

    status = to_status(error)

    assert status.code == code.value[0]
    assert status.message == "The sentence."
    assert details_of(error) == [
        error_details_pb2.ErrorInfo(
            reason=reason, domain="finops.dev", metadata={"budget": "b1", "limit": "5"}
        )
    ]


@pytest.mark.parametrize(("kind", "code", "reason"), KINDS, ids=[reason for _, _, reason in KINDS])
def test_the_docstring_is_the_text_of_an_error_without_one(
    kind: type[Error], code: grpc.StatusCode, reason: str
) -> None:
    error = kind()

    assert (error.code, error.reason, error.metadata) == (code, reason, {})
    assert error.message == str(error) == (kind.__doc__ or "").splitlines()[0]


def test_violations_name_each_field() -> None:
    error = FieldViolations([("events[0].quantity", "is negative"), ("source", "is empty")])

    info, bad_request = details_of(error)

    assert error.message == "events[0].quantity: is negative"
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert info == error_details_pb2.ErrorInfo(reason="FIELD_VIOLATIONS", domain="finops.dev")
    assert isinstance(bad_request, error_details_pb2.BadRequest)
    assert [(each.field, each.description) for each in bad_request.field_violations] == [
        ("events[0].quantity", "is negative"),
        ("source", "is empty"),
    ]


def test_a_violation_of_the_whole_message_is_said_without_a_field() -> None:
    assert FieldViolations([("", "start is after end")]).message == "start is after end"


def test_an_exhausted_limit_says_what_and_when_to_retry() -> None:
    error = ResourceExhausted(
        retry_after=timedelta(seconds=1.5), violations=[("tenant:acme", "100 a second")]
    )

    _, retry, quota = details_of(error)

    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=1.5)
    assert isinstance(quota, error_details_pb2.QuotaFailure)
    assert [(each.subject, each.description) for each in quota.violations] == [
        ("tenant:acme", "100 a second")
    ]


def test_an_exhausted_limit_may_say_neither() -> None:
    assert len(details_of(ResourceExhausted("No more."))) == 1
