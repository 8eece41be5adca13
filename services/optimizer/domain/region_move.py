"""Detector `regions`: machines that are cheaper, or cleaner, in another region."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from services.kernel.money import EXACT
from services.optimizer.domain.catalogue import InstanceType
from services.optimizer.domain.emission import Footprint, footprint, watts
from services.optimizer.domain.finding import (
    Effort,
    Estimate,
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
from services.optimizer.domain.rightsizing import use_of
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread
from services.optimizer.domain.statistics import MONTH_DAYS, Resource, Statistics

REGIONS = DetectorProfile(
    detector_id="regions",
    kinds=(Kind.REGION_MOVE,),
    description="Compares the price of each movable machine's type (tag `movable` of true) with "
    "the same type in the other regions of its catalogue.",
)
CARBON = DetectorProfile(
    detector_id="carbon",
    kinds=(Kind.CARBON,),
    description="Compares the grid of each movable machine's region with those of the provider's "
    "other regions where it costs no more.",
)
MOVABLE_TAG = "movable"
SAVING_RATIO_MIN = Decimal("0.05")
CARBON_KG_MIN = Decimal(5)  # a month
LATENCY_NOTE = "Users near the present region wait longer; measure before moving."


def find_regions(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields one piece of advice for each movable machine that is cheaper elsewhere."""
    for resource, known in _movable(statistics, settings):
        for other in statistics.catalogue.elsewhere(known):
            if other.hourly_price <= known.hourly_price * (1 - SAVING_RATIO_MIN):
                yield _region_finding(statistics, resource, known, other)
            break


def find_carbon(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields one piece of advice for each movable machine that a cleaner grid could feed."""
    for resource, known in _movable(statistics, settings):
        here = resource_footprint(statistics, resource, known, resource.subject.region)
        if here is None:
            continue
        options = []
        for other in statistics.catalogue.elsewhere(known):
            there = resource_footprint(statistics, resource, known, other.region)
            if there is not None and other.hourly_price <= known.hourly_price:
                options.append((here.operational - there.operational, other))
        saved, target = max(options, key=lambda pair: pair[0], default=(Decimal(0), known))
        if saved >= CARBON_KG_MIN:
            yield _carbon_finding(statistics, resource, known, target, saved)


def _movable(
    statistics: Statistics, settings: DetectorSettings
) -> Iterator[tuple[Resource, InstanceType]]:
    for resource in statistics.resources:
        subject = resource.subject
        known = statistics.catalogue.find(resource.instance_type, subject.region)
        is_movable = subject.tag(MOVABLE_TAG).lower() == "true"
        if known and known.region and is_movable and not settings.excludes(resource.resource_id):
            yield resource, known


def monthly_hours(statistics: Statistics, resource: Resource) -> Decimal:
    """Returns the hours that a resource runs in an average month; all of them when not told."""
    found = [one for one in resource.series if one.subject.unit == "hour" and one.cost > 0]
    if not found:
        return MONTH_DAYS * 24
    one = found[0]
    return EXACT.divide(one.quantity * statistics.monthly_of(one), one.cost)


def resource_footprint(
    statistics: Statistics, resource: Resource, known: InstanceType, region: str
) -> Footprint | None:
    """Returns a machine's carbon of an average month in a region, None without a factor."""
    grid = statistics.factors.grid(known.provider, region)
    if grid is None:
        return None
    cpu = use_of(resource).get("cpu")
    power = watts(
        known.idle_watts,
        known.busy_watts,
        vcpus=known.vcpus,
        memory_gib=known.memory_gib,
        use_ratio=None if cpu is None else Decimal(str(round(cpu.mean, 6))),
    )
    embodied = statistics.factors.embodied(known.provider, known.name)
    return footprint(monthly_hours(statistics, resource), power, grid, embodied=embodied)


def _region_finding(
    statistics: Statistics, resource: Resource, known: InstanceType, other: InstanceType
) -> Finding:
    monthly_cost = statistics.monthly(resource.series)
    ratio = 1 - EXACT.divide(other.hourly_price, known.hourly_price)
    saving = rounded(monthly_cost * ratio)
    here = resource_footprint(statistics, resource, known, resource.subject.region)
    there = resource_footprint(statistics, resource, known, other.region)
    return _finding(
        statistics,
        resource,
        kind=Kind.REGION_MOVE,
        target=other,
        saving=estimate(
            saving, spread=cost_spread(statistics, resource.series), ceiling=monthly_cost
        ),
        summary=f"The same type costs {amount_text(saving, resource.subject.currency_code)} less a "
        f"month in "
        f"{other.region}.",
        current=known,
        kg=None if here is None or there is None else here.operational - there.operational,
    )


def _carbon_finding(
    statistics: Statistics,
    resource: Resource,
    known: InstanceType,
    target: InstanceType,
    saved: Decimal,
) -> Finding:
    monthly_cost = statistics.monthly(resource.series)
    ratio = 1 - EXACT.divide(target.hourly_price, known.hourly_price)
    grid = statistics.factors.grid(known.provider, target.region)
    source = f" Factors: {grid.source}." if grid is not None else ""
    return _finding(
        statistics,
        resource,
        kind=Kind.CARBON,
        target=target,
        saving=Estimate(*(min(rounded(monthly_cost * ratio), monthly_cost),) * 3),
        summary=f"In {target.region} it would emit {saved:.1f} kg CO2e less a month and cost no "
        f"more.{source}",
        current=known,
        kg=saved,
    )


def _finding(
    statistics: Statistics,
    resource: Resource,
    *,
    kind: Kind,
    target: InstanceType,
    current: InstanceType,
    saving: Estimate,
    summary: str,
    kg: Decimal | None,
) -> Finding:
    code, name = resource.subject.currency_code, resource.resource_id
    return Finding(
        kind=kind,
        detector_id=CARBON.detector_id if kind is Kind.CARBON else REGIONS.detector_id,
        key=name,
        title=f"Move {name} to {target.region}",
        summary=summary,
        scope=scope_of(resource.series),
        currency_code=code,
        saving=saving,
        parts=parts_of(statistics, resource.series),
        confidence=Decimal("0.6"),
        effort=Effort.HIGH,
        risk=Risk.MEDIUM,
        risk_note="Data that others of its region use has to cross regions, which is paid.",
        detail=_detail(kind, current, target),
        evidence=[
            Evidence(
                "hourly_price",
                text_of(target.hourly_price, 9),
                code,
                text_of(current.hourly_price, 9),
            )
        ],
        steps=[
            f"Start a copy of {name} in {target.region}.",
            "Move its data and its traffic.",
            "Stop the old one after a quiet week.",
        ],
        verification_steps=["Its cost appears in the new region, at the new price."],
        rollback_steps=["Send the traffic back; the old one is kept for a week."],
        monthly_kg_co2e=kg if kg is None else kg.quantize(Decimal("0.001")),
    )


def _detail(kind: Kind, current: InstanceType, target: InstanceType) -> dict[str, object]:
    code = current.currency_code
    if kind is Kind.CARBON:
        return {
            "scheduling": {
                "current_window": f"in {current.region}",
                "proposed_window": f"in {target.region}",
                "movable_ratio": "1",
                "deadline_note": LATENCY_NOTE,
            }
        }
    return {
        "substitution": {
            "current": current.region,
            "proposed": target.region,
            "current_unit_price": money_of(current.hourly_price, code),
            "proposed_unit_price": money_of(target.hourly_price, code),
            "movable_ratio": "1",
            "latency_note": LATENCY_NOTE,
        }
    }
