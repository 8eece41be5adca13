"""The only source of the present instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Knows now."""

    def now(self) -> datetime:
        """Returns the present instant, aware, in UTC."""


class SystemClock:
    """Reads the machine's clock."""

    def now(self) -> datetime:
        """Returns the machine's present instant in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """Stands still until it is moved: for tests, demos and replays."""

    def __init__(self, start: datetime) -> None:
        """Takes an aware instant. Raises ValueError for another."""
        if start.tzinfo is None:
            raise ValueError(f"{start} is not an aware instant")
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """Returns the instant it was last moved to."""
        return self._now

    def advance(self, step: timedelta) -> None:
        """Moves the instant by a step, which may be negative."""
        self._now += step
