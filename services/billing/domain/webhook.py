"""Webhooks: which events matter, and when to try one again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum


class EventState(Enum):
    """What became of an event."""

    RECEIVED = "received"
    HANDLED = "handled"
    IGNORED = "ignored"
    FOREIGN = "foreign"
    WAITING = "waiting"
    RETRYING = "retrying"
    DEAD = "dead"


class ObjectKind(Enum):
    """What an event that is used is about."""

    INVOICE = "invoice"
    CHARGE = "charge"
    PAYMENT_METHOD = "payment_method"
    SETUP = "setup"
    CREDIT_NOTE = "credit_note"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """One event of the inbox. tenant_id: of the endpoint it came to."""

    tenant_id: str
    webhook_event_id: str
    provider: str
    provider_event_id: str
    event_type: str
    object_id: str
    api_version: str
    live_mode: bool
    state: EventState
    provider_created_at: datetime
    received_at: datetime
    attempt_count: int = 0
    error: str = ""
    handled_at: datetime | None = None
    next_attempt_at: datetime | None = None


ATTEMPTS_MAX = 8
_FIRST_PAUSE = timedelta(seconds=7)  # doubling, eight tries are spread over half an hour

_KINDS = {
    "invoice": ObjectKind.INVOICE,
    "charge": ObjectKind.CHARGE,
    "refund": ObjectKind.CHARGE,
    "payment_method": ObjectKind.PAYMENT_METHOD,
    "setup_intent": ObjectKind.SETUP,
    "credit_note": ObjectKind.CREDIT_NOTE,
}
USED = frozenset(
    {
        *("invoice.finalized", "invoice.paid", "invoice.payment_succeeded"),
        *("invoice.payment_failed", "invoice.payment_action_required", "invoice.voided"),
        *("invoice.marked_uncollectible", "invoice.overdue", "invoice.finalization_failed"),
        *("payment_method.attached", "payment_method.detached", "payment_method.updated"),
        "payment_method.automatically_updated",
        *("setup_intent.succeeded", "setup_intent.setup_failed"),
        *("refund.created", "refund.updated", "refund.failed"),
        *("charge.refunded", "charge.dispute.created", "charge.dispute.closed"),
        *("credit_note.created", "credit_note.updated", "credit_note.voided"),
    }
)


def object_kind(event_type: str) -> ObjectKind | None:
    """Returns what to fetch for an event; None for one that is not used."""
    return _KINDS.get(event_type.partition(".")[0]) if event_type in USED else None


def retry_at(attempt_count: int, now: datetime) -> datetime | None:
    """Returns when to try again after so many attempts, None when it is given up."""
    if attempt_count >= ATTEMPTS_MAX:
        return None
    return now + _FIRST_PAUSE * (1 << (attempt_count - 1))
