"""Measures what completed recommendations really saved."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

import structlog

from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.feed import EncodedFeed
from services.kernel.ids import new_id
from services.kernel.jobs import Job, enqueue
from services.kernel.money import EXACT
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.optimizer.domain.caching import CACHED_METER
from services.optimizer.domain.comparison import (
    MEASURED_DAYS_MAX,
    Change,
    comparison,
    share_of,
)
from services.optimizer.domain.counterfactual import (
    BEFORE_DAYS_MAX,
    DayUse,
    RealizedSaving,
    measure,
)
from services.optimizer.domain.finding import Estimate, Kind
from services.optimizer.domain.lifecycle import (
    DONE,
    Recommendation,
    State,
    StateChange,
    Verdict,
    state_after,
    verdict_of,
)
from services.optimizer.domain.portfolio import ZERO
from services.optimizer.domain.price_index import price_index
from services.optimizer.domain.savings import Measurement
from services.optimizer.domain.statistics import MONTH_DAYS
from services.optimizer.domain.substitution import proposed_model
from services.optimizer.errors import NotCompleted, RecommendationNotFound
from services.optimizer.service.recommending import MEASURE_JOB
from services.optimizer.service.tenants import TenantProfiles
from services.optimizer.service.usage import UsageReader
from services.optimizer.store import measurements, scopes
from services.optimizer.store import recommendations as rows
from services.optimizer.store.scopes import DayCost

ACTOR = "system"
AGAIN = timedelta(days=7)
# The change leaves the quantity alone, so the scope's own quantity tells its volume.
_OWN_VOLUME = frozenset(
    {
        Kind.RIGHTSIZING,
        Kind.MODEL_SUBSTITUTION,
        Kind.COMMITMENT,
        Kind.CACHING,
        Kind.SCHEDULING,
        Kind.REGION_MOVE,
        Kind.VOLUME_PRICE,
    }
)
# The change ends series of the resources and begins others: a type, a region, a commitment's tag.
_OF_RESOURCES = frozenset(
    {
        Kind.RIGHTSIZING,
        Kind.REGION_MOVE,
        Kind.CARBON,
        Kind.COMMITMENT,
        Kind.IDLE_RESOURCE,
        Kind.SHUTDOWN,
        Kind.SCALING,
        Kind.CONSOLIDATION,
        Kind.SCHEDULING,
    }
)
log = structlog.get_logger(__name__)


class Measuring:
    """Compares what a scope costs with what it would have cost."""

    def __init__(
        self,
        database: Database,
        usage: UsageReader,
        profiles: TenantProfiles,
        *,
        feed: EncodedFeed,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """usage: asked for prices, outside of transactions."""
        self._database = database
        self._usage = usage
        self._profiles = profiles
        self._feed = feed
        self._tokens = tokens
        self._clock = clock

    async def verify_recommendation(self, tenant_id: str, recommendation_id: str) -> Measurement:
        """Measures now. Raises RecommendationNotFound, NotCompleted."""
        found = await self._measured(tenant_id, recommendation_id)
        async with self._database.transaction(tenant_id) as tx:
            await self._store(tx, tenant_id, found)
            await audit.append(
                tx,
                action="recommendations.verify",
                resource=f"recommendations/{recommendation_id}",
                after={
                    "verdict": found.verdict.name,
                    "realized": found.saving.realized.expected,
                },
            )
        return found

    async def list_saving_measurements(
        self, page: PageRequest, recommendation_id: str
    ) -> Page[Measurement]:
        """Returns a page of measurements. Raises RecommendationNotFound."""
        async with self._database.read(page.tenant_id) as tx:
            known = await rows.by_ids(tx, page.tenant_id, [recommendation_id])
            if not known:
                raise RecommendationNotFound(recommendation_id=recommendation_id)
            return await measurements.list_page(tx, page, self._tokens, recommendation_id)

    async def do(self, job: Job) -> None:
        """Measures by schedule, and again a week later while the quarter after lasts."""
        recommendation_id = job.payload.decode()
        tenant_id = job.tenant_id or ""
        try:
            found = await self._measured(tenant_id, recommendation_id)
        except (RecommendationNotFound, NotCompleted):
            return  # it was reopened meanwhile; completing it again queues another job
        async with self._database.transaction(tenant_id) as tx:
            await self._store(tx, tenant_id, found)
            if self._clock.now() - found.after.start < timedelta(days=MEASURED_DAYS_MAX):
                await enqueue(
                    tx,
                    MEASURE_JOB,
                    job.payload,
                    delay=AGAIN,
                    key=f"measure/{recommendation_id}/{found.measurement_id}",
                )

    async def _measured(self, tenant_id: str, recommendation_id: str) -> Measurement:
        async with self._database.read(tenant_id) as tx:
            known = (await rows.by_ids(tx, tenant_id, [recommendation_id])).get(recommendation_id)
            if known is None:
                raise RecommendationNotFound(recommendation_id=recommendation_id)
            if known.state not in DONE or known.completed_at is None:
                raise NotCompleted(recommendation_id=recommendation_id, state=known.state.name)
            change = Change(completed_at=known.completed_at, claim=known.finding.saving.expected)
            units = await _scope(tx, known)
            rivals, touched = await _others(tx, known, units, change, self._clock.now())
            compared = comparison(change, rivals, now=self._clock.now())
            whole = Period(compared.before.start, compared.after.end)
            scope = await scopes.daily_costs(tx, tenant_id, whole, list(units))
            if known.finding.kind in _OWN_VOLUME:
                metered = _metered(known, units)
                found = await scopes.daily_costs(tx, tenant_id, whole, metered)
                volumes = {row.day: row.quantity for row in found}
            else:
                # Other currencies would not add up, and what others changed tells no growth.
                beside = await scopes.series_beside(
                    tx, tenant_id, known.finding.currency_code, [*units, *touched]
                )
                found = await scopes.daily_costs(tx, tenant_id, whole, beside)
                volumes = {row.day: row.cost for row in found}
            told = await scopes.days_told(tx, tenant_id, whole)
        prices = await self._prices(known, whole)
        days = _days(known, scope, volumes, told, prices)
        saving = await asyncio.to_thread(
            measure,
            [day for at, day in days if at < compared.before.end.date()],
            [day for at, day in days if at >= compared.after.start.date()],
        )
        if saving is not None:
            saving = share_of(saving, change, compared.inseparable)
        return self._measurement(known, compared.before, compared.after, saving)

    async def _prices(self, known: Recommendation, whole: Period) -> dict[date, Decimal]:
        """Returns by day how prices of the scope moved, 1 on the first."""
        scope = known.finding.scope
        profile = await self._profiles.get(known.tenant_id)
        if not scope.resource_type:
            return {}
        prices = await self._usage.tariffs(
            known.tenant_id,
            resource_types={scope.resource_type},
            providers={scope.provider},
            resource_ids=scope.resource_ids,
            has_patterns=True,
            week=whole.end,
            tz=profile.tz,
        )
        return price_index(prices.tariffs, scope, whole)

    def _measurement(
        self,
        known: Recommendation,
        before: Period,
        after: Period,
        saving: RealizedSaving | None,
    ) -> Measurement:
        days = Decimal((after.end - after.start).days)
        claimed = known.finding.saving.scaled(EXACT.divide(days, MONTH_DAYS))
        pending = RealizedSaving(
            realized=ZERO,
            counterfactual=ZERO,
            actual=Decimal(0),
            volume_effect=0.0,
            price_effect_ratio=0.0,
            error_ratio=0.0,
        )
        verdict = Verdict.PENDING if saving is None else verdict_of(saving.realized, claimed)
        return Measurement(
            measurement_id=new_id(),
            recommendation_id=known.recommendation_id,
            verdict=verdict,
            currency_code=known.finding.currency_code,
            before=before,
            after=after,
            claimed=Estimate(*claimed),
            saving=pending if saving is None else saving,
            measured_at=self._clock.now(),
        )

    async def _store(self, tx: Transaction, tenant_id: str, found: Measurement) -> None:
        await measurements.add(tx, tenant_id, found)
        locked = await rows.by_ids(tx, tenant_id, [found.recommendation_id], is_locked=True)
        known = locked[found.recommendation_id]
        after = state_after(found.verdict, known.state)
        if known.state not in DONE or after is known.state:
            return
        await self._move(tx, known, after, found)

    async def _move(
        self, tx: Transaction, known: Recommendation, after: State, found: Measurement
    ) -> None:
        moved = known.moved(after, now=found.measured_at)
        await rows.save(tx, moved)
        change = StateChange(
            before=known.state,
            after=after,
            actor=ACTOR,
            note=f"measured {found.saving.realized.expected:.2f} {found.currency_code}",
            at=found.measured_at,
        )
        await rows.append_event(tx, self._feed, moved, change)
        log.info(
            "saving measured",
            tenant=known.tenant_id,
            recommendation=known.recommendation_id,
            verdict=found.verdict.name,
        )


async def _scope(tx: Transaction, known: Recommendation) -> dict[int, str]:
    """Returns the series whose cost the change moves, with their units."""
    ids = [part.series_id for part in known.finding.parts]
    kind = known.finding.kind
    return await scopes.series_of_scope(
        tx,
        known.tenant_id,
        ids,
        has_resources=kind in _OF_RESOURCES,
        cached_unit=CACHED_METER if kind is Kind.CACHING else "",
        substitute=proposed_model(known.finding) if kind is Kind.MODEL_SUBSTITUTION else "",
    )


async def _others(
    tx: Transaction,
    known: Recommendation,
    units: Mapping[int, str],
    change: Change,
    now: datetime,
) -> tuple[list[Change], set[int]]:
    """Returns other changes of the scope's usage, and the series of all other changes.

    Those that were done around this one; what was refuted changed nothing.
    """
    far = timedelta(days=BEFORE_DAYS_MAX)
    around = Period(change.completed_at - far, max(now, change.completed_at) + far)
    rivals, touched = [], set[int]()
    done = "state = COMPLETED OR state = VERIFIED"
    for one in await rows.all_of(tx, known.tenant_id, done, completed_in=around):
        if one.recommendation_id == known.recommendation_id or one.completed_at is None:
            continue
        series = await _scope(tx, one)
        touched.update(series)
        if not series.keys().isdisjoint(units):
            claim = one.finding.saving.expected
            rivals.append(Change(completed_at=one.completed_at, claim=claim))
    return rivals, touched


def _metered(known: Recommendation, units: Mapping[int, str]) -> list[int]:
    """Returns the series whose quantities add up to one volume: those of the costliest's unit."""
    parts = sorted(known.finding.parts, key=lambda part: -part.monthly_cost)
    first = next((units[part.series_id] for part in parts if part.series_id in units), "")
    wanted = {first, CACHED_METER} if known.finding.kind is Kind.CACHING else {first}
    return [series_id for series_id, unit in units.items() if unit in wanted]


def _days(
    known: Recommendation,
    scope: list[DayCost],
    volumes: Mapping[date, Decimal],
    told: Sequence[date],
    prices: Mapping[date, Decimal],
) -> list[tuple[date, DayUse]]:
    """Returns each day's cost with its volume and price.

    volumes: the scope's own quantity, of one unit and none on days without, where the change leaves
    that alone; else what else is paid in its currency, which growth moves and the change does not.
    told: the days with any usage. At constant prices both are 1 at first.
    """
    own = {row.day: row.cost for row in scope}
    has_own_volume = known.finding.kind in _OWN_VOLUME
    positive = [volumes[day] for day in told if volumes.get(day, 0) > 0]
    # Where little is paid beside the scope, nothing tells how the tenant grew.
    has_volume = bool(positive) and (has_own_volume or len(positive) * 2 >= len(told))
    first = positive[0] if positive else Decimal(1)
    found = []
    for day in told:
        volume = max(volumes.get(day, Decimal(0)), Decimal(0)) / first if has_volume else Decimal(1)
        price_ratio = prices.get(day, Decimal(1))
        cost = own.get(day, Decimal(0))
        use = DayUse(cost, float(volume), float(price_ratio), day.weekday())
        found.append((day, use))
    return found
