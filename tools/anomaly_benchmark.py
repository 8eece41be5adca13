"""Scores anomaly detectors as the Numenta Anomaly Benchmark (NAB) does.

Source: numenta/NAB, nab/sweeper.py and nab/scorer.py. Everything is scored by one threshold for
all files; the first 15 % of a file, at most 750 rows, are not scored.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from services.reporting.domain.anomaly.detector import Detector

PROBATION_SHARE, PROBATION_ROWS_MAX = 0.15, 750
SIGMOID_SLOPE = 5
FAR_WINDOWS = 3
# What a hit on the first row of a window earns before it is scaled to one.
EARLIEST = 2 / (1 + math.exp(-SIGMOID_SLOPE)) - 1


@dataclass(frozen=True, slots=True)
class Profile:
    """What a hit earns, and what a miss and a false alarm cost."""

    hit: float
    miss: float
    false_alarm: float


PROFILES = {
    "standard": Profile(1, 1, 0.11),
    "reward_low_FP_rate": Profile(1, 1, 0.22),
    "reward_low_FN_rate": Profile(1, 2, 0.11),
}


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file of the benchmark. windows: first and last row of each, ascending."""

    name: str
    times: list[datetime]
    values: list[float]
    windows: list[tuple[int, int]]


def read_files(folder: Path) -> list[LabelledFile]:
    """Reads all files with their windows."""
    rows: dict[str, list[tuple[datetime, float]]] = defaultdict(list)
    with gzip.open(folder / "series.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            moment = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
            rows[row["file"]].append((moment, float(row["value"])))
    labels = json.loads((folder / "labels_windows.json").read_text(encoding="utf-8"))
    found = []
    for name, pairs in rows.items():
        times = [time for time, _ in pairs]
        windows = []
        for first, last in labels[name]:
            start = datetime.fromisoformat(first).replace(tzinfo=UTC)
            end = datetime.fromisoformat(last).replace(tzinfo=UTC)
            inside = [place for place, time in enumerate(times) if start <= time <= end]
            windows.append((inside[0], inside[-1]))
        found.append(LabelledFile(name, times, [value for _, value in pairs], windows))
    return found


def detector_scores(file: LabelledFile) -> list[float]:
    """Runs our detector over a file."""
    detector = Detector()
    return [
        detector.judge(time, value).score
        for time, value in zip(file.times, file.values, strict=True)
    ]


def raw_score(file: LabelledFile, scores: list[float], threshold: float, profile: Profile) -> float:
    """Scores one file: earliest hits of windows, misses, false alarms."""
    probation = min(int(PROBATION_SHARE * len(scores)), PROBATION_ROWS_MAX)
    earned: dict[int, float] = {}
    cost = 0.0
    for place in range(probation, len(scores)):
        if scores[place] < threshold:
            continue
        window = next(
            (number for number, (first, last) in enumerate(file.windows) if first <= place <= last),
            None,
        )
        if window is None:
            cost += profile.false_alarm * outside_weight(file.windows, place)
        elif window not in earned:
            first, last = file.windows[window]
            position = -(last - place + 1) / (last - first + 1)
            earned[window] = profile.hit * sigmoid(position) / EARLIEST
    missed = len(file.windows) - len(earned)
    return sum(earned.values()) - missed * profile.miss + cost


def outside_weight(windows: list[tuple[int, int]], place: int) -> float:
    """Returns the weight of a false alarm, -1 to 0: soon after a window it weighs less."""
    before = [window for window in windows if window[1] < place]
    if not before:
        return -1.0
    first, last = before[-1]
    position = (place - last) / (last - first)
    return -1.0 if position > FAR_WINDOWS else sigmoid(position)


def sigmoid(position: float) -> float:
    """Returns NAB's scaled sigmoid, 1 far inside to -1 far behind."""
    return 2 / (1 + math.exp(SIGMOID_SLOPE * position)) - 1


def normalised(
    files: list[LabelledFile],
    scores: dict[str, list[float]],
    threshold: float,
    profile: Profile,
) -> float:
    """Returns the score of a set of files: 0 for doing nothing, 100 for perfection."""
    total = sum(raw_score(file, scores[file.name], threshold, profile) for file in files)
    windows = sum(len(file.windows) for file in files)
    nothing = -windows * profile.miss
    return 100 * (total - nothing) / (windows * profile.hit - nothing)
