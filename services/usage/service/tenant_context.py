"""What recording keeps of each tenant between batches: zone, prices, interned attributes."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple

from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.money import format_decimal
from services.kernel.period import zone
from services.usage.domain.event import Attributes, UsageEvent
from services.usage.domain.price import BEGINNING, NEVER
from services.usage.domain.price_index import PriceIndex
from services.usage.domain.rate_plan import RatePlan
from services.usage.domain.recording import HourClock, attributes_digest
from services.usage.store import prices, tenants
from services.usage.store.dimensions import intern_dimensions, intern_rate_plans
from services.usage.store.erasures import pseudonyms, without
from services.usage.store.events import make_partition, partition_months
from services.usage.store.tenants import TenantSettings
from services.usage.tables import GLOBAL_TENANT

SETTINGS_SECONDS = 2.0  # a change of price or zone reaches every replica within this time
TENANTS_MAX = 2_000  # tenants kept; the least recently used goes first
FORMATS_KEPT = 4_096  # combinations of meters; a kind of work has one
RESOLUTIONS_MAX = 100_000  # over all tenants, about 60 MB


class Resolution(NamedTuple):
    """What one combination of attributes and meters means to storage and rating.

    plan: None where the event brings its cost. rate_plan_id: None with it, and where a plan is
    rated event by event. valid_from, valid_until: the plan's, for the start of the event.
    """

    meters: tuple[str, ...]
    valid_from: datetime
    valid_until: datetime
    plan: RatePlan | None
    dimension_id: int
    rate_plan_id: int | None
    digest: bytes
    components_format: str


class TenantFrame:
    """One tenant's settings and zone, which questions need."""

    __slots__ = ("checked_at", "settings", "tz")

    def __init__(self, settings: TenantSettings) -> None:
        """Takes settings that were read just now."""
        self.settings = settings
        self.tz = zone(settings.time_zone)
        self.checked_at = time.monotonic()


class TenantContext:
    """One tenant's zone, prices and resolutions, which recording needs."""

    def __init__(self, tenant_id: str, frame: TenantFrame, index: PriceIndex) -> None:
        """Takes the tenant's frame and the prices it sees."""
        self.tenant_id = tenant_id
        self.settings = frame.settings
        self.index = index
        self.tz = frame.tz
        self.hours = HourClock(self.tz)
        self.resolutions: dict[Attributes, list[Resolution]] = {}
        self.rate_plan_ids: dict[str, int] = {}
        self._plans: dict[tuple[str | tuple[str, ...], ...], list[RatePlan]] = {}

    def find(self, event: UsageEvent) -> Resolution | None:
        """Returns what is known about an event like this one."""
        known = self.resolutions.get(event.attributes)
        if known is None:
            return None
        if event.cost is not None:
            return next((item for item in known if item.plan is None), None)
        start_at = event.start_at
        meters = meters_of(event)
        for item in known:
            if item.valid_from <= start_at < item.valid_until and item.meters == meters:
                return item
        return None

    def plan(self, attributes: Attributes, meters: tuple[str, ...], at: datetime) -> RatePlan:
        """Returns the prices of some meters, one object for all attributes that prices see alike.

        At most RESOLUTIONS_MAX are kept.
        """
        key = (
            *(attributes.resource_type, attributes.provider, attributes.service),
            *(attributes.region, attributes.resource_id, attributes.currency_code, meters),
        )
        known = self._plans.setdefault(key, [])
        found = next((plan for plan in known if _covers(plan, at)), None)
        if found is None:
            found = self.index.plan(attributes, meters, at)
            known.append(found)
        return found

    def clear(self) -> None:
        """Forgets what was resolved, to make room."""
        self.resolutions.clear()
        self._plans.clear()


def meters_of(event: UsageEvent) -> tuple[str, ...]:
    """Returns the meters that prices are looked up for."""
    if not event.components:
        return (event.attributes.unit,)
    return tuple(meter for meter, _ in event.components)


