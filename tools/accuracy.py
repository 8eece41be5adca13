"""Writes docs/accuracy.md: forecasts and anomalies against published results.

`python -m tools.accuracy FOLDER`, or `make accuracy`; a minute of one processor. The folder holds
`forecast` and `nab`; it is `shared/data` beside the repository by default.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from services.reporting.domain.anomaly.detector import THRESHOLD
from tools.anomaly_benchmark import PROFILES, detector_scores, normalised, read_files
from tools.competition import (
    COMPETITIONS,
    benchmark_scores,
    measured,
    published_benchmarks,
    read_series,
)

BESIDE = Path(__file__).parents[2] / "shared" / "data"
TARGET = Path(__file__).parents[1] / "docs" / "accuracy.md"
HEAD = """# How good forecasts and anomalies are

Written by `make accuracy`. The series are halves of public sets (NN5, M4, M3, NAB) that lie beside
the repository; `FINOPS_SHARED_DATA` names their folder. Every forecast sees the training part
alone, with one configuration for all sets; every anomaly score sees only the rows before it. How
good the optimizer's detectors are has a [page of its own](accuracy-optimizer.md).
"""
# Results others published or measured on the whole sets or on these halves: sMAPE, MASE.
PUBLISHED = {
    "nn5_daily": (
        ("seasonal naive, this half", 26.463, 1.016),
        ("AutoETS of statsforecast, this half", 21.721, 0.863),
        ("AutoARIMA of statsforecast, this half", 21.48, 0.845),
        ("optimized Theta of statsforecast, this half", 21.990, 0.874),
    ),
    "m4_hourly": (
        ("seasonal naive, this half", 13.979, 1.233),
        ("Smyl, winner of M4, all series", 9.328, 0.893),
        ("Montero-Manso, second of M4, all series", 11.506, 0.819),
        ("Theta, all series", 18.138, 2.455),
    ),
    "m4_weekly": (
        ("naive, this half", 9.537, 2.915),
        ("Smyl, winner of M4, all series", 7.817, 2.356),
        ("Montero-Manso, second of M4, all series", 7.625, 2.108),
        ("Theta, all series", 9.093, 2.637),
    ),
    "m3_monthly": (
        ("Theta, all series", 13.892, 0.858),
        ("ForecastPro, all series", 13.898, 0.848),
        ("Box-Jenkins automatic, all series", 14.796, 0.914),
        ("Naive2, all series", 16.891, 1.037),
    ),
}


def forecast_section(folder: Path) -> list[str]:
    """Measures the forecasts of all sets."""
    lines = ["## The measures", ""]
    lines += ["They reproduce what was published for these forecasts (sMAPE / MASE).", ""]
    lines += ["| method | frequency | published | measured |", "| --- | --- | --- | --- |"]
    for method, frequency, smape, mase in published_benchmarks(folder):
        found = benchmark_scores(folder, method, frequency[0].upper())
        measured_text = f"{found[0]:.3f} / {found[1]:.3f}"
        lines.append(f"| {method} | {frequency} | {smape:.3f} / {mase:.3f} | {measured_text} |")
    lines += ["", "## Forecasts", ""]
    for competition in COMPETITIONS:
        series = read_series(folder / f"{competition.name}.parquet")
        scores = measured(competition, series)
        lines += [
            f"### {competition.name}, {scores.series} series, {competition.horizon} steps",
            "",
            "| method | sMAPE | MASE | covers 80 % | covers 95 % | MSIS 95 % |",
            "| --- | --- | --- | --- | --- | --- |",
            (
                f"| **FinOps** | {scores.smape:.3f} | {scores.mase:.3f} "
                f"| {scores.coverage[0.8]:.3f} | {scores.coverage[0.95]:.3f} "
                f"| {scores.msis[0.95]:.2f} |"
            ),
        ]
        lines += [
            f"| {name} | {smape:.3f} | {mase:.3f} | | | |"
            for name, smape, mase in PUBLISHED[competition.name]
        ]
        lines.append("")
    return lines


def anomaly_section(folder: Path) -> list[str]:
    """Measures the anomalies."""
    files = read_files(folder)
    scores = {file.name: detector_scores(file) for file in files}
    lines = ["## Anomalies", ""]
    lines += [f"NAB, {len(files)} files, one threshold of {THRESHOLD} for all.", ""]
    lines += ["| detector | standard | low FP | low FN |", "| --- | --- | --- | --- |"]
    ours = [normalised(files, scores, THRESHOLD, profile) for profile in PROFILES.values()]
    lines.append("| **FinOps** | " + " | ".join(f"{each:.2f}" for each in ours) + " |")
    path = folder / "published_normalised_shared_half.csv"
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            cells = [f"{float(row[name]):.2f}" for name in PROFILES]
            lines.append(f"| {row['detector']} | {' | '.join(cells)} |")
    halves = [
        normalised(files[first::2], scores, THRESHOLD, PROFILES["standard"]) for first in (0, 1)
    ]
    lines += [
        "",
        (
            f"Cut in two by turns, the files give {halves[0]:.1f} and {halves[1]:.1f}: so much "
            "does a score depend on which files are asked."
        ),
        "",
    ]
    return lines


def main() -> int:
    """Measures everything and writes the page; returns the exit code."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else BESIDE
    if not folder.is_dir():
        sys.stderr.write(f"no series in {folder}; name their folder in FINOPS_SHARED_DATA\n")
        return 1
    lines = [HEAD, *forecast_section(folder / "forecast"), *anomaly_section(folder / "nab")]
    TARGET.write_text("\n".join(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
