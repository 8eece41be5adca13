"""What can go wrong between us and Stripe, on purpose."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from tests.support.stripe.recording import Recorded


class Fault(enum.Enum):
    """How one write ends."""

    LOST_BEFORE = "the request never arrives"
    LOST_AFTER = "it is done, the answer never arrives"
    HALF_ANSWER = "it is done, half the answer arrives"
    TIMEOUT = "it is done, the answer comes after the caller gave up"
    ERROR_BEFORE = "500, not done, and the same again for the same key"
    ERROR_AFTER = "500, done, and the same again for the same key"
    RATE_LIMITED = "429 for the account; the same key works later"
    LOCK_TIMEOUT = "429 for the object, and the same again for the same key"
    KILL_BEFORE = "the worker is killed, the request never arrives"
    KILL_AFTER = "the worker is killed while the answer is on its way"


DONE = {
    Fault.LOST_AFTER,
    Fault.HALF_ANSWER,
    Fault.TIMEOUT,
    Fault.ERROR_AFTER,
    Fault.KILL_AFTER,
}
KILLS = {Fault.KILL_BEFORE, Fault.KILL_AFTER}

Plan = Callable[[Recorded], Fault | None]


@dataclass
class RandomFaults:
    """Meets each write with one of the faults, up to so many in all. share: of the writes."""

    seed: int
    most: int
    share: float = 0.6
    kinds: Collection[Fault] = tuple(Fault)
    injected: list[tuple[str, Fault]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def __call__(self, request: Recorded) -> Fault | None:
        if request.method != "POST" or len(self.injected) >= self.most:
            return None
        if self._random.random() >= self.share:
            return None
        fault = self._random.choice(list(self.kinds))
        self.injected.append((request.operation_id, fault))
        return fault


@dataclass
class EveryBoundary:
    """Meets each kind of write once with each of the faults, in turn."""

    kinds: Collection[Fault]
    injected: list[tuple[str, Fault]] = field(default_factory=list)

    def __call__(self, request: Recorded) -> Fault | None:
        if request.method != "POST":
            return None
        for fault in self.kinds:
            if (request.operation_id, fault) not in self.injected:
                self.injected.append((request.operation_id, fault))
                return fault
        return None
