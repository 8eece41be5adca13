"""A streaming detector of unusual values that needs no setting for a series.

Four views of a value are taken: how far it is from what its time of day (or weekday) usually
brings, from its slow mean, and how far the short means of both have moved. Each is compared with
its own record so far, which fades; the score is the mean of the four ratios. A series that often
jumps has high records and stays quiet, one that is calm is sensitive, and what has been told once
is not told again until it gets worse.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

# At this score a value is an anomaly; the mean of the ratios is then `RATIO_AT_THRESHOLD`.
THRESHOLD = 0.5
RATIO_AT_THRESHOLD = 0.9
# One view must not decide alone, however large it is.
RATIO_MAX = 3.0
# A record fades to a half in 1,386 values: what was extreme last month may be told again.
RECORD_DECAY = 0.9995
# A move smaller than this share of the level is nothing, even in a series that never moved.
RECORD_FLOOR_SHARE = 0.02
# Values of a new series that are only learnt from.
GRACE_VALUES = 48
# Values after an anomaly that count half: they mostly tell the same thing again.
QUIET_VALUES = 24
QUIET_WEIGHT = 0.5
# Unless they are this unusual: no alarm may hide a worse one.
LOUD_SCORE = 0.7

PROFILE_RATE = 0.03
SLOW_RATE = 1 / 120
LONG_RATE = 1 / 240
SHORT_MEAN = 6
LONG_MEAN = 24

BUCKET_MINUTES = 30
# Values further apart than this say nothing about the time of day, only about the weekday.
DAILY_STEP_SECONDS = 72_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the detector thinks of one value.

    score: in [0, 1]. expected, lower, upper: what the time of the value usually brings.
    """

    score: float
    is_anomaly: bool
    expected: float
    lower: float
    upper: float


class Detector:
    """Judges the values of one series in order; each sees only those before it. O(1) a value."""

    __slots__ = (
        "_grace",
        "_last_seconds",
        "_long_values",
        "_lowest",
        "_mean_mean",
        "_profile",
        "_quiet",
        "_quiet_left",
        "_records",
        "_residuals",
        "_seen",
        "_slow",
        "_threshold",
    )

    def __init__(
        self,
        *,
        threshold: float = THRESHOLD,
        grace: int = GRACE_VALUES,
        quiet: int = QUIET_VALUES,
    ) -> None:
        """threshold: score from which a value is an anomaly. grace, quiet: in values."""
        self._threshold = threshold
        self._grace = grace
        self._quiet = quiet
        self._quiet_left = 0
        self._seen = 0
        self._last_seconds = 0.0
        self._slow = 0.0
        self._lowest = 0.0
        self._mean_mean = 0.0
        self._profile: dict[int, float] = {}
        self._records = [0.0, 0.0, 0.0, 0.0]
        self._residuals: deque[float] = deque(maxlen=SHORT_MEAN)
        self._long_values: deque[float] = deque(maxlen=LONG_MEAN)

    def judge(self, time: datetime, value: float) -> Verdict:
        """Returns the verdict on a value, and learns from it.

        time: in the zone whose clocks people live by.
        """
        bucket = self._bucket(time)
        if not self._seen:
            self._slow = self._mean_mean = value
        usual = self._profile.get(bucket)
        expected = self._slow if usual is None else usual
        residual = 0.0 if usual is None else value - usual
        self._residuals.append(residual)
        self._long_values.append(value)
        long_mean = sum(self._long_values) / len(self._long_values)
        views = (
            abs(residual),
            abs(value - self._slow),
            abs(sum(self._residuals) / len(self._residuals)),
            abs(long_mean - self._mean_mean),
        )
        reach = max(self._records[0], RECORD_FLOOR_SHARE * abs(self._slow))
        score = self._scored(views)
        self._learn(bucket, value, usual, long_mean)
        if self._quiet_left and score < LOUD_SCORE:
            score *= QUIET_WEIGHT
        is_anomaly = score >= self._threshold
        self._quiet_left = self._quiet if is_anomaly else max(0, self._quiet_left - 1)
        self._lowest = min(self._lowest, value)
        # What was never negative is not expected to become so.
        lower = max(expected - reach, min(0.0, self._lowest))
        return Verdict(score, is_anomaly, expected, lower, expected + reach)

    def _bucket(self, time: datetime) -> int:
        """Returns the place in the season that a value belongs to."""
        seconds = time.timestamp()
        step = seconds - self._last_seconds
        self._last_seconds = seconds
        if self._seen and step >= DAILY_STEP_SECONDS:
            return -1 - time.weekday()
        return (time.hour * 60 + time.minute) // BUCKET_MINUTES

    def _scored(self, views: tuple[float, float, float, float]) -> float:
        """Compares the views with their records, and takes them into the records."""
        floor = RECORD_FLOOR_SHARE * abs(self._slow)
        total = 0.0
        for place, view in enumerate(views):
            record = self._records[place] * RECORD_DECAY
            if view > 0:
                total += min(view / max(record, floor, 1e-300), RATIO_MAX)
            self._records[place] = max(record, view)
        if self._seen < self._grace:
            return 0.0
        ratio = total / len(views)
        return ratio / (ratio + RATIO_AT_THRESHOLD)

    def _learn(self, bucket: int, value: float, usual: float | None, long_mean: float) -> None:
        """Moves the means towards the value."""
        self._profile[bucket] = value if usual is None else usual + PROFILE_RATE * (value - usual)
        self._slow += SLOW_RATE * (value - self._slow)
        self._mean_mean += LONG_RATE * (long_mean - self._mean_mean)
        self._seen += 1
