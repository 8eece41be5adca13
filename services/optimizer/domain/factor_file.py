"""Files of emission factors: CSV, one factor a row.

Columns: `provider`, `region`, `factor`, `source`, and where they apply `resource_type`, `unit`
(`kg/kWh` by default) and `valid_start_date`. Files of Cloud Carbon Footprint (`Region`,
`CO2e (metric ton/kWh)`, `Source`) are read as they are when the provider is in a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.optimizer.domain.catalogue_file import (
    PROBLEMS_MAX,
    first_of,
    number_of,
    table_rows,
)
from services.optimizer.domain.emission import EMBODIED_UNIT, GRID_UNIT, EmissionFactor
from services.optimizer.errors import UnreadableFile

_TONS = "CO2e (metric ton/kWh)"
KG_PER_TON = 1000
UNITS = (GRID_UNIT, EMBODIED_UNIT)


class FactorFile(NamedTuple):
    """What a file holds. problems: `row N: why`."""

    factors: Sequence[EmissionFactor]
    problems: Sequence[str]


def read_factors(content: bytes) -> FactorFile:
    """Reads a file; a row that cannot be used is named and left out. Raises UnreadableFile."""
    factors: list[EmissionFactor] = []
    problems: list[str] = []
    for number, row in enumerate(table_rows(content), start=1):
        try:
            factors.append(_factor(row))
        except ValueError as error:
            problems.append(f"row {number}: {error}")
    if not factors:
        reason = problems[0] if problems else "it is empty"
        raise UnreadableFile(f"no row of the file can be used: {reason}")
    return FactorFile(factors, problems[:PROBLEMS_MAX])


def _factor(row: Mapping[str, str]) -> EmissionFactor:
    provider = first_of(row, ("provider", "Provider"))
    region = first_of(row, ("region", "Region"))
    source = first_of(row, ("source", "Source"))
    resource_type = first_of(row, ("resource_type",))
    tons = first_of(row, (_TONS,))
    text = first_of(row, ("factor",))
    unit = first_of(row, ("unit",)) or GRID_UNIT
    if not provider:
        raise ValueError("provider is empty")
    if not source:
        raise ValueError("source is empty; every factor says who published it")
    if unit not in UNITS:
        raise ValueError(f"unit is one of {', '.join(UNITS)}, not {unit[:40]!r}")
    if unit == GRID_UNIT and not region:
        raise ValueError("region is empty")
    if not text and not tons:
        raise ValueError("factor is empty")
    factor = number_of(text, "factor") if text else number_of(tons, _TONS) * KG_PER_TON
    return EmissionFactor(
        provider=provider,
        region=region,
        factor=factor,
        unit=unit,
        source=source,
        resource_type=resource_type,
        valid_from=first_of(row, ("valid_start_date",)),
    )
