"""The efficiency score: how much of what is paid does useful work, from 0 to 100.

score = sum of weight x part, over the parts that can be computed, their weights scaled to add up
to 1. The parts, each from 0 to 100:
* success (0.40): 100 x (1 - list cost of failed events / list cost of all); by number of events
  where nothing has a list cost.
* retries (0.20): 100 x events / (events + retries): the share of attempts that were first ones.
* utilization (0.25): 100 x min(1, mean utilization / 0.8). Full marks from 80 % on, because the
  rest is the room that peaks need. Left out without utilization samples.
* smoothness (0.15): 100 x mean hour / busy hour, at most 100, where the busy hour is the 95th
  percentile of the hours' quantities, empty hours included: capacity bought for the peak is idle
  the rest of the time. Left out below 24 hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from services.kernel.period import Period
from services.usage.domain.analytics import (
    HourlyUsage,
    hours_of,
    quantity_by_hour,
    share_of,
    usage_totals,
)

TARGET_UTILIZATION = 0.8
BUSY_PERCENTILE = 95
SMOOTHNESS_HOURS_MIN = 24
WEIGHTS = {"success": 0.40, "retries": 0.20, "utilization": 0.25, "smoothness": 0.15}


class EfficiencyPart(NamedTuple):
    """One part of the score. score: 0 to 100. weight: as scaled. explanation: with the figures."""

    name: str
    score: float
    weight: float
    explanation: str


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The score from 0 (all waste) to 100, and the parts whose weighted mean it is."""

    score: float
    parts: tuple[EfficiencyPart, ...]


class _Scored(NamedTuple):
    name: str
    score: float
    explanation: str


def efficiency(rows: Sequence[HourlyUsage], period: Period, tz: ZoneInfo) -> Efficiency | None:
    """Scores a period as the module describes. None without any event."""
    if not any(row.events for row in rows):
        return None
    scored = [_success(rows), _retries(rows)]
    scored += [part for part in (_utilization(rows), _smoothness(rows, period, tz)) if part]
    whole = sum(WEIGHTS[part.name] for part in scored)
    parts = tuple(
        EfficiencyPart(part.name, part.score, WEIGHTS[part.name] / whole, part.explanation)
        for part in scored
    )
    return Efficiency(sum(part.score * part.weight for part in parts), parts)


def mean_utilization(rows: Sequence[HourlyUsage]) -> float | None:
    """Returns the mean of all utilization samples, or None without one."""
    samples = sum(row.utilization_samples for row in rows)
    return sum(row.utilization_sum for row in rows) / samples if samples else None


def _success(rows: Sequence[HourlyUsage]) -> _Scored:
    totals = usage_totals(rows)
    if totals.list_cost > 0:
        lost = min(1.0, max(0.0, share_of(totals.failed_cost, totals.list_cost)))
        text = f"{_percent(lost)} of the list cost went into events that failed"
    else:
        lost = totals.failed_events / totals.events
        text = f"{_percent(lost)} of {totals.events} events failed"
    return _Scored("success", 100 * (1 - lost), text)


def _retries(rows: Sequence[HourlyUsage]) -> _Scored:
    totals = usage_totals(rows)
    attempts = totals.events + totals.retries
    text = f"{totals.retries} of {attempts} attempts repeated an earlier one"
    return _Scored("retries", 100 * totals.events / attempts, text)


def _utilization(rows: Sequence[HourlyUsage]) -> _Scored | None:
    mean = mean_utilization(rows)
    if mean is None:
        return None
    score = 100 * min(1.0, max(0.0, mean / TARGET_UTILIZATION))
    text = f"mean utilization is {_percent(mean)}; {_percent(TARGET_UTILIZATION)} is the target"
    return _Scored("utilization", score, text)


def _smoothness(rows: Sequence[HourlyUsage], period: Period, tz: ZoneInfo) -> _Scored | None:
    hours = sum(1 for _ in hours_of(period, tz))
    by_hour = quantity_by_hour(rows)
    if hours < SMOOTHNESS_HOURS_MIN:
        return None
    filled = [max(0.0, float(quantity)) for quantity in by_hour.values()]
    quantities = np.array(filled + [0.0] * max(0, hours - len(filled)))
    mean, busy = float(quantities.mean()), float(np.percentile(quantities, BUSY_PERCENTILE))
    if mean == 0:
        return None
    # Where fewer than one hour in twenty is used at all, the percentile is 0: take the peak.
    busy = busy or float(quantities.max())
    score = min(100.0, 100 * mean / busy)
    text = f"the mean hour has {_percent(mean / busy)} of the usage of a busy one"
    return _Scored("smoothness", score, text)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
