"""The code, reason, text and details of every error the kernel defines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from services.kernel import errors
from services.kernel.api_keys import InvalidApiKey
from services.kernel.caller import NoCaller, TenantMismatch, TenantRequired
from services.kernel.client import PeerTimeout, PeerUnavailable
from services.kernel.drain import ServerDraining
from services.kernel.errors import Error, to_status
from services.kernel.interceptors import InvalidRequestId, MalformedMessage
from services.kernel.key_set import SigningKeysUnavailable
from services.kernel.tokens import InvalidToken, TokenExpired

CASES = [
    (errors.Error, "INTERNAL", "INTERNAL"),
    (errors.InvalidArgument, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (errors.OutOfRange, "OUT_OF_RANGE", "OUT_OF_RANGE"),
    (errors.NotFound, "NOT_FOUND", "NOT_FOUND"),
    (errors.AlreadyExists, "ALREADY_EXISTS", "ALREADY_EXISTS"),
    (errors.FailedPrecondition, "FAILED_PRECONDITION", "FAILED_PRECONDITION"),
    (errors.Aborted, "ABORTED", "ABORTED"),
    (errors.Unauthenticated, "UNAUTHENTICATED", "UNAUTHENTICATED"),
    (errors.PermissionDenied, "PERMISSION_DENIED", "PERMISSION_DENIED"),
    (errors.Unavailable, "UNAVAILABLE", "UNAVAILABLE"),
    (errors.DeadlineExceeded, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
    (errors.ResourceExhausted, "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"),
    (InvalidApiKey, "UNAUTHENTICATED", "INVALID_API_KEY"),
    (NoCaller, "UNAUTHENTICATED", "NO_CALLER"),
    (InvalidToken, "UNAUTHENTICATED", "INVALID_TOKEN"),
    (TokenExpired, "UNAUTHENTICATED", "TOKEN_EXPIRED"),
    (TenantMismatch, "PERMISSION_DENIED", "TENANT_MISMATCH"),
    (TenantRequired, "INVALID_ARGUMENT", "TENANT_REQUIRED"),
    (MalformedMessage, "INVALID_ARGUMENT", "MALFORMED_MESSAGE"),
    (InvalidRequestId, "INVALID_ARGUMENT", "INVALID_REQUEST_ID"),
    (SigningKeysUnavailable, "UNAVAILABLE", "SIGNING_KEYS_UNAVAILABLE"),
    (ServerDraining, "UNAVAILABLE", "SERVER_DRAINING"),
    (PeerUnavailable, "UNAVAILABLE", "PEER_UNAVAILABLE"),
    (PeerTimeout, "DEADLINE_EXCEEDED", "PEER_TIMEOUT"),
]


def details_of(error: Error) -> dict[str, Any]:
    """Returns the messages packed into an error's status, by name, in order."""
    found: dict[str, Message] = {}
    for packed in to_status(error).details:
        name = packed.TypeName().rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name)()
        packed.Unpack(found[name])
    return found


@pytest.mark.parametrize(("kind", "code", "reason"), CASES)
def test_each_class_fixes_its_code_and_reason(kind: type[Error], code: str, reason: str) -> None:
    status = to_status(kind(resource="notes/1", count=3))
    info = details_of(kind(resource="notes/1", count=3))["ErrorInfo"]

    assert status.code == grpc.StatusCode[code].value[0]
    assert (info.reason, info.domain) == (reason, "finops.dev")
    assert dict(info.metadata) == {"resource": "notes/1", "count": "3"}


@pytest.mark.parametrize("kind", [kind for kind, _, _ in CASES])
def test_each_class_says_one_sentence_unless_told_more(kind: type[Error]) -> None:
    text = to_status(kind()).message

    assert text.endswith(".")
    assert "\n" not in text
    assert to_status(kind("More is known.")).message == "More is known."


def test_the_fields_at_fault_are_named() -> None:
    error = errors.FieldViolations([("a.b", "is too long"), ("c", "is missing")])
    details = details_of(error)

    assert to_status(error).code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert to_status(error).message == "a.b: is too long"
    assert list(details) == ["ErrorInfo", "BadRequest"]
    assert details["ErrorInfo"].reason == "FIELD_VIOLATIONS"
    assert [
        (found.field, found.description) for found in details["BadRequest"].field_violations
    ] == [
        ("a.b", "is too long"),
        ("c", "is missing"),
    ]


def test_a_violation_of_the_whole_message_is_its_text() -> None:
    assert to_status(errors.FieldViolations([("", "is empty")])).message == "is empty"


def test_a_used_up_limit_says_when_to_retry_and_which_it_is() -> None:
    error = errors.ResourceExhausted(
        retry_after=timedelta(seconds=1.5), violations=[("tenant:acme", "100 calls a minute")], n=1
    )
    details = details_of(error)

    assert list(details) == ["ErrorInfo", "RetryInfo", "QuotaFailure"]
    assert details["RetryInfo"].retry_delay.ToTimedelta() == timedelta(seconds=1.5)
    assert details["QuotaFailure"].violations[0].subject == "tenant:acme"
    assert details["QuotaFailure"].violations[0].description == "100 calls a minute"
    assert dict(details["ErrorInfo"].metadata) == {"n": "1"}
