"""Detector `shutdown`: machines that run nights and weekends for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from services.optimizer.domain.finding import (
    Effort,
    Evidence,
    Finding,
    Kind,
    Risk,
    amount_text,
    estimate,
    part_of,
    parts_of,
    scope_of,
    text_of,
)
from services.optimizer.domain.percentile import grouped_percentile
from services.optimizer.domain.rightsizing import use_of
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread
from services.optimizer.domain.statistics import (
    HOURS_OF_WEEK,
    Resource,
    Statistics,
    UtilizationSamples,
)

PROFILE = DetectorProfile(
    detector_id="shutdown",
    kinds=(Kind.SHUTDOWN,),
    description="Finds machines of development, test and batch work whose use ends at night and on "
    "weekends while their cost goes on.",
    history_days=14,
)
QUIET_RATIO = 0.05  # use below is nobody's work
QUIET_HOURS_MIN = 40  # of the 168: less is not worth a schedule
RUN_HOURS_MIN = 4  # in a row, or starting and stopping eats what it saves
PRODUCTION = ("prod", "prd", "live")  # how its names begin
ENVIRONMENT_TAGS = frozenset({"environment", "env", "stage", "tier"})
COMPUTE = ("cpu", "gpu")
SAMPLES_OF_HOUR_MIN = 2
DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields one piece of advice for each machine that could be off for a part of each week."""
    for resource in statistics.resources:
        if settings.excludes(resource.resource_id):
            continue
        off = sleeping_hours(statistics, resource, history_days_min=settings.history_days_min)
        if off:
            found = _finding(statistics, resource, off)
            if found.saving.expected > 0:
                yield found


def sleeping_hours(
    statistics: Statistics, resource: Resource, *, history_days_min: int
) -> Sequence[int]:
    """Returns the hours of the week in which a resource may be off; none in production."""
    use = {name: one for name, one in use_of(resource).items() if name in COMPUTE}
    if not use or min(one.days for one in use.values()) < history_days_min:
        return []
    if _is_production(resource):
        return []
    off = quiet_hours(statistics, [resource.utilization[name] for name in use])
    return off if QUIET_HOURS_MIN <= len(off) < HOURS_OF_WEEK else []


def _is_production(resource: Resource) -> bool:
    """Tells whether any tag for it names production: `prod-eu`, `PRD`, `live` and the like."""
    return any(
        name.lower() in ENVIRONMENT_TAGS and value.strip().lower().startswith(PRODUCTION)
        for one in resource.series
        for name, value in one.subject.tags
    )


def quiet_hours(statistics: Statistics, measured: Sequence[UtilizationSamples]) -> Sequence[int]:
    """Returns the hours of the week in which no sample shows work, in runs worth a stop.

    measured: each compute measure of one resource. An hour is quiet when the 95th percentile of
    its samples is below QUIET_RATIO in all of them.
    """
    quiet = np.all([_is_quiet(statistics, samples) for samples in measured], axis=0)
    return [hour for hour in range(HOURS_OF_WEEK) if quiet[hour] and _run(quiet, hour)]


def _is_quiet(statistics: Statistics, samples: UtilizationSamples) -> NDArray[np.bool_]:
    known = ~np.isnan(samples.ratios)
    index = np.minimum(samples.hours[known].astype(np.int64), statistics.hour_count - 1)
    hours = statistics.local_hours[index]
    counts = np.bincount(hours, minlength=HOURS_OF_WEEK)
    tops = grouped_percentile(samples.ratios[known], hours, HOURS_OF_WEEK, 95)
    quiet: NDArray[np.bool_] = (counts >= SAMPLES_OF_HOUR_MIN) & (
        np.nan_to_num(tops, nan=1.0) < QUIET_RATIO
    )
    return quiet


def _run(quiet: NDArray[np.bool_], hour: int) -> bool:
    """Tells whether an hour belongs to a long enough run; the week is a circle."""
    length = 1
    for step in (1, -1):
        at = hour + step
        while quiet[at % HOURS_OF_WEEK] and length < RUN_HOURS_MIN:
            length += 1
            at += step
    return length >= RUN_HOURS_MIN


def off_share(statistics: Statistics, resource: Resource, off: Sequence[int]) -> float:
    """Returns the share of the cost of a resource's running that falls into hours of the week."""
    weights = np.sum([statistics.clocked_cost(one) for one in resource.running], axis=0)
    total = float(weights.sum())
    if total <= 0:
        return 0.0
    return float(weights[np.isin(statistics.local_hours, off)].sum()) / total


def window_text(hours: Sequence[int]) -> str:
    """Returns hours of the week for people: `Mon 00-08, Sat 00-24`."""
    pieces = []
    for day in range(7):
        today = sorted(hour % 24 for hour in hours if hour // 24 == day)
        runs: list[list[int]] = []
        for hour in today:
            if runs and runs[-1][1] == hour:
                runs[-1][1] = hour + 1
            else:
                runs.append([hour, hour + 1])
        pieces += [f"{DAY_NAMES[day]} {start:02d}-{end:02d}" for start, end in runs]
    return ", ".join(pieces)


def _finding(statistics: Statistics, resource: Resource, off: Sequence[int]) -> Finding:
    monthly_cost = statistics.monthly(resource.running)
    share = off_share(statistics, resource, off)
    saving = part_of(monthly_cost, share)
    code = resource.subject.currency_code
    name = resource.resource_id
    return Finding(
        kind=Kind.SHUTDOWN,
        detector_id=PROFILE.detector_id,
        key=name,
        title=f"Switch {name} off when nobody works",
        summary=f"In {len(off)} of the week's 168 hours {name} does nothing, and costs "
        f"{amount_text(saving, code)} a month.",
        scope=scope_of(resource.running),
        currency_code=code,
        saving=estimate(
            saving, spread=cost_spread(statistics, resource.running), ceiling=monthly_cost
        ),
        parts=parts_of(statistics, resource.running),
        confidence=Decimal("0.8"),
        effort=Effort.LOW,
        risk=Risk.LOW,
        risk_note="Who works at an unusual hour has to start it.",
        detail={
            "scheduling": {
                "current_window": "always",
                "proposed_window": f"off {window_text(off)}",
                "off_hours": list(off),
                "movable_ratio": "0",
                "delay_hours": "0",
            }
        },
        evidence=[
            Evidence("off_hours_cost", text_of(share * 100, 2), "percent", sample_count=len(off))
        ],
        steps=[
            f"Give {name} a schedule that stops it {window_text(off)} ({statistics.tz.key}).",
            "Tell its users how to start it out of hours.",
        ],
        verification_steps=["Its cost in those hours is zero in the weeks after."],
        rollback_steps=["Remove the schedule."],
    )
