"""Which dashboards somebody asked for lately."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from services.reporting.domain.dashboard.question import DashboardQuestion

# Nobody who looks at a dashboard asks for it less often.
WANTED_SECONDS: Final = 1_800.0
# So that computing them ahead takes a part of the time in which they serve.
WANTED_MAX: Final = 200


class Wanted:
    """Remembers questions for half an hour, the latest ones; of this process alone."""

    def __init__(self, *, elapsed: Callable[[], float] = time.monotonic) -> None:
        """elapsed: seconds that never go back."""
        self._elapsed = elapsed
        self._asked: OrderedDict[DashboardQuestion, float] = OrderedDict()

    def add(self, question: DashboardQuestion) -> None:
        """Takes note that somebody asked."""
        self._asked[question] = self._elapsed()
        self._asked.move_to_end(question)
        if len(self._asked) > WANTED_MAX:
            self._asked.popitem(last=False)

    def questions(self) -> list[DashboardQuestion]:
        """Returns what was asked lately, the latest first."""
        since = self._elapsed() - WANTED_SECONDS
        while self._asked:
            question, asked_at = next(iter(self._asked.items()))
            if asked_at >= since:
                break
            del self._asked[question]
        return list(reversed(self._asked))
