"""Instance types with capacity, price and power, as the operator loads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """One type. hourly_price: on demand; reserved: an hour under a one-year commitment or None.

    Prices are of the catalogue's currency. watts: None when unknown.
    """

    name: str
    family: str
    provider: str
    region: str
    vcpus: Decimal
    memory_gib: Decimal
    hourly_price: Decimal
    currency_code: str
    gpus: Decimal = Decimal(0)
    gpu_model: str = ""
    reserved_hourly_price: Decimal | None = None
    architecture: str = "x86"
    is_current: bool = True
    is_burstable: bool = False
    idle_watts: Decimal | None = None
    busy_watts: Decimal | None = None
    catalogue_id: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All types that a tenant knows, of all its catalogues."""

    types: Sequence[InstanceType] = ()
    _by_name: Mapping[tuple[str, str], InstanceType] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = {(one.name, one.region): one for one in self.types}
        object.__setattr__(self, "_by_name", MappingProxyType(names))

    def find(self, name: str, region: str = "") -> InstanceType | None:
        """Returns a type in a region, else the type of a catalogue that names no region."""
        return self._by_name.get((name, region)) or self._by_name.get((name, ""))

    def in_region(self, region: str, currency_code: str) -> Iterator[InstanceType]:
        """Yields the types that can be had in a region at prices of a currency."""
        for one in self.types:
            if one.region in ("", region) and one.currency_code == currency_code:
                yield one

    def elsewhere(self, known: InstanceType) -> Iterator[InstanceType]:
        """Yields the same type in other regions, cheapest first."""
        others = (
            one
            for one in self.types
            if one.name == known.name
            and one.provider == known.provider
            and one.region != known.region
            and one.currency_code == known.currency_code
        )
        yield from sorted(others, key=lambda one: (one.hourly_price, one.region))


class StoredCatalogue(NamedTuple):
    """A catalogue without its types."""

    catalogue_id: str
    provider: str
    currency_code: str
    type_count: int
    content_hash: str
    updated_at: datetime


def family_of(name: str) -> str:
    """Returns the family in a provider's type name: `m5` of `m5.large`, `Dsv3` of `D4s v3`."""
    if "." in name:
        return name.partition(".")[0]
    head, _, version = name.partition(" ")
    stem = "".join(letter for letter in head if not letter.isdigit())
    return stem.strip("-_") + version
