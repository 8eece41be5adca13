"""Carbon of usage beside its cost, with the sources of the factors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from services.kernel.exchange import ExchangeRates
from services.kernel.money import EXACT, add_exactly
from services.optimizer.domain.emission import Footprint, footprint, watts
from services.optimizer.domain.finding import rounded
from services.optimizer.domain.rightsizing import use_of
from services.optimizer.domain.statistics import HOUR_UNITS, Resource, Statistics, UsageSeries
from services.optimizer.domain.subject import Subject
from services.optimizer.errors import UnknownDimension
from services.optimizer.service.statistics import StatisticsLoader
from services.optimizer.service.tenants import TenantProfiles

PERIOD_DAYS = 30
TAG_PREFIX = "tag:"


@dataclass(frozen=True, slots=True, kw_only=True)
class CarbonRow:
    """Carbon of one group. covered: share of the cost with a known factor."""

    group: dict[str, str]
    footprint: Footprint
    cost: Decimal
    covered: Decimal


class CarbonFootprint(NamedTuple):
    """The answer of GetCarbonFootprint. uncovered: share of all cost without a factor."""

    rows: Sequence[CarbonRow]
    total: Footprint
    uncovered: Decimal
    sources: Sequence[str]
    currency_code: str


class Carbon:
    """The use case of carbon."""

    def __init__(
        self, profiles: TenantProfiles, loader: StatisticsLoader, *, rates: ExchangeRates
    ) -> None:
        """loader: of the usage that emits."""
        self._profiles = profiles
        self._loader = loader
        self._rates = rates

    async def get_carbon_footprint(
        self,
        tenant_id: str,
        *,
        start: str,
        end: str,
        text: str,
        group_by: Sequence[str],
        currency: str,
    ) -> CarbonFootprint:
        """Returns carbon by group. Raises InvalidFilter, UnknownDimension, MissingRate."""
        for name in group_by:
            require_dimension(name)
        period = await self._profiles.period(tenant_id, start, end, days=PERIOD_DAYS)
        statistics = await self._loader.load(tenant_id, period, text)
        code = currency or statistics.currency_code
        day = (statistics.period.end - timedelta(seconds=1)).date()
        resources = {one.resource_id: one for one in statistics.resources}
        groups: dict[tuple[str, ...], list[tuple[UsageSeries, Footprint | None, Decimal]]] = (
            defaultdict(list)
        )
        sources: dict[str, None] = {}
        for one in statistics.series:
            found = _footprint(statistics, one, resources.get(one.subject.resource_id), sources)
            factor = self._rates.rate(one.subject.currency_code, code, day)
            cost = rounded(one.cost if factor.rate == 1 else factor.convert(rounded(one.cost)))
            key = tuple(value_of(one.subject, name) for name in group_by)
            groups[key].append((one, found, cost))
        rows = [_row(group_by, key, members) for key, members in sorted(groups.items())]
        total = _sum([one.footprint for one in rows])
        spend = add_exactly(row.cost for row in rows)
        covered = add_exactly(row.cost * row.covered for row in rows)
        uncovered = 1 - EXACT.divide(covered, spend) if spend else Decimal(0)
        return CarbonFootprint(rows, total, uncovered, tuple(sources), code)


def require_dimension(name: str) -> None:
    """Raises UnknownDimension for what usage has no attribute for."""
    known = Subject("", "", "").fields()
    is_tag = name.startswith(TAG_PREFIX) and len(name) > len(TAG_PREFIX)
    if not is_tag and (name not in known or name == "tags"):
        allowed = ", ".join(sorted(known.keys() - {"tags"}))
        raise UnknownDimension(
            f"there is no dimension {name[:80]!r}; there are {allowed} and tag:KEY",
            dimension=name[:80],
        )


def value_of(subject: Subject, name: str) -> str:
    """Returns the value along a dimension, "" without one."""
    if name.startswith(TAG_PREFIX):
        return subject.tag(name.removeprefix(TAG_PREFIX))
    return str(subject.fields()[name])


def _footprint(
    statistics: Statistics,
    one: UsageSeries,
    resource: Resource | None,
    sources: dict[str, None],
) -> Footprint | None:
    """Returns the carbon of machine hours; None where the type, the grid or the unit is unknown."""
    subject = one.subject
    known = statistics.catalogue.find(
        subject.tag("instance_type") or subject.service, subject.region
    )
    if known is None or subject.unit not in HOUR_UNITS:
        return None
    grid = statistics.factors.grid(known.provider, subject.region or known.region)
    if grid is None:
        return None
    embodied = statistics.factors.embodied(known.provider, known.name)
    sources[grid.source] = None
    if embodied is not None:
        sources[embodied.source] = None
    cpu = use_of(resource).get("cpu") if resource is not None else None
    power = watts(
        known.idle_watts,
        known.busy_watts,
        vcpus=known.vcpus,
        memory_gib=known.memory_gib,
        use_ratio=None if cpu is None else Decimal(str(round(cpu.mean, 6))),
    )
    return footprint(one.quantity, power, grid, embodied=embodied)


def _row(
    names: Sequence[str],
    key: tuple[str, ...],
    members: Sequence[tuple[UsageSeries, Footprint | None, Decimal]],
) -> CarbonRow:
    cost = add_exactly(each for _, _, each in members)
    covered = add_exactly(each for _, found, each in members if found is not None)
    return CarbonRow(
        group=dict(zip(names, key, strict=True)),
        footprint=_sum([found for _, found, _ in members if found is not None]),
        cost=cost,
        covered=EXACT.divide(covered, cost) if cost else Decimal(0),
    )


def _sum(found: Sequence[Footprint]) -> Footprint:
    return Footprint(
        *(sum((getattr(one, name) for one in found), Decimal(0)) for name in Footprint._fields)
    )
