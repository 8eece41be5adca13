"""The shape of use over the week."""

from __future__ import annotations

import numpy as np

from services.optimizer.domain.fit import IDLE_PEAK_MAX
from services.optimizer.domain.percentile import grouped_percentile
from services.optimizer.domain.statistics import (
    HOURS_OF_WEEK,
    Floats,
    Resource,
    Statistics,
    UtilizationSamples,
)

FLAT_SPREAD = 0.15  # hours of the week that differ less from their mean are flat
EXPLAINED = 0.4  # share of the variance that a pattern has to explain
SAMPLES_MIN = 48
DAY = 24
BURST_RATIO = 5.0  # 99th percentile over the median


def weekly(statistics: Statistics, samples: UtilizationSamples) -> tuple[Floats, Floats]:
    """Returns the mean and the 95th percentile of use by hour of the week in the tenant's zone."""
    known = ~np.isnan(samples.ratios)
    index = np.minimum(samples.hours[known].astype(np.int64), statistics.hour_count - 1)
    hours = statistics.local_hours[index]
    ratios = samples.ratios[known]
    counts = np.maximum(np.bincount(hours, minlength=HOURS_OF_WEEK), 1)
    means = np.bincount(hours, ratios, HOURS_OF_WEEK) / counts
    return means, np.nan_to_num(grouped_percentile(ratios, hours, HOURS_OF_WEEK, 95))


def idle_share(resource: Resource) -> float | None:
    """Returns the share of CPU or GPU samples with next to no use, None without samples."""
    ratios = [
        samples.ratios[~np.isnan(samples.ratios)]
        for name, samples in resource.utilization.items()
        if name != "memory"
    ]
    found = np.concatenate(ratios) if ratios else np.zeros(0)
    return float((found < IDLE_PEAK_MAX).mean()) if found.size else None


def shape_of(statistics: Statistics, resource: Resource) -> str:
    """Returns `flat`, `daily`, `weekly`, `bursty` or `unknown`.

    Daily when the hour of the day explains much of the variance, weekly when only the hour of the
    week does; bursty when neither does and peaks stand out.
    """
    samples = resource.utilization.get("cpu") or resource.utilization.get("gpu")
    if samples is None:
        return "unknown"
    known = ~np.isnan(samples.ratios)
    ratios = samples.ratios[known]
    if ratios.size < SAMPLES_MIN:
        return "unknown"
    mean = float(ratios.mean())
    if mean <= 0 or float(ratios.std()) / mean < FLAT_SPREAD:
        return "flat"
    index = np.minimum(samples.hours[known].astype(np.int64), statistics.hour_count - 1)
    hours = statistics.local_hours[index]
    if _explained(ratios, hours % DAY, DAY) >= EXPLAINED:
        return "daily"
    if _explained(ratios, hours, HOURS_OF_WEEK) >= EXPLAINED:
        return "weekly"
    median = float(np.median(ratios))
    top = float(np.percentile(ratios, 99))
    return "bursty" if top > BURST_RATIO * max(median, 0.001) else "flat"


def _explained(ratios: Floats, cells: np.ndarray[tuple[int], np.dtype[np.int64]], n: int) -> float:
    counts = np.bincount(cells, minlength=n)
    means = np.bincount(cells, ratios, n) / np.maximum(counts, 1)
    total = float(((ratios - ratios.mean()) ** 2).sum())
    rest = float(((ratios - means[cells]) ** 2).sum())
    return 1 - rest / total if total > 0 else 0.0
