"""Detector `rightsizing`: machines larger than their use, against the operator's catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from services.kernel.money import EXACT
from services.optimizer.domain.catalogue import InstanceType
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
from services.optimizer.domain.fit import (
    ALTERNATIVES_MAX,
    BUSY_RATIO,
    Fit,
    UseStatistics,
    fitting_types,
    use_statistics,
)
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread
from services.optimizer.domain.statistics import Resource, Statistics

PROFILE = DetectorProfile(
    detector_id="rightsizing",
    kinds=(Kind.RIGHTSIZING,),
    description="Compares percentiles of CPU, memory and GPU use of each machine, busy days apart, "
    "with every type of the catalogue and proposes the cheapest that leaves the headroom.",
    headroom=Decimal("0.2"),
)
SAVING_RATIO_MIN = Decimal("0.05")  # of the price: less is not worth a restart
WORK = ("cpu", "gpu")  # either says what a machine does; memory alone does not


def use_of(resource: Resource) -> dict[str, UseStatistics]:
    """Returns the statistics of a resource by measure, those without samples left out."""
    known: dict[str, UseStatistics] | None = resource.computed.get("use")
    if known is None:
        found = {name: use_statistics(one) for name, one in resource.utilization.items()}
        known = {name: one for name, one in found.items() if one is not None}
        resource.computed["use"] = known
    return known


def is_busy(use: Mapping[str, UseStatistics]) -> bool:
    """Tells whether a measure leaves no room: such a machine is left alone or grown."""
    return any(one.p95 > BUSY_RATIO for one in use.values())


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields one piece of advice for each machine that a cheaper type would carry."""
    for resource in statistics.resources:
        if settings.excludes(resource.resource_id):
            continue
        current = statistics.catalogue.find(resource.instance_type, resource.subject.region)
        use = use_of(resource)
        work = [use[name] for name in WORK if name in use]
        if current is None or not work or current.hourly_price <= 0:
            continue
        if min(one.days for one in work) < settings.history_days_min:
            continue
        if is_busy(use) or all(one.is_idle for one in work):
            continue
        fits = fitting_types(use, current, statistics.catalogue, headroom=settings.headroom)
        ceiling = current.hourly_price * (1 - SAVING_RATIO_MIN)
        cheaper = [one for one in fits if one.instance.hourly_price <= ceiling]
        if cheaper:
            yield _finding(statistics, settings, resource, current=current, use=use, fits=cheaper)


def saving_ratio(current: InstanceType, proposed: InstanceType) -> Decimal:
    """Returns the share of the price that a type saves."""
    return 1 - EXACT.divide(proposed.hourly_price, current.hourly_price)


def _finding(
    statistics: Statistics,
    settings: DetectorSettings,
    resource: Resource,
    *,
    current: InstanceType,
    use: Mapping[str, UseStatistics],
    fits: Sequence[Fit],
) -> Finding:
    best = fits[0]
    proposed = best.instance
    parts = parts_of(statistics, resource.running)
    monthly_cost = statistics.monthly(resource.running)
    saving = rounded(EXACT.multiply(monthly_cost, saving_ratio(current, proposed)))
    code = resource.subject.currency_code
    name = resource.resource_id
    limit = f"{text_of((1 - float(settings.headroom)) * 100, 2)} %"
    work = next(use[measure] for measure in WORK if measure in use)
    return Finding(
        kind=Kind.RIGHTSIZING,
        detector_id=PROFILE.detector_id,
        key=name,
        title=f"Make {name} a {proposed.name} instead of a {current.name}",
        summary=f"{name} uses {work.p95:.0%} of its {work.measure.upper()} at the 95th "
        f"percentile. A {proposed.name} carries that at {best.highest:.0%} and costs "
        f"{amount_text(saving, code)} less a month.",
        scope=scope_of(resource.running),
        currency_code=code,
        saving=estimate(
            saving, spread=cost_spread(statistics, resource.running), ceiling=monthly_cost
        ),
        parts=parts,
        confidence=Decimal("0.85") if "memory" in use else Decimal("0.75"),
        effort=Effort.LOW if best.is_same_family else Effort.MEDIUM,
        risk=Risk.LOW if best.is_same_family else Risk.MEDIUM,
        risk_note="A restart; work is slower when demand grows beyond what was seen.",
        detail={
            "rightsizing": detail_of(
                current,
                best,
                use,
                others=fits[1:],
                settings=settings,
                monthly_cost=monthly_cost,
                paid_in=code,
            )
        },
        evidence=[_evidence(one, settings, name) for one in use.values()],
        steps=[
            f"Stop {name} at a quiet hour, change its type to {proposed.name}, start it.",
            "Watch its latency and its CPU and memory for a week.",
        ],
        verification_steps=[
            f"The 95th percentile of each measure stays below {limit} of capacity: {_query(name)}.",
            "The measured saving appears two weeks after completion.",
        ],
        rollback_steps=[f"Stop {name}, change its type back to {current.name}, start it."],
    )


def _evidence(one: UseStatistics, settings: DetectorSettings, name: str) -> Evidence:
    return Evidence(
        f"{one.measure}_p95",
        text_of(one.p95 * 100, 2),
        "percent",
        text_of((1 - float(settings.headroom)) * 100, 2),
        one.sample_count,
        _query(name),
    )


def detail_of(
    current: InstanceType,
    best: Fit,
    use: Mapping[str, UseStatistics],
    *,
    others: Sequence[Fit],
    settings: DetectorSettings,
    monthly_cost: Decimal,
    paid_in: str,
) -> dict[str, object]:
    """Returns the contract's detail of a change of type. paid_in: the currency of monthly_cost."""
    code, proposed = current.currency_code, best.instance
    return {
        "current_type": current.name,
        "proposed_type": proposed.name,
        "same_family": best.is_same_family,
        "current_hourly_price": money_of(current.hourly_price, code),
        "proposed_hourly_price": money_of(proposed.hourly_price, code),
        "fits": [
            fit_detail(one, proposed_p95=best.use.get(one.measure), headroom=settings.headroom)
            for one in use.values()
        ],
        "alternatives": [
            {
                "instance_type": one.instance.name,
                "hourly_price": money_of(one.instance.hourly_price, code),
                "monthly_saving": money_of(
                    monthly_cost * saving_ratio(current, one.instance), paid_in
                ),
                "proposed_p95_ratio": text_of(one.highest),
            }
            for one in others[:ALTERNATIVES_MAX]
        ],
    }


def fit_detail(
    one: UseStatistics, *, proposed_p95: float | None, headroom: Decimal
) -> dict[str, object]:
    """Returns the contract's figures of one measure."""
    return {
        "measure": one.measure,
        "p50_ratio": text_of(one.p50),
        "p95_ratio": text_of(one.p95),
        "p99_ratio": text_of(one.p99),
        "max_ratio": text_of(one.maximum),
        "proposed_p95_ratio": "" if proposed_p95 is None else text_of(proposed_p95),
        "headroom_ratio": text_of(headroom),
        "above_capacity_count": one.above_capacity_count,
    }


def _query(resource_id: str) -> str:
    return f'/api/v1/finops/resource-utilization?filter=resource_id="{resource_id}"'
