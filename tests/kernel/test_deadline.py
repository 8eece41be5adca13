"""Deadlines that travel from call to call."""

from __future__ import annotations

import contextvars

import pytest

from services.kernel.deadline import remaining_seconds, set_deadline


@pytest.mark.parametrize(
    ("given", "most", "expected"), [(None, 10, 10), (60, 10, 10), (4, 10, 4), (0, 10, 0)]
)
def test_a_call_takes_no_longer_than_the_one_it_serves(
    given: float | None, most: float, expected: float
) -> None:
    def measured() -> float:
        set_deadline(given)
        return remaining_seconds(most)

    assert contextvars.Context().run(measured) == pytest.approx(expected, abs=0.5)


def test_outside_of_a_call_there_is_all_the_time() -> None:
    assert contextvars.Context().run(remaining_seconds, 10) == 10
