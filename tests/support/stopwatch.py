"""Seconds that a test moves, for whatever measures ages."""

from __future__ import annotations


class Stopwatch:
    """Stands where `time.monotonic` would."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds
