"""A bounded map whose entries end by themselves."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class ExpiringMap(Generic[_K, _V]):
    """Keeps at most `size` values, each for its own time; the one unused for longest goes first."""

    def __init__(self, size: int, *, elapsed: Callable[[], float] = time.monotonic) -> None:
        """elapsed: seconds that never go back, whatever happens to the machine's clock."""
        self._size = size
        self._elapsed = elapsed
        self._entries: OrderedDict[_K, tuple[float, _V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: _K) -> _V | None:
        """Returns the value, None when there is none or its time is over. O(1)."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._elapsed():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: _K, value: _V, seconds: float) -> None:
        """Keeps the value for so many seconds, not at all when there are none. O(1)."""
        self._entries.pop(key, None)
        if seconds <= 0:
            return
        if len(self._entries) >= self._size:
            self._entries.popitem(last=False)
        self._entries[key] = (self._elapsed() + seconds, value)
