"""Carbon: from watts and regions to kilograms of CO2 equivalent, with the source of each factor.

Source: Cloud Carbon Footprint's methodology: energy = average watts x hours x PUE; carbon = energy
x the grid's factor, and beside it a share of what making the hardware cost, over four years.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from services.kernel.money import EXACT

PUE = Decimal("1.135")  # what cooling and losses add, as the hyperscalers report it
HOURS_OF_LIFE = Decimal(35_064)  # four years
DEFAULT_USE_RATIO = Decimal("0.5")  # where no sample tells
DEFAULT_IDLE_WATTS = Decimal("0.74")  # a virtual CPU, mean of the providers' processors
DEFAULT_BUSY_WATTS = Decimal("3.5")
MEMORY_WATTS_PER_GIB = Decimal("0.392")

GRID_UNIT = "kg/kWh"
EMBODIED_UNIT = "kg/server"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmissionFactor:
    """One factor. resource_type: empty for the grid; an instance type for embodied carbon."""

    provider: str
    region: str
    factor: Decimal
    unit: str
    source: str
    resource_type: str = ""
    valid_from: str = ""


class Footprint(NamedTuple):
    """Carbon of some usage, in kg CO2e, and the energy in kWh."""

    operational: Decimal
    embodied: Decimal
    energy_kwh: Decimal

    @property
    def total(self) -> Decimal:
        """Both together."""
        return EXACT.add(self.operational, self.embodied)


@dataclass(frozen=True, slots=True)
class EmissionFactors:
    """All factors that a tenant loaded."""

    factors: Sequence[EmissionFactor] = ()
    _grid: Mapping[tuple[str, str], EmissionFactor] = field(init=False, repr=False)
    _embodied: Mapping[tuple[str, str], EmissionFactor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        grid = {
            (_fold(one.provider), _fold(one.region)): one
            for one in self.factors
            if one.unit == GRID_UNIT
        }
        made = {
            (_fold(one.provider), one.resource_type): one
            for one in self.factors
            if one.unit == EMBODIED_UNIT
        }
        object.__setattr__(self, "_grid", MappingProxyType(grid))
        object.__setattr__(self, "_embodied", MappingProxyType(made))

    def grid(self, provider: str, region: str) -> EmissionFactor | None:
        """Returns the factor of a region's grid, None when it is unknown."""
        return self._grid.get((_fold(provider), _fold(region)))

    def embodied(self, provider: str, instance_type: str) -> EmissionFactor | None:
        """Returns what making a server of a type took, None when it is unknown."""
        return self._embodied.get((_fold(provider), instance_type))

    def regions(self, provider: str) -> Sequence[EmissionFactor]:
        """Returns the grids that a provider's regions hang on, the cleanest first."""
        found = [one for (name, _), one in self._grid.items() if name == _fold(provider)]
        return sorted(found, key=lambda one: (one.factor, one.region))


def watts(
    idle_watts: Decimal | None,
    busy_watts: Decimal | None,
    *,
    vcpus: Decimal,
    memory_gib: Decimal,
    use_ratio: Decimal | None,
) -> Decimal:
    """Returns the mean power of a machine, straight between idle and busy."""
    ratio = DEFAULT_USE_RATIO if use_ratio is None else min(max(use_ratio, Decimal(0)), Decimal(1))
    if idle_watts is None or busy_watts is None:
        memory = MEMORY_WATTS_PER_GIB * memory_gib
        idle_watts = DEFAULT_IDLE_WATTS * vcpus + memory
        busy_watts = DEFAULT_BUSY_WATTS * vcpus + memory
    return idle_watts + (busy_watts - idle_watts) * ratio


def footprint(
    hours: Decimal,
    mean_watts: Decimal,
    grid: EmissionFactor,
    *,
    embodied: EmissionFactor | None = None,
    server_share: Decimal = Decimal(1),
) -> Footprint:
    """Returns the carbon of so many hours. server_share: of the server that the machine takes."""
    energy = mean_watts * hours * PUE / 1000
    made = (
        Decimal(0) if embodied is None else embodied.factor * server_share * hours / HOURS_OF_LIFE
    )
    return Footprint(energy * grid.factor, made, energy)


def _fold(text: str) -> str:
    return "".join(text.lower().split()).replace("-", "").replace("_", "")
