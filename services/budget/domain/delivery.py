"""Notifications on their way: how often and how late each is tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

# After the first attempt: seconds at first, because most failures are short, then up to a day.
RETRY_AFTER = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 15, 60, 180, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400)
)
RETRY_AFTER_ANSWER_MAX = timedelta(hours=1)  # how far a receiver's own Retry-After is followed
JITTER_RATIO = 0.1  # so that what failed together is not tried together
EXCERPT_CHARACTERS = 1_000
GONE = 410  # the receiver says that it will never take anything again


class DeliveryState(Enum):
    """Life of a delivery."""

    QUEUED = "queued"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"
    SUPPRESSED = "suppressed"
    DIGESTED = "digested"


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt and its proof.

    http_status: 0 when there was none. response_digest: SHA-256 of what was read of the answer.
    error: "" on success. retry_after: what the receiver asked for.
    """

    attempted_at: datetime
    latency: timedelta
    http_status: int = 0
    response_excerpt: str = ""
    response_digest: str = ""
    error: str = ""
    signature: str = ""
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        """Whether the receiver took it."""
        return not self.error


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification on its way to one receiver.

    mail_to: the address of a receiver without channel. attempts, payload_json: where asked for.
    """

    delivery_id: str
    message_id: str
    channel_id: str
    receiver_hint: str
    event_type: str
    alert_id: str
    state: DeliveryState
    attempt_count: int
    next_attempt_at: datetime | None
    digest_delivery_id: str
    created_at: datetime
    delivered_at: datetime | None
    attempts: Sequence[DeliveryAttempt] = ()
    payload_json: str = ""


def next_attempt(
    attempt: DeliveryAttempt, attempt_count: int, now: datetime, *, chance: float
) -> datetime | None:
    """Returns when a failed delivery is tried again, None when never.

    attempt_count: this one included. chance: in [0, 1], what the jitter is drawn by.
    """
    if attempt.http_status == GONE or attempt_count > len(RETRY_AFTER):
        return None
    wait = RETRY_AFTER[attempt_count - 1] * (1 + JITTER_RATIO * (2 * chance - 1))
    if attempt.retry_after is not None:
        wait = max(wait, min(attempt.retry_after, RETRY_AFTER_ANSWER_MAX))
    return now + wait