class TenantContexts:
    """The contexts of the tenants that were used last."""

    def __init__(self, database: Database, envelope: Envelope | None = None) -> None:
        """Takes the database that settings, prices and interned attributes are read from.

        envelope: opens what erased users are known by, where that is sealed.
        """
        self._database = database
        self._envelope = envelope or Envelope([])
        self._frames: OrderedDict[str, TenantFrame] = OrderedDict()
        self._contexts: dict[str, TenantContext] = {}  # of some of the frames
        self._global: tuple[int, PriceIndex] | None = None
        self._reading_base = asyncio.Lock()
        self._resolutions = 0
        self._months: set[date] = set()

    async def require_partitions(self, events: Sequence[UsageEvent]) -> None:
        """Makes the partitions of the events' months where they are missing."""
        months = {date(event.start_at.year, event.start_at.month, 1) for event in events}
        if months <= self._months:
            return
        async with self._database.system_transaction() as tx:
            known = await partition_months(tx)
            for month in sorted(months - known):
                await make_partition(tx, month)
        self._months = known | months

    def forget_partitions(self) -> None:
        """Looks again before the next batch, because one was archived."""
        self._months = set()

    def forget(self, tenant_id: str) -> None:
        """Drops what is known, after a change of the tenant's prices or settings."""
        if tenant_id == GLOBAL_TENANT:
            self._frames.clear()
            self._contexts.clear()
            self._global = None
            self._resolutions = 0
            return
        self._frames.pop(tenant_id, None)
        dropped = self._contexts.pop(tenant_id, None)
        if dropped is not None:
            self._resolutions -= len(dropped.resolutions)

    async def frame(self, tenant_id: str) -> TenantFrame:
        """Returns the tenant's settings, at most SETTINGS_SECONDS behind a change elsewhere.

        A tenant that is not known yet is made, with UTC and USD.
        """
        known = self._frames.get(tenant_id)
        if known is not None:
            self._frames.move_to_end(tenant_id)
            if time.monotonic() - known.checked_at < SETTINGS_SECONDS:
                return known
        settings = await self._settings(tenant_id)
        if known is not None and known.settings == settings:
            known.checked_at = time.monotonic()
            return known
        self.forget(tenant_id)
        frame = self._frames[tenant_id] = TenantFrame(settings)
        if len(self._frames) > TENANTS_MAX:
            self.forget(next(iter(self._frames)))
        return frame

    async def get(self, tenant_id: str) -> TenantContext:
        """Returns the tenant's frame with its prices, of which the global ones take 25 MB."""
        frame = await self.frame(tenant_id)
        context = self._contexts.get(tenant_id)
        if context is None or context.settings is not frame.settings:
            index = await self._index(tenant_id, frame.settings)
            context = self._contexts[tenant_id] = TenantContext(tenant_id, frame, index)
        return context

    async def _settings(self, tenant_id: str) -> TenantSettings:
        async with self._database.read(tenant_id) as tx:
            found = await tenants.tenant_settings(tx, tenant_id)
        if found is not None:
            return found
        async with self._database.transaction(tenant_id) as tx:
            await tenants.make_tenant(tx, tenant_id)
            made = await tenants.tenant_settings(tx, tenant_id)
        if made is None:
            raise RuntimeError("the schema's global tenant is missing; run `finops migrate`")
        return made

    async def _index(self, tenant_id: str, settings: TenantSettings) -> PriceIndex:
        base = await self._base(tenant_id, settings.global_price_revision)
        async with self._database.read(tenant_id) as tx:
            return PriceIndex(
                await prices.current_prices(tx, tenant_id),
                await prices.peak_schedules(tx, tenant_id),
                base=base,
            )

    async def _base(self, tenant_id: str, revision: int) -> PriceIndex:
        """Returns the prices that every tenant sees; one caller reads them for all that wait."""
        async with self._reading_base:
            if self._global is not None and self._global[0] == revision:
                return self._global[1]
            async with self._database.read(tenant_id) as tx:
                base = PriceIndex(
                    await prices.current_prices(tx, GLOBAL_TENANT),
                    await prices.peak_schedules(tx, GLOBAL_TENANT),
                )
            self._global = (revision, base)
            return base

    async def resolve(
        self, context: TenantContext, events: Sequence[UsageEvent]
    ) -> list[Resolution]:
        """Returns the resolution of each event, interning combinations that are new.

        They are interned in a transaction of their own: an id that is kept here must be committed,
        and the locks of new rows must not last as long as a batch.
        """
        found = [context.find(event) for event in events]
        new = [event for event, known in zip(events, found, strict=True) if known is None]
        if new:
            await self._intern(context, new)
            found = [
                known or context.find(event) for event, known in zip(events, found, strict=True)
            ]
        return [known for known in found if known is not None]

    async def _intern(self, context: TenantContext, events: Sequence[UsageEvent]) -> None:
        if self._resolutions > RESOLUTIONS_MAX:
            for kept in self._contexts.values():
                kept.clear()
            self._resolutions = 0
        wanted = plan_all(context, events)
        dimensions = list(dict.fromkeys(item.stored for item in wanted))
        lines = dict.fromkeys(item.lines for item in wanted if item.lines)
        new_lines = [text for text in lines if text not in context.rate_plan_ids]
        async with self._database.transaction(context.tenant_id) as tx:
            # Who was erased is not named again: usage that comes later is the pseudonym's.
            names = {name for item in dimensions for name in item.persons}
            erased = await pseudonyms(tx, self._envelope, context.tenant_id, names)
            stored = {item: without(item, erased) for item in dimensions}
            distinct = list(dict.fromkeys(stored.values()))
            found = await intern_dimensions(tx, context.tenant_id, distinct)
            ids = dict(zip(distinct, found, strict=True))
            plan_ids = await intern_rate_plans(tx, context.tenant_id, new_lines)
        context.rate_plan_ids.update(zip(new_lines, plan_ids, strict=True))
        for item in wanted:
            resolution = Resolution(
                meters=item.meters,
                valid_from=item.plan.valid_from if item.plan else BEGINNING,
                valid_until=item.plan.valid_until if item.plan else NEVER,
                plan=item.plan,
                dimension_id=ids[stored[item.stored]],
                rate_plan_id=context.rate_plan_ids[item.lines] if item.lines else None,
                digest=attributes_digest(item.reported),
                components_format=components_format(item.meters),
            )
            context.resolutions.setdefault(item.reported, []).append(resolution)
            self._resolutions += 1


