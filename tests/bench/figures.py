"""What a bench prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. n: how many things were measured for it."""

    name: str
    value: float
    unit: str
    n: int

    def show(self) -> None:
        """Prints it as one line of JSON."""
        line = asdict(self) | {"value": round(self.value, 4)}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def percentile(samples: Sequence[float], share: float) -> float:
    """Returns the smallest sample that at least that share of all samples does not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)]
