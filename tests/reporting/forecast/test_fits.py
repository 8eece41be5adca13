"""A question that was answered is not fitted again, and one about other values is."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from services.reporting.domain.forecast.question import ForecastQuestion
from services.reporting.service import fits
from services.reporting.service.fits import Fits

WEEK = np.tile([5.0, 6.0, 7.0, 6.0, 5.0, 1.0, 1.0], 20)


async def test_the_same_histories_are_fitted_once() -> None:
    kept = Fits()

    first, second = await asyncio.gather(
        *(kept.fit([WEEK.copy()], ForecastQuestion(horizon=14)) for _ in range(2))
    )

    assert first is second
    assert len(first[0].mean) == 14


@pytest.mark.parametrize(
    ("history", "question"),
    [
        (np.append(WEEK, 5.0), ForecastQuestion(horizon=14)),
        (WEEK * 2, ForecastQuestion(horizon=14)),
        (WEEK, ForecastQuestion(horizon=15)),
        (WEEK, ForecastQuestion(horizon=14, levels=(0.5,))),
    ],
)
async def test_other_values_or_another_question_are_fitted_anew(
    history: np.ndarray[tuple[int], np.dtype[np.float64]], question: ForecastQuestion
) -> None:
    kept = Fits()
    known = await kept.fit([WEEK], ForecastQuestion(horizon=14))

    assert await kept.fit([history], question) is not known
    assert await kept.fit([WEEK], ForecastQuestion(horizon=14)) is known


async def test_two_series_are_not_one_long_one() -> None:
    kept = Fits()

    whole = await kept.fit([WEEK], ForecastQuestion(horizon=7))
    halves = await kept.fit([WEEK[:70], WEEK[70:]], ForecastQuestion(horizon=7))

    assert (len(whole), len(halves)) == (1, 2)


async def test_the_least_recently_used_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "BYTES_KEPT", 1)
    kept = Fits()
    question = ForecastQuestion(horizon=7)
    known = await kept.fit([WEEK], question)

    await kept.fit([WEEK * 2], question)

    again = await kept.fit([WEEK], question)
    assert again is not known
    assert np.array_equal(again[0].mean, known[0].mean)
