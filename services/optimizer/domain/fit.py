"""How a machine's use fits a capacity: percentiles, headroom, and the size that is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from services.optimizer.domain.catalogue import Catalogue, InstanceType
from services.optimizer.domain.percentile import grouped_percentile
from services.optimizer.domain.statistics import Floats, UtilizationSamples

HOURS_OF_DAY = 24
BUSY_RATIO = 0.8  # a measure whose 95th percentile is above is left alone or grown
IDLE_MEAN_MAX = 0.01
IDLE_PEAK_MAX = 0.05
IDLE_DAYS_MIN = 7
BURST_BASELINE = 0.05  # of a virtual CPU: what the smallest burstable type earns for good
BUSY_DAY_PERCENTILE = 95
MEMORY_PERCENTILE = 99.9  # memory that lacks kills work, CPU that lacks slows it
ALTERNATIVES_MAX = 10
IDLE_REASON = (
    f"mean below {IDLE_MEAN_MAX:.0%} and maximum below {IDLE_PEAK_MAX:.0%} over at least "
    f"{IDLE_DAYS_MIN} days"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UseStatistics:
    """Percentiles of one measure. Samples above capacity count as they are."""

    measure: str
    mean: float
    p50: float
    p95: float
    p99: float
    maximum: float
    demand: float
    sample_count: int
    above_capacity_count: int
    days: float

    @property
    def is_quiet(self) -> bool:
        """Tells whether no work shows, over however short a time."""
        return self.mean < IDLE_MEAN_MAX and self.maximum < IDLE_PEAK_MAX

    @property
    def is_idle(self) -> bool:
        """Tells whether it meets IDLE_REASON."""
        return self.is_quiet and self.days >= IDLE_DAYS_MIN


def use_statistics(samples: UtilizationSamples) -> UseStatistics | None:
    """Returns the percentiles of samples, None without any; those that are no number are left out.

    demand: what a size must carry: the higher of the 95th percentile of all samples and that of
    the busy days (the 95th percentile over days of each day's own), so that a busy month end or
    Monday is not averaged away. For memory it is a percentile of 99.9.
    """
    known = ~np.isnan(samples.ratios)
    ratios, hours = samples.ratios[known], samples.hours[known]
    if ratios.size == 0:
        return None
    p50, p95, p99 = (float(value) for value in np.percentile(ratios, (50, 95, 99)))
    days = (hours // HOURS_OF_DAY).astype(np.int64)
    if samples.measure == "memory":
        demand = float(np.percentile(ratios, MEMORY_PERCENTILE))
    else:
        each = grouped_percentile(ratios, days - days[0], int(days[-1] - days[0]) + 1, 95)
        demand = max(p95, float(np.nanpercentile(each, BUSY_DAY_PERCENTILE)))
    return UseStatistics(
        measure=samples.measure,
        mean=float(ratios.mean()),
        p50=p50,
        p95=p95,
        p99=p99,
        maximum=float(ratios.max()),
        demand=demand,
        sample_count=int(ratios.size),
        above_capacity_count=int((ratios > 1).sum()),
        days=min(float(hours[-1] - hours[0]) / HOURS_OF_DAY, float(np.unique(days).size)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A type that is enough. use: by measure the 95th percentile on it."""

    instance: InstanceType
    use: Mapping[str, float]
    is_same_family: bool

    @property
    def highest(self) -> float:
        """The highest of them."""
        return max(self.use.values(), default=0.0)


def capacities(instance: InstanceType) -> dict[str, Decimal]:
    """Returns what a type has of each measure."""
    return {"cpu": instance.vcpus, "memory": instance.memory_gib, "gpu": instance.gpus}


def fitting_types(
    use: Mapping[str, UseStatistics],
    current: InstanceType,
    catalogue: Catalogue,
    *,
    headroom: Decimal,
) -> Sequence[Fit]:
    """Returns the types that carry the use with headroom, cheapest first, the current one left out.

    use: by measure. Of what was not measured, a type has at least as much as the current one.
    Burstable types fit only what lives on the credits of the smallest of them.
    """
    limit = 1 - float(headroom)
    own = capacities(current)
    found = []
    for one in catalogue.in_region(current.region, current.currency_code):
        if not _is_comparable(one, current) or one.name == current.name:
            continue
        use_there = _use_on(one, own, use)
        if use_there is None or _is_too_small(one, use_there, limit):
            continue
        if one.is_burstable and not _lives_on_credits(one, own, use):
            continue
        percentiles = {
            name: use[name].p95 * float(own[name] / capacities(one)[name]) for name in use_there
        }
        found.append(
            Fit(instance=one, use=percentiles, is_same_family=one.family == current.family)
        )
    return sorted(found, key=lambda fit: (fit.instance.hourly_price, fit.instance.name))


def _is_comparable(one: InstanceType, current: InstanceType) -> bool:
    return (
        one.provider == current.provider
        and one.architecture == current.architecture
        and (one.is_current or one.family == current.family)
        and (one.gpus > 0) == (current.gpus > 0)
        and one.gpu_model == current.gpu_model
    )


def _use_on(
    one: InstanceType, own: Mapping[str, Decimal], use: Mapping[str, UseStatistics]
) -> dict[str, float] | None:
    """Returns the demand on a type over its capacity; None where it lacks what is not measured."""
    there = capacities(one)
    found: dict[str, float] = {}
    for name, capacity in own.items():
        if name in use and capacity > 0:
            if there[name] <= 0:
                return None
            found[name] = use[name].demand * float(capacity / there[name])
        elif there[name] < capacity:
            return None
    return found


def _is_too_small(one: InstanceType, use: Mapping[str, float], limit: float) -> bool:
    return not use or one.hourly_price <= 0 or any(ratio > limit for ratio in use.values())


def _lives_on_credits(
    one: InstanceType, own: Mapping[str, Decimal], use: Mapping[str, UseStatistics]
) -> bool:
    return "cpu" in use and use["cpu"].mean * float(own["cpu"] / one.vcpus) <= BURST_BASELINE


def replay(samples: Floats, *, current: Decimal, proposed: Decimal) -> tuple[float, float]:
    """Replays use on another capacity.

    Returns the 95th percentile there, and the share of samples that pass the whole capacity.
    """
    there = samples[~np.isnan(samples)] * float(current / proposed)
    over = float((there > 1).mean()) if there.size else 0.0
    return (float(np.percentile(there, 95)) if there.size else 0.0), over