class _Wanted(NamedTuple):
    """A combination to intern. stored: reported, with the currency of its price.

    lines: the applied prices as JSON; "" where the event brings its cost, or is rated by itself.
    """

    reported: Attributes
    stored: Attributes
    meters: tuple[str, ...]
    plan: RatePlan | None
    lines: str


def plan_all(context: TenantContext, events: Sequence[UsageEvent]) -> list[_Wanted]:
    """Returns each combination of attributes, meters and prices that the events need, once."""
    wanted: dict[tuple[Attributes, tuple[str, ...] | None], list[_Wanted]] = {}
    for event in events:
        meters = None if event.cost is not None else meters_of(event)
        known = wanted.setdefault((event.attributes, meters), [])
        if any(_covers(item.plan, event.start_at) for item in known):
            continue
        plan = None
        if meters is not None:
            plan = context.plan(event.attributes, meters, event.start_at)
        currency_code = (plan.currency_code if plan else "") or context.settings.currency_code
        stored = event.attributes
        if not stored.currency_code:
            stored = stored._replace(currency_code=currency_code)
        lines = "" if plan is None or plan.is_stateful else plan_lines(plan)
        known.append(_Wanted(event.attributes, stored, meters or (), plan, lines))
    return [item for known in wanted.values() for item in known]


@lru_cache(maxsize=FORMATS_KEPT)
def components_format(meters: tuple[str, ...]) -> str:
    """Returns the JSON of an event's components with `%s` for each quantity.

    Filled in it costs a fifth of encoding the same, once an event.
    """
    pairs = (f'[{json.dumps(meter).replace("%", "%%")},"%s"]' for meter in meters)
    return f"[{','.join(pairs)}]"


def _covers(plan: RatePlan | None, at: datetime) -> bool:
    return plan is None or plan.valid_from <= at < plan.valid_until


def plan_lines(plan: RatePlan) -> str:
    """Returns the applied prices as canonical JSON, for drill-down from an event's cost."""
    return json.dumps(
        [
            {
                "meter": rate.meter,
                "multiplier": format_decimal(rate.multiplier),
                "price_id": rate.price.price_id if rate.price else "",
            }
            for rate in plan.rates
        ],
        separators=(",", ":"),
    )
