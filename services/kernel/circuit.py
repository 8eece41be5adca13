"""A circuit breaker: what is down is not asked for a while, so that nobody waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable


class Circuit:
    """Opens after failures in a row, and after a pause lets one attempt through.

    Not shared between threads.
    """

    def __init__(
        self,
        *,
        failures_max: int,
        open_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures_max = failures_max
        self._open_seconds = open_seconds
        self._monotonic = monotonic
        self._failures = 0
        self._closed_at = 0.0

    def allows(self) -> bool:
        """Tells whether to try now; after the pause only the first that asks may."""
        if self._failures < self._failures_max:
            return True
        now = self._monotonic()
        if now < self._closed_at:
            return False
        self._closed_at = now + self._open_seconds
        return True

    def succeeded(self) -> None:
        """Closes the circuit."""
        self._failures = 0

    def failed(self) -> None:
        """Counts a failure, and opens the circuit when they are enough."""
        self._failures += 1
        self._closed_at = self._monotonic() + self._open_seconds
