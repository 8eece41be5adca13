"""Asks for one part of a dashboard: in its own time, and without harm to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog

from services.kernel.circuit import Circuit
from services.kernel.errors import Error
from services.reporting.errors import UsageQuestionRefused

_T = TypeVar("_T")
log = structlog.get_logger(__name__)

# The part that every question has; what refuses it refuses the question.
SUMMARY: Final = "summary"
# What cannot be told without a part.
RESTING_ON: Final = {
    SUMMARY: ("trend",),
    "drivers": ("movers", "geography"),
    "drivers.user": ("movers.user", "summary.active_user_count"),
    "forecast": ("summary.expected_period_cost",),
}
# Refusals for which the caller's filter, currency or times are to blame.
CALLERS_FAULT: Final = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "NOT_FOUND")


@dataclass(slots=True)
class Asking:
    """What one dashboard's questions came to.

    missing: names of parts. is_passing: whether one of them may be there the next time.
    refusal: of the question itself.
    """

    missing: set[str] = field(default_factory=set)
    is_passing: bool = False
    refusal: UsageQuestionRefused | None = None

    async def part(
        self,
        name: str,
        ask: Callable[[], Awaitable[_T]],
        *,
        seconds: float,
        circuit: Circuit | None = None,
    ) -> _T | None:
        """Returns the answer, or takes note that the part is missing."""
        if circuit is not None and not circuit.allows():
            self.lose(name)
            return None
        try:
            async with asyncio.timeout(seconds):
                answer = await ask()
        except UsageQuestionRefused as refusal:
            if refusal.metadata.get("code") in CALLERS_FAULT and name == SUMMARY:
                self.refusal = refusal
            log.warning("a part is refused", part=name, error=refusal.message)
            self.lose(name)
            return None
        except (Error, TimeoutError) as error:
            log.warning("a part is missing", part=name, error=repr(error))
            if circuit is not None:
                circuit.failed()
            self.lose(name)
            return None
        except Exception:
            # What nobody foresaw in one part must not take the others away.
            log.exception("a part failed", part=name)
            self.lose(name)
            return None
        if circuit is not None:
            circuit.succeeded()
        return answer

    def absent(self, name: str) -> None:
        """Takes note of a part that will not be there the next time either."""
        self.missing.update((name, *RESTING_ON.get(name, ())))

    def lose(self, name: str) -> None:
        """Takes note of a part that is missing now."""
        self.absent(name)
        self.is_passing = True
