"""One durable step at a provider, and what to do with it next: pure.

A step is written down before it is sent. What is not known afterwards is asked before it is said
again: an answer that came back may be repeated by the provider for ever, so only a new key can do
better, and only when the provider has nothing to show for the old one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

# A provider forgets keys after 24 hours; from then on the same key would do the step again.
KEY_LIFETIME = timedelta(hours=20)
ATTEMPTS_MAX = 100  # with the pauses below, about a day of failures
PAUSE = timedelta(seconds=0.25)
PAUSE_MAX = timedelta(minutes=15)


class Step(Enum):
    """What is done at the provider."""

    CUSTOMER = "customer"
    CREATE = "create"
    LINES = "lines"
    FINALIZE = "finalize"
    PAY = "pay"
    SETTLE = "settle"
    VOID = "void"
    CREDIT = "credit"
    METER = "meter"
    PRICE = "price"
    SUBSCRIBE = "subscribe"
    REPORT = "report"
    TAKE_BACK = "take_back"


class OperationState(Enum):
    """How far a step is."""

    SENDING = "sending"
    SUCCEEDED = "succeeded"
    RETRYING = "retrying"
    READ_BACK = "read_back"
    FAILED = "failed"


class Move(Enum):
    """What to do next."""

    SEND = "send"
    ASK = "ask"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A step as it is kept. operation_key: ours, stable over attempts."""

    operation_key: str
    step: Step
    state: OperationState
    attempt: int
    idempotency_key: str
    request_hash: str
    first_sent_at: datetime
    invoice_id: str = ""
    provider: str = ""
    provider_object_id: str = ""
    http_status: int = 0
    provider_request_id: str = ""
    error: str = ""
    next_attempt_at: datetime | None = None


def idempotency_key(tenant_id: str, operation_key: str, attempt: int) -> str:
    """Returns the key of an attempt, the same for the same attempt after any crash.

    At most 255 characters: a tenant has 63, and an operation key here less than 150.
    """
    return f"{tenant_id}:{operation_key}:a{attempt}"


def begin(
    tenant_id: str,
    operation_key: str,
    step: Step,
    *,
    request_hash: str,
    provider: str,
    now: datetime,
    invoice_id: str = "",
) -> Operation:
    """Returns the step as it is written down before it is first sent."""
    return Operation(
        operation_key=operation_key,
        step=step,
        state=OperationState.SENDING,
        attempt=1,
        idempotency_key=idempotency_key(tenant_id, operation_key, 1),
        request_hash=request_hash,
        first_sent_at=now,
        invoice_id=invoice_id,
        provider=provider,
    )


def next_move(operation: Operation, *, is_new: bool, now: datetime) -> Move:
    """Returns what to do. is_new: it was written down just now, so nothing was sent."""
    if operation.state in (OperationState.SUCCEEDED, OperationState.FAILED):
        return Move.NOTHING
    if is_new:
        return Move.SEND
    if operation.state is OperationState.READ_BACK:
        return Move.ASK
    if now - operation.first_sent_at > KEY_LIFETIME:
        return Move.ASK
    return Move.SEND


def succeeded(operation: Operation, provider_object_id: str, *, request_id: str = "") -> Operation:
    """Returns the step when it is done."""
    return replace(
        operation,
        state=OperationState.SUCCEEDED,
        provider_object_id=provider_object_id,
        provider_request_id=request_id or operation.provider_request_id,
        http_status=200,
        error="",
        next_attempt_at=None,
    )


def unanswered(operation: Operation, error: str, *, now: datetime) -> Operation:
    """Returns the step when no answer came, or none was possible yet: the same key again."""
    return replace(
        operation,
        state=OperationState.SENDING,
        error=error,
        next_attempt_at=now + pause(operation.attempt),
    )


def answered_badly(
    operation: Operation, error: str, *, http_status: int, request_id: str, now: datetime
) -> Operation:
    """Returns the step when an error came back: ask what the provider has before anything else."""
    return replace(
        operation,
        state=OperationState.READ_BACK,
        error=error,
        http_status=http_status,
        provider_request_id=request_id,
        next_attempt_at=now + pause(operation.attempt),
    )


def next_attempt(tenant_id: str, operation: Operation, *, now: datetime) -> Operation:
    """Returns the step under a new key, once the provider has nothing to show for the old one."""
    attempt = operation.attempt + 1
    return replace(
        operation,
        state=OperationState.RETRYING,
        attempt=attempt,
        idempotency_key=idempotency_key(tenant_id, operation.operation_key, attempt),
        first_sent_at=now,
    )


def failed(operation: Operation, error: str, *, http_status: int, request_id: str) -> Operation:
    """Returns the step when it is refused for good."""
    return replace(
        operation,
        state=OperationState.FAILED,
        error=error,
        http_status=http_status,
        provider_request_id=request_id or operation.provider_request_id,
        next_attempt_at=None,
    )


def pause(attempt: int) -> timedelta:
    """Returns how long to wait before the next try: doubles, with jitter."""
    bound = min(PAUSE * (1 << min(attempt, 12)), PAUSE_MAX)
    return bound * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, keeps no secret
