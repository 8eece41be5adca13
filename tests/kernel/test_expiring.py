"""The bounded map of the caches in this process."""

from __future__ import annotations

from services.kernel.expiring import ExpiringMap
from tests.support.stopwatch import Stopwatch


def test_a_value_ends_with_its_time() -> None:
    watch = Stopwatch()
    kept: ExpiringMap[str, int] = ExpiringMap(10, elapsed=watch)
    kept.put("a", 1, 5)

    watch.seconds += 4.9
    assert kept.get("a") == 1
    watch.seconds += 0.1
    assert kept.get("a") is None
    assert len(kept) == 0


def test_the_one_unused_for_longest_makes_room() -> None:
    kept: ExpiringMap[str, int] = ExpiringMap(2)
    kept.put("a", 1, 60)
    kept.put("b", 2, 60)
    kept.get("a")
    kept.put("c", 3, 60)

    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)
    assert len(kept) == 2


def test_replacing_a_value_takes_no_more_room() -> None:
    kept: ExpiringMap[str, int] = ExpiringMap(2)
    kept.put("a", 1, 60)
    kept.put("b", 2, 60)
    kept.put("a", 3, 60)

    assert (kept.get("a"), kept.get("b")) == (3, 2)


def test_no_time_keeps_nothing() -> None:
    kept: ExpiringMap[str, int] = ExpiringMap(2)
    kept.put("a", 1, 60)
    kept.put("a", 2, 0)

    assert kept.get("a") is None
