"""The detector tells what is unusual, once, and nothing else."""

from __future__ import annotations

import csv
import gzip
import math
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from services.kernel.period import zone
from services.reporting.domain.anomaly.detector import Detector, Verdict
from tests.support.shared import shared_path
from tools.anomaly_benchmark import (
    PROFILES,
    detector_scores,
    normalised,
    raw_score,
    read_files,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def judged(values: list[float], *, step: timedelta = timedelta(hours=1)) -> list[Verdict]:
    detector = Detector()
    return [detector.judge(START + step * place, value) for place, value in enumerate(values)]


def daily_course(hours: int, *, noise: float = 1.0) -> list[float]:
    chance = random.Random(3)
    return [
        100 + 40 * math.sin(hour % 24 / 24 * math.tau) + chance.gauss(0, noise)
        for hour in range(hours)
    ]


def found(verdicts: list[Verdict]) -> list[int]:
    return [place for place, verdict in enumerate(verdicts) if verdict.is_anomaly]


def test_a_flat_line_raises_nothing() -> None:
    for level in (0.0, 1e-9, 42.0, 1e12):
        verdicts = judged([level] * 2_000)

        assert found(verdicts) == []
        assert all(verdict.score < 0.001 for verdict in verdicts)


def test_a_spike_is_told_where_it_happens() -> None:
    values = daily_course(24 * 30)
    values[600] += 200

    assert 600 in found(judged(values))


def test_a_daily_course_is_not_unusual() -> None:
    verdicts = judged(daily_course(24 * 60))

    assert len(found(verdicts)) <= 4


def test_a_value_at_the_wrong_hour_is_unusual_although_others_reach_it() -> None:
    values = daily_course(24 * 30, noise=0.5)
    night = 24 * 25 + 18
    values[night] = 140.0

    assert night in found(judged(values))


def test_a_new_level_is_told_and_then_adapted_to() -> None:
    values = [*daily_course(24 * 20), *(value + 150 for value in daily_course(24 * 60))]

    verdicts = judged(values)

    assert any(480 <= place < 504 for place in found(verdicts))
    assert all(place < 24 * 30 for place in found(verdicts) if place >= 480)
    assert abs(verdicts[-1].expected - values[-1]) < 60


def test_an_alarm_hides_no_worse_one_after_it() -> None:
    values = daily_course(24 * 30)
    values[600] += 60
    values[605] += 900

    places = found(judged(values))

    assert 600 in places
    assert 605 in places


def test_a_new_series_is_only_learnt_from() -> None:
    values = [1.0] * 20 + [500.0] + [1.0] * 20

    assert found(judged(values)) == []


def test_each_value_is_judged_by_those_before_it_alone() -> None:
    values = daily_course(24 * 20)

    whole = judged(values)
    part = judged(values[:300])

    assert whole[:300] == part


def test_what_is_expected_of_cost_is_never_negative() -> None:
    verdicts = judged([max(0.0, value - 80) for value in daily_course(24 * 20)])

    assert all(0 <= verdict.lower <= verdict.upper for verdict in verdicts)
    assert all(0 <= verdict.score <= 1 for verdict in verdicts)


def test_the_scorer_gives_all_published_scores() -> None:
    folder = shared_path("nab")
    files = {file.name: file for file in read_files(folder)}
    published: dict[tuple[str, str], list[float]] = defaultdict(list)
    with gzip.open(folder / "published_raw_scores_two_detectors.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            published[row["detector"], row["file"]].append(float(row["anomaly_score"]))
    checked = 0
    with gzip.open(folder / "published_per_file_scores.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            scores = published.get((row["Detector"], row["File"]))
            if scores is None:
                continue
            score = raw_score(
                files[row["File"]], scores, float(row["Threshold"]), PROFILES[row["Profile"]]
            )
            assert abs(score - float(row["Score"])) < 1e-9
            checked += 1

    assert checked == 186


def test_the_benchmark_scores_at_least_55_with_one_threshold() -> None:
    files = read_files(shared_path("nab"))

    scores = {file.name: detector_scores(file) for file in files}

    assert normalised(files, scores, 0.5, PROFILES["standard"]) >= 55


def test_what_follows_local_clocks_is_not_unusual_when_they_change() -> None:
    berlin = zone("Europe/Berlin")
    at, detector, places = datetime(2026, 9, 1, tzinfo=UTC), Detector(), []
    for place in range(24 * 80):
        local = (at + timedelta(hours=place)).astimezone(berlin)
        if detector.judge(local, 50.0 if local.hour == 0 else 0.0).is_anomaly:
            places.append(local)

    assert places == []
