"""Something to tell people or programs, and who wants to hear of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.budget.domain.threshold import Severity
from services.kernel.errors import FieldViolations
from services.kernel.filter import evaluate, parse_filter

ATTACHMENT_BYTES_MAX = 10 * 1024 * 1024  # together; what mail servers usually take


@dataclass(frozen=True, slots=True)
class Subject:
    """What a notification is about, for filters; "" and None where it has no such thing."""

    severity: Severity = Severity.INFO
    kind: str = ""
    budget_id: str = ""
    department_id: str = ""
    user_id: str = ""
    resource_type: str = ""
    channel_id: str = ""
    amount: Decimal | None = None

    def record(self) -> dict[str, object]:
        """Returns the fields that filters name."""
        return {
            "severity": self.severity.name,
            "kind": self.kind.upper(),
            "budget_id": self.budget_id,
            "department_id": self.department_id,
            "user_id": self.user_id,
            "resource_type": self.resource_type,
            "channel_id": self.channel_id,
            # A number even where there is none, so that a filter is read alike for every record.
            "amount": Decimal(0) if self.amount is None else self.amount,
        }


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a mail."""

    filename: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Notification:
    """What is told. payload: a JSON object for programs. deduplication_key: "" never repeats.

    Raises FieldViolations for attachments beyond ATTACHMENT_BYTES_MAX.
    """

    event_type: str
    title: str
    text_body: str = ""
    html_body: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = Severity.INFO
    deduplication_key: str = ""
    link: str = ""
    attachments: Sequence[Attachment] = ()

    def __post_init__(self) -> None:
        size = sum(len(attachment.content) for attachment in self.attachments)
        if size > ATTACHMENT_BYTES_MAX:
            text = f"{size} bytes together, of {ATTACHMENT_BYTES_MAX} at most"
            raise FieldViolations([("notification.attachments", text)])


@dataclass(frozen=True, slots=True)
class EventSubscription:
    """Kinds of events that go to a channel. Raises FieldViolations, InvalidFilter."""

    subscription_id: str
    channel_id: str
    event_types: tuple[str, ...]
    created_at: datetime
    filter: str = ""
    is_disabled: bool = False
    revision: int = 1

    def __post_init__(self) -> None:
        if not self.event_types:
            raise FieldViolations([("subscription.event_types", "at least one is required")])
        evaluate(parse_filter(self.filter), Subject().record())

    def wants(self, event_type: str, subject: Subject) -> bool:
        """Tells whether an event goes to the channel."""
        if self.is_disabled or not any(matches(each, event_type) for each in self.event_types):
            return False
        return evaluate(parse_filter(self.filter), subject.record())


def matches(pattern: str, event_type: str) -> bool:
    """Tells whether `alert.opened` is of `alert.opened`, `alert.*` or `*`."""
    if pattern == "*":
        return True
    noun, _, verb = pattern.partition(".")
    return event_type.partition(".")[0] == noun if verb == "*" else pattern == event_type
