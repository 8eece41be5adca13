"""Shows how resources are used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.kernel.database import Database
from services.kernel.filter import evaluate, parse_filter, parse_order
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.optimizer.domain.finding import part_of, rounded, text_of
from services.optimizer.domain.fit import UseStatistics
from services.optimizer.domain.idle import idle_reason, last_use
from services.optimizer.domain.lifecycle import OPEN
from services.optimizer.domain.rightsizing import use_of
from services.optimizer.domain.scaling import SAVING_SHARE_MIN, Policy, policy_of
from services.optimizer.domain.statistics import Floats, Resource, Statistics
from services.optimizer.domain.use_profile import idle_share, shape_of, weekly
from services.optimizer.errors import ResourceNotFound
from services.optimizer.service.statistics import StatisticsLoader
from services.optimizer.service.tenants import TenantProfiles
from services.optimizer.store import recommendations

PERIOD_DAYS = 30
HEADROOM = Decimal("0.3")
RECOMMENDATIONS_MAX = 1000
NO_VALUE = Decimal(-1)  # sorts below every percentile; never shown


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ShownResource:
    """A resource with its use. cost: in the period asked."""

    resource: Resource
    use: dict[str, UseStatistics]
    cost: Decimal
    idle_ratio: float | None
    is_idle: bool
    shape: str
    last_used_at: datetime | None
    recommendation_ids: tuple[str, ...]

    def percentile(self, measure: str) -> Decimal | None:
        """Returns the 95th percentile of a measure, None without samples."""
        found = self.use.get(measure)
        return None if found is None else Decimal(text_of(found.p95))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ShownProfile:
    """A resource's week. policy: None when none pays. saving: of an average month."""

    resource_id: str
    means: Floats
    percentiles: Floats
    policy: Policy | None
    saving: Decimal
    currency_code: str


class Resources:
    """The use cases of utilization."""

    def __init__(
        self,
        database: Database,
        profiles: TenantProfiles,
        loader: StatisticsLoader,
        *,
        tokens: PageTokens,
    ) -> None:
        """loader: reads samples and cost together."""
        self._database = database
        self._profiles = profiles
        self._loader = loader
        self._tokens = tokens

    async def list_resource_utilization(
        self, page: PageRequest, *, start: str, end: str
    ) -> Page[ShownResource]:
        """Returns a page of resources. Raises InvalidFilter, InvalidOrder, InvalidInstant."""
        statistics = await self._statistics(page.tenant_id, start, end)
        advice = await self._advice(page.tenant_id)
        shown = [_shown(statistics, one, advice) for one in statistics.resources]
        if page.filter.strip():
            expression = parse_filter(page.filter)
            shown = [one for one in shown if evaluate(expression, _record(one))]
        terms = parse_order(
            page.order_by,
            {"cost", "cpu_p95", "memory_p95", "gpu_p95", "resource_id"},
            default="cost desc",
            tie_break="resource_id",
        )
        for term in reversed(terms):
            shown.sort(
                key=lambda one, name=term.field: _order_key(one, name),  # type: ignore[misc]
                reverse=term.is_descending,
            )
        key = self._tokens.decode(page)
        if key is not None:
            names = [one.resource.resource_id for one in shown]
            shown = shown[names.index(str(key[0])) + 1 :] if str(key[0]) in names else []
        return self._tokens.page(
            page, shown[: page.limit + 1], lambda one: [one.resource.resource_id]
        )

    async def get_scaling_profile(
        self, tenant_id: str, resource_id: str, *, start: str, end: str
    ) -> ShownProfile:
        """Returns a resource's week. Raises ResourceNotFound, InvalidInstant."""
        statistics = await self._statistics(tenant_id, start, end)
        found = [one for one in statistics.resources if one.resource_id == resource_id]
        samples = found[0].utilization if found else {}
        chosen = samples.get("cpu") or samples.get("gpu") or samples.get("memory")
        if chosen is None:
            raise ResourceNotFound(resource_id=resource_id)
        means, percentiles = weekly(statistics, chosen)
        policy = policy_of(percentiles, instances=1, headroom=HEADROOM)
        # A single machine follows the week only by standing still; a share of its cost is saved
        # when it is one of several that its group can do without.
        needed = percentiles / float(1 - HEADROOM)
        share = max(0.0, 1 - float(needed.clip(0, 1).mean()))
        monthly = statistics.monthly(found[0].series)
        pays = share >= SAVING_SHARE_MIN and float(needed.max()) <= 1
        return ShownProfile(
            resource_id=resource_id,
            means=means,
            percentiles=percentiles,
            policy=policy if pays else None,
            saving=part_of(monthly, share) if pays else Decimal(0),
            currency_code=found[0].subject.currency_code,
        )

    async def _statistics(self, tenant_id: str, start: str, end: str) -> Statistics:
        period = await self._profiles.period(tenant_id, start, end, days=PERIOD_DAYS)
        return await self._loader.load(tenant_id, period)

    async def _advice(self, tenant_id: str) -> dict[str, list[str]]:
        async with self._database.read(tenant_id) as tx:
            known = await recommendations.all_of(tx, tenant_id, "")
        found: dict[str, list[str]] = {}
        for one in known[:RECOMMENDATIONS_MAX]:
            for resource_id in one.finding.scope.resource_ids if one.state in OPEN else ():
                found.setdefault(resource_id, []).append(one.recommendation_id)
        return found


def _shown(
    statistics: Statistics, resource: Resource, advice: dict[str, list[str]]
) -> ShownResource:
    used = last_use(resource)
    return ShownResource(
        resource=resource,
        use=use_of(resource),
        cost=rounded(resource.cost),
        idle_ratio=idle_share(resource),
        is_idle=bool(idle_reason(resource, hour_count=statistics.horizon)),
        shape=shape_of(statistics, resource),
        last_used_at=None if used is None else statistics.instant(used),
        recommendation_ids=tuple(advice.get(resource.resource_id, ())),
    )


def _record(one: ShownResource) -> dict[str, object]:
    subject = one.resource.subject
    return {
        "resource_id": one.resource.resource_id,
        "resource_type": subject.resource_type,
        "department": subject.department,
        "project": subject.project,
        "provider": subject.provider,
        "region": subject.region,
        "idle": one.is_idle,
        "cpu_p95": one.percentile("cpu") if "cpu" in one.use else NO_VALUE,
        "memory_p95": one.percentile("memory") if "memory" in one.use else NO_VALUE,
        "gpu_p95": one.percentile("gpu") if "gpu" in one.use else NO_VALUE,
        "cost": one.cost,
    }


def _order_key(one: ShownResource, name: str) -> Decimal | str:
    found = _record(one)[name]
    return found if isinstance(found, Decimal | str) else NO_VALUE
