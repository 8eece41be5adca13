"""Detector `idle`: resources that nobody uses, and those that were abandoned."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from services.optimizer.domain.finding import (
    Effort,
    Evidence,
    Finding,
    Kind,
    Risk,
    amount_text,
    estimate,
    money_of,
    parts_of,
    scope_of,
    text_of,
)
from services.optimizer.domain.fit import IDLE_PEAK_MAX, IDLE_REASON
from services.optimizer.domain.rightsizing import fit_detail, use_of
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread
from services.optimizer.domain.statistics import GONE_HOURS, Resource, Statistics, last_told

PROFILE = DetectorProfile(
    detector_id="idle",
    kinds=(Kind.IDLE_RESOURCE,),
    description=f"Finds resources whose CPU or GPU use has a {IDLE_REASON}, and those whose use "
    "ended at least 14 days ago while their cost goes on.",
)
ABANDONED_DAYS = 14
MEMORY_HELD = 0.9  # a store that keeps its memory full works without CPU


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields one piece of advice for each idle or abandoned resource that still costs."""
    for resource in statistics.resources:
        if resource.cost <= 0 or settings.excludes(resource.resource_id):
            continue
        reason = idle_reason(resource, hour_count=statistics.horizon)
        if reason:
            yield _finding(statistics, resource, reason)


def idle_reason(resource: Resource, *, hour_count: int) -> str:
    """Returns the definition of idle that a resource meets, "" when it is used or not measured."""
    use = use_of(resource)
    work = [one for name, one in use.items() if name != "memory"]
    if not work or ("memory" in use and use["memory"].p95 > MEMORY_HELD):
        return ""
    told = [
        last_told(samples) for name, samples in resource.utilization.items() if name != "memory"
    ]
    if hour_count - min(told) > GONE_HOURS:
        return ""  # what it does now is unknown
    if all(one.is_idle for one in work):
        return IDLE_REASON
    last = last_use(resource)
    if last is None or hour_count - last < ABANDONED_DAYS * 24:
        return ""
    after = [
        samples.hours[-1] - last
        for name, samples in resource.utilization.items()
        if name != "memory"
    ]
    if min(after, default=0) < ABANDONED_DAYS * 24:
        return ""
    return f"no sample above {IDLE_PEAK_MAX:.0%} for at least {ABANDONED_DAYS} days"


def last_use(resource: Resource) -> float | None:
    """Returns the hour of the last sample with use of CPU or GPU, None without one."""
    found = [
        samples.hours[np.nan_to_num(samples.ratios) >= IDLE_PEAK_MAX]
        for name, samples in resource.utilization.items()
        if name != "memory"
    ]
    return max((float(hours[-1]) for hours in found if hours.size), default=None)


def _finding(statistics: Statistics, resource: Resource, reason: str) -> Finding:
    use = use_of(resource)
    monthly_cost = statistics.monthly(resource.series)
    code = resource.subject.currency_code
    name = resource.resource_id
    quantity = sum(
        (one.quantity for one in resource.series if one.subject.unit == "hour"), Decimal(0)
    )
    price = resource.cost / quantity if quantity else Decimal(0)
    return Finding(
        kind=Kind.IDLE_RESOURCE,
        detector_id=PROFILE.detector_id,
        key=name,
        title=f"Stop {name}: nobody uses it",
        summary=f"{name} costs {amount_text(monthly_cost, code)} a month and has a use with "
        f"{reason}.",
        scope=scope_of(resource.series),
        currency_code=code,
        saving=estimate(
            monthly_cost, spread=cost_spread(statistics, resource.series), ceiling=monthly_cost
        ),
        parts=parts_of(statistics, resource.series),
        confidence=Decimal("0.9"),
        effort=Effort.LOW,
        risk=Risk.MEDIUM,
        risk_note="Something that runs less often than was watched may need it.",
        detail={
            "rightsizing": {
                "current_type": resource.instance_type,
                "proposed_type": "",
                "current_hourly_price": money_of(price, code),
                "proposed_hourly_price": money_of(Decimal(0), code),
                "fits": [
                    fit_detail(one, proposed_p95=None, headroom=Decimal(0)) for one in use.values()
                ],
                "idle": True,
                "idle_reason": reason,
            }
        },
        evidence=[
            Evidence(
                f"{one.measure}_max",
                text_of(one.maximum * 100, 2),
                "percent",
                text_of(IDLE_PEAK_MAX * 100, 2),
                one.sample_count,
            )
            for one in use.values()
        ],
        steps=[
            f"Ask the owner of {name} whether anything depends on it.",
            "Take a snapshot, stop it, and delete it after two quiet weeks.",
        ],
        verification_steps=[f"{name} no longer appears in the cost of the following days."],
        rollback_steps=[f"Start {name} again, or restore it from the snapshot."],
    )
