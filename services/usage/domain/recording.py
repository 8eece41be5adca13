"""What becomes of events that are sent: verdicts, digests and the hours they count in."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from hashlib import blake2b
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.kernel.period import Granularity, floor
from services.usage.domain.event import Attributes, Outcome, UsageEvent

_QUARTER_SECONDS = 900  # every zone's offset is a multiple of 15 minutes
_HOURS_KEPT = 50_000  # a year and a half of quarters; about 5 MB


class Verdict(IntEnum):
    """What became of one event. The numbers are the contract's."""

    ACCEPTED = 1
    DUPLICATE = 2
    CONFLICT = 3
    INVALID = 4


class Problem(NamedTuple):
    """Why the event at a position of the batch was not stored."""

    position: int
    field: str
    description: str


class Receipt(NamedTuple):
    """The answer for one batch: a verdict an event, and the problems."""

    verdicts: list[Verdict]
    problems: list[Problem]


CONFLICT_TEXT = (
    "another event with this source and id is stored; use AmendUsage to correct it,"
    " or send this one under an id of its own"
)


def attributes_digest(attributes: Attributes) -> bytes:
    """Returns 16 bytes that differ for different attributes."""
    parts = [*attributes[:-1], *(text for pair in attributes.tags for text in pair)]
    packed = "\x1f".join(part.replace("\x1f", "\x1f\x1f") for part in parts)
    return blake2b(packed.encode(), digest_size=16).digest()


def payload_digest(
    event: UsageEvent,
    attributes: bytes,
    *,
    start_timestamp: float,
    quantity: str,
    components: str | None,
) -> bytes:
    """Returns 16 bytes that differ where the same id is sent with another content.

    attributes: the digest of the event's attributes, which callers keep by combination.
    start_timestamp: of `start_at`, and quantity as text: callers have them. components: the
    event's, as canonical text. Decimals count as written: 1.0 and 1.00 differ.
    """
    text = f"{start_timestamp.hex()}\x1f{quantity}\x1f{components}\x1f"
    if event.end_at is not event.start_at:
        text += event.end_at.isoformat()
    # Through % because an f-string formats a Decimal by its slow __format__, an enum by its name.
    if event.cost is not None:
        text += "\x1fcost\x1f%s\x1f%s\x1f%s\x1f%s" % event.cost  # noqa: UP031 -- see above
    rest = event[8:-1]  # what else the bill says is in the id, a digest of its row
    if rest != _NO_REST:
        text += "\x1f%d\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s" % rest  # noqa: UP031 -- see above
    return blake2b(attributes + text.encode(), digest_size=16).digest()


_NO_REST = (Outcome.SUCCEEDED, "", 0, None, None, None)


class HourClock:
    """Tells the local hour that an instant counts in, as seconds since 1970. Remembers answers."""

    def __init__(self, tz: ZoneInfo) -> None:
        """Takes the tenant's zone."""
        self._tz = tz
        self._hours: dict[int, int] = {}

    def hour_of(self, timestamp: float) -> int:
        """Returns the first second of the hour that holds an instant, as seconds since 1970."""
        quarter = int(timestamp) // _QUARTER_SECONDS
        hour = self._hours.get(quarter)
        if hour is None:
            if len(self._hours) >= _HOURS_KEPT:
                self._hours.clear()
            start = datetime.fromtimestamp(quarter * _QUARTER_SECONDS, UTC)
            hour = int(floor(start, Granularity.HOUR, self._tz).timestamp())
            self._hours[quarter] = hour
        return hour
