"""Detector `scaling`: fleets of equal machines whose number does not follow the day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from services.kernel.money import add_exactly
from services.optimizer.domain.finding import (
    Effort,
    Evidence,
    Finding,
    Kind,
    Risk,
    amount_text,
    estimate,
    money_of,
    part_of,
    parts_of,
    scope_of,
    text_of,
)
from services.optimizer.domain.rightsizing import fit_detail, use_of
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread
from services.optimizer.domain.statistics import (
    HOURS_OF_WEEK,
    Floats,
    Resource,
    Statistics,
    UtilizationSamples,
)

PROFILE = DetectorProfile(
    detector_id="scaling",
    kinds=(Kind.SCALING,),
    description="Adds up the CPU and GPU demand of each fleet (machines with the same `fleet` tag) "
    "by hour of the week and proposes how many of them run when.",
    history_days=14,
    headroom=Decimal("0.3"),
)
FLEET_TAG = "fleet"
FLEET_MIN = 2
SAVING_SHARE_MIN = 0.1  # of the fleet's cost: below, a fixed number is simpler
KEPT_RUNNING = 1
STEP_HOURS_MIN = 2  # shorter steps would start machines that are stopped before they are warm
DEMAND_PERCENTILE = 95


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """How many instances run by hour of the week, 168 numbers, and the use they aim at."""

    instances: Sequence[int]
    target: float

    @property
    def steps(self) -> Sequence[tuple[int, int]]:
        """(hour of week, instances) wherever the number changes; the first is of hour 0."""
        return [
            (hour, self.instances[hour])
            for hour in range(HOURS_OF_WEEK)
            if hour == 0 or self.instances[hour] != self.instances[hour - 1]
        ]

    def detail(self) -> dict[str, object]:
        """Returns the contract's policy."""
        return {
            "steps": [{"hour_of_week": hour, "instances": number} for hour, number in self.steps],
            "instances_min": min(self.instances),
            "instances_max": max(self.instances),
            "target_ratio": text_of(self.target),
        }


def policy_of(demand: Floats, *, instances: int, headroom: Decimal) -> Policy:
    """Returns the fewest instances that carry the demand of each hour of the week with headroom.

    demand: 168 numbers in instances that are wholly used. Instances are started an hour ahead, and
    never more than there are now.
    """
    target = 1 - float(headroom)
    # What floats leave beyond a whole number is no demand for another machine.
    needed = np.ceil(np.round(demand / target, 9)).astype(int)
    needed = np.clip(needed, KEPT_RUNNING, instances)
    ahead = np.maximum(needed, np.roll(needed, -1))
    for step in range(1, STEP_HOURS_MIN):
        ahead = np.maximum(ahead, np.roll(needed, step))
    return Policy([int(number) for number in ahead], target)


def fleet_demand(statistics: Statistics, members: Sequence[UtilizationSamples]) -> Floats:
    """Returns the 95th percentile of a fleet's demand by hour of the week, in whole instances."""
    total = np.zeros(statistics.hour_count)
    for samples in members:
        known = ~np.isnan(samples.ratios)
        index = np.minimum(samples.hours[known].astype(np.int64), statistics.hour_count - 1)
        sums = np.bincount(index, samples.ratios[known], statistics.hour_count)
        counts = np.bincount(index, minlength=statistics.hour_count)
        total += sums / np.maximum(counts, 1)
    return statistics.profile(total, percentile=DEMAND_PERCENTILE)


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields one piece of advice for each fleet that is larger than its nights need."""
    fleets: dict[tuple[str, str], list[Resource]] = defaultdict(list)
    for resource in statistics.resources:
        name = resource.subject.tag(FLEET_TAG)
        if name and not settings.excludes(resource.resource_id):
            fleets[name, resource.subject.currency_code].append(resource)
    for (name, _), members in sorted(fleets.items()):
        if len(members) >= FLEET_MIN and is_scalable(members, settings):
            found = _finding(statistics, settings, name, members)
            if found is not None:
                yield found


def is_scalable(members: Sequence[Resource], settings: DetectorSettings) -> bool:
    """Tells whether a fleet's CPU is measured for long enough, and nothing else is in the way.

    A GPU must be measured on all members or on none. A memory above the aim holds state, which
    fewer machines could not carry.
    """
    uses = [use_of(one) for one in members]
    aim = 1 - float(settings.headroom)
    if aim <= 0 or not all("cpu" in use for use in uses):
        return False
    if len({"gpu" in use for use in uses}) > 1:
        return False
    if any("memory" in use and use["memory"].p95 > aim for use in uses):
        return False
    days = [one.days for use in uses for one in use.values()]
    return min(days) >= settings.history_days_min


def _finding(
    statistics: Statistics, settings: DetectorSettings, name: str, members: Sequence[Resource]
) -> Finding | None:
    measures = [name for name in ("cpu", "gpu") if name in use_of(members[0])]
    demand = np.max(
        [fleet_demand(statistics, [one.utilization[name] for one in members]) for name in measures],
        axis=0,
    )
    policy = policy_of(demand, instances=len(members), headroom=settings.headroom)
    share = 1 - sum(policy.instances) / (HOURS_OF_WEEK * len(members))
    if share < SAVING_SHARE_MIN:
        return None
    series = [one for member in members for one in member.series]
    monthly_cost = statistics.monthly(series)
    saving = part_of(monthly_cost, share)
    code = members[0].subject.currency_code
    return Finding(
        kind=Kind.SCALING,
        detector_id=PROFILE.detector_id,
        key=f"fleet/{name}",
        title=f"Let the fleet {name} follow the day",
        summary=f"{len(members)} machines run at all hours; {min(policy.instances)} to "
        f"{max(policy.instances)} are needed. That saves {amount_text(saving, code)} a month.",
        scope=scope_of(series),
        currency_code=code,
        saving=estimate(saving, spread=cost_spread(statistics, series), ceiling=monthly_cost),
        parts=parts_of(statistics, series),
        confidence=Decimal("0.75"),
        effort=Effort.MEDIUM,
        risk=Risk.MEDIUM,
        risk_note="A sudden peak waits until machines have started.",
        detail={"rightsizing": _detail(settings, members, policy)},
        evidence=[
            Evidence(
                "instances_needed_mean",
                text_of(sum(policy.instances) / HOURS_OF_WEEK, 3),
                "instances",
                str(len(members)),
            )
        ],
        steps=[
            "Put the machines behind a scaling group.",
            f"Schedule its size as the policy says, aiming at {policy.target:.0%} of CPU.",
        ],
        verification_steps=[
            "The fleet's machine hours fall as the policy says; its latency holds."
        ],
        rollback_steps=[f"Set the group's size back to {len(members)} at all hours."],
    )


def _detail(
    settings: DetectorSettings, members: Sequence[Resource], policy: Policy
) -> dict[str, object]:
    first = members[0]
    code = first.subject.currency_code
    series = [one for member in members for one in member.series]
    hours = add_exactly(one.quantity for one in series if one.subject.unit == "hour")
    price = add_exactly(one.cost for one in series) / hours if hours else Decimal(0)
    fit = fit_detail(use_of(first)["cpu"], proposed_p95=policy.target, headroom=settings.headroom)
    return {
        "current_type": first.instance_type,
        "proposed_type": first.instance_type,
        "same_family": True,
        "current_hourly_price": money_of(price * len(members), code),
        "proposed_hourly_price": money_of(price * sum(policy.instances) / HOURS_OF_WEEK, code),
        "fits": [fit],
        "scaling": policy.detail(),
    }
