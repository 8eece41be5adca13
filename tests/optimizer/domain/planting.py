"""Random tenants with planted waste of known kinds, and with look-alikes that are none.

A plant is mild or plain: mild ones lie near what a detector asks for, so that recall says
something. Look-alikes are there in every tenant: a busy machine, a quiet store that keeps its
memory full, a production machine that rests at night, a fleet at even load, work that is off-peak
already, rare calls, a quantity far from its threshold, services that talk little, a machine in the
cleanest grid, one that a cleaner grid would make dearer, and one that may not move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from services.optimizer.domain.catalogue import Catalogue
from services.optimizer.domain.emission import GRID_UNIT, EmissionFactor, EmissionFactors
from services.optimizer.domain.finding import Finding, Kind
from services.optimizer.domain.statistics import (
    AttemptGroup,
    Floats,
    Statistics,
    UsageSeries,
    UtilizationSamples,
)
from services.optimizer.domain.tariff import PeakSchedule, Tariff, TariffModel, TariffTier
from tests.optimizer.domain.making import (
    CATALOGUE,
    HOURS,
    machine_type,
    samples,
    series,
    statistics,
    weekday_hours,
)

COMMITTED = {"commitment_discount_id": "cd-1"}
MOVABLE = {"movable": "true", **COMMITTED}
# Types of another family that costs as much where the grid is clean, or more.
TYPES = Catalogue(
    [
        *CATALOGUE.types,
        *(
            machine_type(name, size, price, region=region, is_current=False)
            for name, size, price, region in (
                ("c.xl", 8, "0.4", "eu"),
                ("c.xl", 8, "0.4", "fjord"),
                ("c.l", 4, "0.2", "eu"),
                ("c.l", 4, "0.2", "fjord"),
                ("d.xl", 8, "0.4", "eu"),
                ("d.xl", 8, "0.41", "fjord"),
            )
        ),
    ]
)
GRIDS = EmissionFactors(
    [
        EmissionFactor(
            provider="acme",
            region=region,
            factor=Decimal(factor),
            unit=GRID_UNIT,
            source="a grid report",
        )
        for region, factor in (("eu", "0.4"), ("fjord", "0.03"), ("north", "0.7"))
    ]
)
PEAK = PeakSchedule(
    "peak",
    {day * 24 + hour: Decimal("1.5") for day in range(5) for hour in range(9, 18)},
)
WEEKDAY, HOUR = weekday_hours()
WORK = (WEEKDAY < 5) & (HOUR >= 9) & (HOUR < 18)


@dataclass
class World:
    """One tenant as it grows. planted: (kind, what its advice must name)."""

    draw: np.random.Generator
    series: list[UsageSeries] = field(default_factory=list)
    utilization: list[UtilizationSamples] = field(default_factory=list)
    attempts: list[AttemptGroup] = field(default_factory=list)
    tariffs: list[Tariff] = field(default_factory=list)
    planted: set[tuple[Kind, str]] = field(default_factory=set)
    # Advice that is right as well, though another kind is looked for.
    accepted: set[tuple[Kind, str]] = field(default_factory=set)

    def usage(self, cost: Floats, **attributes: Any) -> UsageSeries:
        place = {"provider": "acme", "region": "eu"} | attributes
        one = series(len(self.series) + 1, cost, **place)
        self.series.append(one)
        return one

    def machine(self, name: str, use: Floats, *, memory: float = 0.4, **attributes: Any) -> None:
        tags = {"instance_type": "m.xl"} | attributes.pop("tags", COMMITTED)
        price = attributes.pop("price", 0.4)
        self.usage(np.full(HOURS, price), resource_id=name, tags=tags, **attributes)
        noisy = np.clip(use * self.draw.uniform(0.9, 1.1, HOURS), 0, 1.1)
        self.utilization.append(samples(name, noisy))
        kept = np.clip(self.draw.normal(memory, 0.01, HOURS), 0, 1)
        self.utilization.append(samples(name, kept, measure="memory"))

    def is_mild(self) -> bool:
        return bool(self.draw.random() < 0.3)

    def finished(self) -> Statistics:
        return statistics(
            self.series,
            utilization=self.utilization,
            attempts=self.attempts,
            tariffs=self.tariffs,
            schedules={PEAK.schedule_id: PEAK},
            catalogue=TYPES,
            factors=GRIDS,
        )


def tariff(meter: str, price: str, **changed: Any) -> Tariff:
    plain: dict[str, Any] = {
        "price_id": f"{meter}-{changed.get('resource_id', '')}",
        "resource_type": "vm",
        "currency_code": "USD",
        "model": TariffModel.PER_UNIT,
        "tiers": [TariffTier(None, Decimal(price))],
    }
    return Tariff(meter=meter, **(plain | changed))


def look_alikes(world: World) -> None:
    draw = world.draw
    world.machine("busy", draw.uniform(0.55, 0.75) + 0.05 * np.sin(HOUR / 24 * 2 * np.pi))
    world.machine("store", np.full(HOURS, 0.003), memory=0.96)
    world.machine("shop", np.where(WORK, 0.6, 0.03), tags={"environment": "prod", **COMMITTED})
    for number in range(3):
        use = np.full(HOURS, draw.uniform(0.55, 0.65))
        world.machine(f"even-{number}", use, tags={"fleet": "even", **COMMITTED})
    for name, kind, region, tags in (
        ("clean", "c.xl", "fjord", MOVABLE),
        ("dearer", "d.xl", "eu", MOVABLE),
        ("bound", "c.xl", "eu", COMMITTED),
    ):
        use = np.full(HOURS, draw.uniform(0.55, 0.65))
        world.machine(name, use, region=region, tags={"instance_type": kind, **tags})
    off_peak = np.where(WORK, 0.0, draw.uniform(0.5, 2))
    world.usage(off_peak, resource_type="job", tags={"workload": "batch"})
    rare = draw.poisson(10, HOURS).astype(float)
    tags = {"batchable": "true"}
    world.usage(rare * 0.001, resource_type="mail", unit="request", events=rare, tags=tags)
    few = draw.poisson(300, HOURS).astype(float)
    world.usage(few * 0.002, resource_type="web", service="front", unit="page", events=few)
    world.usage(
        few * 0.0005,
        resource_type="web",
        service="back",
        unit="page",
        events=2 * few,
        tags={"caller": "front"},
    )
    clean = draw.poisson(200, HOURS).astype(float)
    one = world.usage(clean * 0.01, resource_type="llm", service="chat", unit="call", events=clean)
    world.attempts += failures(draw, one, 0.003)


def failures(draw: np.random.Generator, one: UsageSeries, share: float) -> list[AttemptGroup]:
    count = int(one.events * share)
    each = one.cost / one.events
    hours = draw.integers(0, HOURS, 40)
    return [
        AttemptGroup(
            series_id=one.series_id,
            error_code="TIMEOUT",
            is_failed=True,
            retries=1,
            hour=int(hour),
            operations=count // 40,
            cost=each * (count // 40),
        )
        for hour in hours
    ]


def plant_errors(world: World) -> None:
    calls = world.draw.poisson(150, HOURS).astype(float)
    one = world.usage(calls * 0.02, resource_type="llm", service="agent", unit="call", events=calls)
    share = world.draw.uniform(0.008, 0.02) if world.is_mild() else world.draw.uniform(0.04, 0.2)
    world.attempts += failures(world.draw, one, share)
    world.planted.add((Kind.ERROR_REDUCTION, "llm/agent/acme/USD"))


def plant_idle(world: World) -> None:
    level = world.draw.uniform(0.006, 0.012) if world.is_mild() else 0.002
    world.machine("idle", np.full(HOURS, level), memory=0.2)
    world.planted.add((Kind.IDLE_RESOURCE, "idle"))
    world.accepted.add((Kind.RIGHTSIZING, "idle"))


def plant_rightsizing(world: World) -> None:
    top = world.draw.uniform(0.36, 0.46) if world.is_mild() else world.draw.uniform(0.1, 0.3)
    wave = 0.7 + 0.3 * np.sin((HOUR - 6) / 24 * 2 * np.pi)
    world.machine("large", np.maximum(top * wave, 0.06), memory=world.draw.uniform(0.1, 0.3))
    world.planted.add((Kind.RIGHTSIZING, "large"))


def plant_shutdown(world: World) -> None:
    night = world.draw.uniform(0.035, 0.06) if world.is_mild() else 0.01
    world.machine("dev", np.where(WORK, 0.65, night), tags={"environment": "dev", **COMMITTED})
    world.planted.add((Kind.SHUTDOWN, "dev"))


def plant_scaling(world: World) -> None:
    night = world.draw.uniform(0.45, 0.62) if world.is_mild() else world.draw.uniform(0.1, 0.3)
    for number in range(4):
        use = np.where((HOUR >= 8) & (HOUR < 20), 0.66, night)
        world.machine(f"wave-{number}", use, tags={"fleet": "wave", **COMMITTED})
    world.planted.add((Kind.SCALING, "fleet/wave"))


def plant_scheduling(world: World) -> None:
    at_peak = np.where(WORK, world.draw.uniform(0.3, 3), 0.02)
    deadline = "4" if world.is_mild() else "24"
    world.usage(at_peak, resource_type="etl", tags={"deadline_hours": deadline})
    world.tariffs.append(
        tariff("hour", "1", resource_type="etl", peak_schedule_id=PEAK.schedule_id)
    )
    world.planted.add((Kind.SCHEDULING, f"etl//peak/{deadline}"))


def plant_batching(world: World) -> None:
    mean = world.draw.uniform(90, 160) if world.is_mild() else world.draw.uniform(600, 4000)
    calls = world.draw.poisson(mean, HOURS).astype(float)
    world.usage(
        calls * 0.0004,
        resource_type="notify",
        unit="request",
        events=calls,
        quantity=calls,
        tags={"batchable": "true"},
    )
    world.planted.add((Kind.BATCHING, "batch/notify//USD"))


def plant_threshold(world: World) -> None:
    missing = world.draw.uniform(0.2, 0.3) if world.is_mild() else world.draw.uniform(0.03, 0.15)
    monthly = 10_000 * (1 - missing)
    hourly = np.full(HOURS, monthly / 730.5)
    world.usage(hourly * 0.1, resource_type="sms", unit="message", quantity=hourly)
    tiers = [TariffTier(Decimal(10_000), Decimal("0.1")), TariffTier(None, Decimal("0.06"))]
    world.tariffs.append(
        tariff("message", "0", resource_type="sms", model=TariffModel.VOLUME, tiers=tiers)
    )
    world.planted.add((Kind.VOLUME_PRICE, "threshold/message-"))


def plant_pool(world: World) -> None:
    top = world.draw.uniform(0.3, 0.38) if world.is_mild() else world.draw.uniform(0.08, 0.2)
    for number in range(4):
        tags = {"pool": "tools", "instance_type": "bare", **COMMITTED}
        world.machine(f"tool-{number}", np.full(HOURS, top), memory=0.15, tags=tags)
    world.planted.add((Kind.CONSOLIDATION, "pool/tools/bare/eu/USD"))


def plant_caching(world: World) -> None:
    tokens = world.draw.uniform(1e5, 1e6, HOURS)
    cached = "0.0000022" if world.is_mild() else "0.0000003"
    world.usage(
        tokens * 0.0000025,
        resource_type="llm",
        resource_id="atlas",
        service="llm",
        unit="repeated_input_token",
        quantity=tokens,
    )
    world.tariffs.append(
        tariff("cached_input_token", cached, resource_type="llm", resource_id="atlas")
    )
    world.planted.add((Kind.CACHING, "acme/atlas/USD"))


def plant_chatty(world: World) -> None:
    each = world.draw.uniform(4, 7) if world.is_mild() else world.draw.uniform(12, 40)
    operations = world.draw.poisson(100, HOURS).astype(float)
    calls = np.round(operations * each)
    world.usage(
        operations * 0.004, resource_type="web", service="cart", unit="page", events=operations
    )
    world.usage(
        calls * 0.0004,
        resource_type="web",
        service="stock",
        unit="page",
        events=calls,
        tags={"caller": "cart"},
    )
    world.planted.add((Kind.CHATTY_SERVICES, "cart/stock/USD"))


def plant_commitment(world: World) -> None:
    busy = np.full(HOURS, 0.65)
    world.machine("steady", busy, tags={"owner": "core"})
    if world.is_mild():
        # A machine that runs half of the time beside it: part of the group is no base load.
        on = np.where(WEEKDAY < 5, 0.4, 0.0)
        world.usage(on, resource_id="weekdays", tags={"instance_type": "m.xl"})
    world.planted.add((Kind.COMMITMENT, "new/acme/m/eu/USD"))


def plant_unused(world: World) -> None:
    level = 0.002 if world.is_mild() else 0.05
    tags = {"commitment_discount_status": "Unused", "commitment_discount_id": "cd-9"}
    world.usage(np.full(HOURS, level), resource_type="commitment", tags=tags)
    world.planted.add((Kind.UNUSED_COMMITMENT, "unused/cd-9/USD"))


def plant_model(world: World) -> None:
    tokens = world.draw.uniform(1e4, 1e5, HOURS)
    world.usage(
        tokens * 0.00001,
        resource_type="llm",
        resource_id="large-1",
        service="llm",
        unit="token",
        quantity=tokens,
        tags={"complexity": "low"},
    )
    small = "0.000008" if world.is_mild() else "0.000001"
    for name, price in (("large-1", "0.00001"), ("small-1", small)):
        for meter in ("input_token", "output_token"):
            world.tariffs.append(
                tariff(meter, price, resource_type="llm", resource_id=name, provider="acme")
            )
    world.planted.add((Kind.MODEL_SUBSTITUTION, "acme/large-1/USD"))


def plant_region(world: World) -> None:
    world.machine("movable", np.full(HOURS, 0.65), tags=MOVABLE)
    world.planted.add((Kind.REGION_MOVE, "movable"))


def plant_carbon(world: World) -> None:
    # Of the small ones, those with much to do are worth five kilograms a month, the others not.
    kind, price = ("c.l", 0.2) if world.is_mild() else ("c.xl", 0.4)
    use = np.full(HOURS, world.draw.uniform(0.55, 0.75))
    world.machine("green", use, price=price, tags={"instance_type": kind, **MOVABLE})
    world.planted.add((Kind.CARBON, "green"))


PLANTS: tuple[Callable[[World], None], ...] = (
    *(plant_errors, plant_idle, plant_rightsizing, plant_shutdown, plant_scaling),
    *(plant_scheduling, plant_batching, plant_threshold, plant_pool, plant_caching),
    *(plant_chatty, plant_commitment, plant_unused, plant_model, plant_region, plant_carbon),
)


def tenant(number: int, *, is_clean: bool) -> tuple[Statistics, World]:
    """Returns a tenant and what is planted in it; each kind in two of five tenants."""
    world = World(np.random.default_rng(number))
    look_alikes(world)
    for plant in () if is_clean else PLANTS:
        if world.draw.random() < 0.4:
            plant(world)
    return world.finished(), world


def named(finding: Finding) -> tuple[Kind, str]:
    """Returns what a finding says that is planted."""
    return finding.kind, finding.key
