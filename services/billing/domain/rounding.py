"""Exact fractions to whole minor units: rounded once as a sum, handed out by largest remainder."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from fractions import Fraction


class RoundingMode(Enum):
    """Where a half goes. HALF_UP: away from zero. HALF_EVEN: to the even neighbour."""

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"


def round_once(exact: Fraction, mode: RoundingMode = RoundingMode.HALF_UP) -> int:
    """Returns the nearest whole number; a half goes where the mode says."""
    if mode is RoundingMode.HALF_EVEN:
        return round(exact)
    numerator, denominator = abs(exact.numerator), exact.denominator
    units = (2 * numerator + denominator) // (2 * denominator)
    return -units if exact < 0 else units


def allocate(parts: Sequence[Fraction], total: int, keys: Sequence[str]) -> list[int]:
    """Hands a whole total out to its exact parts, so that the whole parts add up to it.

    keys: unique, one a part; ties go to the lower one, so that the order of parts does not matter.
    Where the total is the parts' sum rounded, every whole part is less than one from its exact one.
    Source: largest remainder method (Hamilton).
    """
    floors = [part.numerator // part.denominator for part in parts]
    if not parts:
        if total:
            raise ValueError(f"{total} cannot be handed out to nobody")
        return floors
    everybody, rest = divmod(total - sum(floors), len(parts))
    if everybody:
        floors = [units + everybody for units in floors]
    if rest:
        order = sorted(
            range(len(parts)),
            key=lambda index: (floors[index] - everybody - parts[index], keys[index]),
        )
        for index in order[:rest]:
            floors[index] += 1
    return floors
