"""How long the call that is being served may still take."""

from __future__ import annotations

import time
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def set_deadline(seconds: float | None) -> None:
    """Sets in how many seconds this task's call ends; None when its caller waits for ever."""
    _deadline.set(None if seconds is None else time.monotonic() + seconds)


def remaining_seconds(most: float) -> float:
    """Returns what is left of the call's time, `most` at most, 0 at least.

    A call to another service takes this as its own deadline: its answer is of no use later.
    """
    deadline = _deadline.get()
    return most if deadline is None else min(most, max(0.0, deadline - time.monotonic()))
