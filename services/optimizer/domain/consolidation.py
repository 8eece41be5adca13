"""Detector `consolidation`: several machines, each hardly used, that fewer could carry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from services.kernel.money import EXACT, add_exactly
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
    rounded,
    scope_of,
    text_of,
)
from services.optimizer.domain.fit import UseStatistics
from services.optimizer.domain.rightsizing import use_of
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread
from services.optimizer.domain.statistics import Resource, Statistics

PROFILE = DetectorProfile(
    detector_id="consolidation",
    kinds=(Kind.CONSOLIDATION,),
    description="Packs under-used machines of one service, project and type by the demand of their "
    "busy days; GPUs count with their memory.",
    headroom=Decimal("0.2"),
)
UNDER_USED_RATIO = 0.35  # 95th percentile of CPU or GPU
MEMBERS_MIN = 2
POOL_TAG = "pool"  # machines that may carry each other's work


def under_used(use: Mapping[str, UseStatistics]) -> bool:
    """Tells whether a resource is used, but little."""
    work = [one for name, one in use.items() if name != "memory"]
    return bool(work) and all(one.p95 <= UNDER_USED_RATIO and not one.is_quiet for one in work)


def pack(demands: Sequence[Mapping[str, float]], *, limit: float) -> list[list[int]]:
    """Packs demands into as few machines as first-fit decreasing finds.

    demands: by measure, over one machine's capacity. Returns the indexes on each machine; what does
    not fit under the limit at all has a machine of its own.
    Source: Johnson 1973: at most 11/9 of the optimum and a bit, for one measure.
    """
    order = sorted(range(len(demands)), key=lambda index: -max(demands[index].values()))
    machines: list[list[int]] = []
    loads: list[dict[str, float]] = []
    for index in order:
        wanted = demands[index]
        for place, load in enumerate(loads):
            if all(load.get(name, 0.0) + value <= limit for name, value in wanted.items()):
                machines[place].append(index)
                for name, value in wanted.items():
                    load[name] = load.get(name, 0.0) + value
                break
        else:
            machines.append([index])
            loads.append(dict(wanted))
    return machines


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields one piece of advice for each pool that fewer of its machines would carry."""
    pools: dict[tuple[str, ...], list[Resource]] = defaultdict(list)
    for resource in statistics.resources:
        subject = resource.subject
        if subject.tag(POOL_TAG) and not settings.excludes(resource.resource_id):
            kind = (subject.tag(POOL_TAG), resource.instance_type, subject.region)
            pools[*kind, subject.currency_code].append(resource)
    for key, resources in sorted(pools.items()):
        members = [
            one
            for one in resources
            if under_used(use_of(one))
            and "memory" in use_of(one)  # what is not measured could not be packed
            and min(use.days for use in use_of(one).values()) >= settings.history_days_min
        ]
        if len(members) >= MEMBERS_MIN:
            found = _finding(statistics, settings, key, members)
            if found is not None:
                yield found


def _finding(
    statistics: Statistics,
    settings: DetectorSettings,
    key: tuple[str, ...],
    members: Sequence[Resource],
) -> Finding | None:
    demands = [{name: use.demand for name, use in use_of(one).items()} for one in members]
    machines = pack(demands, limit=1 - float(settings.headroom))
    if len(machines) == len(members):
        return None
    # The cheapest of each machine's tenants goes on running, the others end.
    kept = [min(group, key=lambda index: members[index].cost) for group in machines]
    ending = [one for index, one in enumerate(members) if index not in kept]
    series = [one for member in members for one in member.series]
    monthly_cost = statistics.monthly(series)
    saving = add_exactly(statistics.monthly(one.series) for one in ending)
    code = members[0].subject.currency_code
    share = 1 - EXACT.divide(saving, monthly_cost) if monthly_cost else Decimal(0)
    return Finding(
        kind=Kind.CONSOLIDATION,
        detector_id=PROFILE.detector_id,
        key=f"pool/{'/'.join(key)}",
        title=f"Run pool {key[0]} on {len(machines)} machines instead of {len(members)}",
        summary=f"No machine of the pool uses more than {UNDER_USED_RATIO:.0%} on 95 of 100 "
        f"samples. {len(machines)} carry all of it and save {amount_text(saving, code)} a month.",
        scope=scope_of(series),
        currency_code=code,
        saving=estimate(
            rounded(saving), spread=cost_spread(statistics, series), ceiling=monthly_cost
        ),
        parts=parts_of(statistics, series),
        confidence=Decimal("0.65"),
        effort=Effort.HIGH,
        risk=Risk.MEDIUM,
        risk_note="Work that shares a machine can slow each other down.",
        detail={
            "services": {
                "pairs": [
                    {
                        "from_service": one.resource_id,
                        "to_service": members[keeper].resource_id,
                        "cost": money_of(statistics.monthly(one.series), code),
                    }
                    for group, keeper in zip(machines, kept, strict=True)
                    for one in (members[index] for index in group if index != keeper)
                ],
                "overhead_ratio": text_of(1 - share),
            }
        },
        evidence=[Evidence("machines_needed", str(len(machines)), "machine", str(len(members)))],
        steps=[f"Move the work of {one.resource_id} to its new machine." for one in ending[:5]]
        + ["Stop the machines that are empty then."],
        verification_steps=["Use on the machines that stay is below the headroom."],
        rollback_steps=["Start the machines again and move the work back."],
    )
