"""Forecasts of histories that were fitted before, kept by what they were fitted to."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from opentelemetry import metrics

from services.reporting.domain.forecast.engine import forecast_all
from services.reporting.domain.forecast.question import ForecastQuestion
from services.reporting.domain.forecast.series_forecast import SeriesForecast

Floats = NDArray[np.float64]

AT_ONCE: Final = 2  # fits: each takes a processor for a second or so
BYTES_KEPT: Final = 64 * 2**20  # most of it possible courses

_fits = metrics.get_meter("finops.reporting").create_counter(
    "finops_forecast_fits_total", description="Forecasts asked for, by whether one was kept."
)


class Fits:
    """Fits each set of histories once.

    The key is the histories themselves: usage that comes late changes them, and so does a step that
    ends, while a question asked again the same day finds its answer.
    """

    def __init__(self) -> None:
        """Keeps nothing yet."""
        self._kept: OrderedDict[bytes, list[SeriesForecast]] = OrderedDict()
        self._size = 0
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def fit(
        self, histories: Sequence[Floats], question: ForecastQuestion
    ) -> list[SeriesForecast]:
        """Returns a forecast of each history, in their order."""
        key = _key(histories, question)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:  # who asks the same meanwhile waits for the answer
            known = self._kept.get(key)
            _fits.add(1, {"result": "miss" if known is None else "hit"})
            if known is None:
                async with self._turns:
                    known = await asyncio.to_thread(forecast_all, histories, question)
                self._keep(key, known)
            self._kept.move_to_end(key)
        return known

    def _keep(self, key: bytes, found: list[SeriesForecast]) -> None:
        self._kept[key] = found
        self._size += _size(found)
        # The newest stays, however large: whoever asks for it is about to use it.
        while self._size > BYTES_KEPT and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._size -= _size(oldest)


def _size(found: Sequence[SeriesForecast]) -> int:
    return sum(each.mean.nbytes + each.paths.nbytes for each in found)


def _key(histories: Sequence[Floats], question: ForecastQuestion) -> bytes:
    digest = blake2b(repr(question).encode(), digest_size=16)
    for history in histories:
        digest.update(len(history).to_bytes(4))
        digest.update(np.ascontiguousarray(history, dtype=np.float64).tobytes())
    return digest.digest()
