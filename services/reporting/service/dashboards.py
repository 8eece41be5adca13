"""GetDashboard: cached while nothing changed, for a quarter of an hour at most."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import datetime, timedelta
from typing import Final

import structlog
from pydantic import TypeAdapter

from services.kernel.cache import Cache, CacheKey
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.errors import DeadlineExceeded, Error, Unavailable
from services.kernel.expiring import ExpiringMap
from services.kernel.filter import parse_filter
from services.reporting.domain.dashboard.dashboard import Dashboard
from services.reporting.domain.dashboard.question import DashboardQuestion, frame_of
from services.reporting.service.dashboard_parts import DashboardParts
from services.reporting.service.dashboard_wanted import Wanted
from services.reporting.service.peers import TenantSettings, UsageReader
from services.reporting.store import dashboards as store

log = structlog.get_logger(__name__)
_dashboards = TypeAdapter(Dashboard)

KIND: Final = "dashboard"
# The contract's promise about `compute_time`.
AGE_MAX: Final = timedelta(minutes=15)
# An answer serves for one turn, and the next one's is computed ahead. So it is at most as old as
# both together, which is less than it may be.
TURN_SECONDS: Final = 600
AHEAD: Final = timedelta(minutes=2)
# How long an answer serves from which a part is missing that may soon be there again.
INCOMPLETE_SECONDS: Final = 5
REFRESH_SECONDS: Final = 15.0
# A tenant's zone and currency, which seldom change; they serve on while usage is away.
SETTINGS_SECONDS: Final = 60.0
SETTINGS_AWAY_SECONDS: Final = 86_400.0
SETTINGS_RETRY_SECONDS: Final = 5.0
TENANTS_MAX: Final = 10_000
NAMES_MAX: Final = 1_000

_WHOLE, _INCOMPLETE = b"+", b"-"


class _Incomplete(Exception):
    """Carries an answer past the cache that is not to be kept."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("a part is missing")
        self.answer = answer


class Dashboards:
    """Answers from the cache, and computes ahead what was asked for lately."""

    def __init__(
        self,
        database: Database,
        cache: Cache,
        parts: DashboardParts,
        usage: UsageReader,
        *,
        clock: Clock,
    ) -> None:
        """cache: may be absent or dead at any time; then every answer is computed."""
        self._database = database
        self._cache = cache
        self._parts = parts
        self._usage = usage
        self._clock = clock
        self._settings: ExpiringMap[str, TenantSettings] = ExpiringMap(TENANTS_MAX)
        self._last_settings: ExpiringMap[str, TenantSettings] = ExpiringMap(TENANTS_MAX)
        self._wanted = Wanted()
        self._made_ahead: ExpiringMap[str, bool] = ExpiringMap(NAMES_MAX)

    async def get_dashboard(
        self, question: DashboardQuestion, *, refresh: bool = False
    ) -> Dashboard:
        """Returns the dashboard; where `refresh` asks for it, computed anew for everybody.

        Raises InvalidFilter, InvalidForecastInstant, InvalidPeriod and UsageQuestionRefused for
        what cannot be asked, PeerUnavailable where not even the tenant's zone is known.
        """
        parse_filter(question.filter)
        settings = await self._tenant(question.tenant_id)
        now = self._clock.now()
        frame_of(question, now, settings.tz, settings.currency_code)
        async with self._database.transaction(question.tenant_id) as tx:
            if refresh:
                version = await store.renew(tx, question.tenant_id)
            else:
                version = await store.version_in_force(tx, question.tenant_id)
        self._wanted.add(question)
        answer = await self._answer(question, settings, version, at=now)
        return _dashboards.validate_json(answer)

    async def refresh(self) -> None:
        """Computes ahead from time to time, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh_due()

    async def refresh_due(self) -> int:
        """Computes what was asked for lately and will soon be too old; returns how many."""
        made = 0
        for question in self._wanted.questions():
            try:
                made += await self._make_ahead(question)
            except Error as error:
                log.warning("a dashboard is not computed ahead", error=repr(error))
        return made

    async def _make_ahead(self, question: DashboardQuestion) -> bool:
        settings = await self._tenant(question.tenant_id)
        now = self._clock.now()
        soon = now + AHEAD
        same_day = _day(now, settings) == _day(soon, settings)
        if not same_day or _turn(question, soon) == _turn(question, now):
            return False  # an answer of today is not one of tomorrow
        async with self._database.transaction(question.tenant_id) as tx:
            version = await store.version_in_force(tx, question.tenant_id)
        name = f"{question.tenant_id} {_name(question, settings, version, at=soon)}"
        if self._made_ahead.get(name):
            return False
        await self._answer(question, settings, version, at=soon)
        self._made_ahead.put(name, True, AGE_MAX.total_seconds())  # noqa: FBT003 - a set
        return True

    async def _answer(
        self, question: DashboardQuestion, settings: TenantSettings, version: int, *, at: datetime
    ) -> bytes:
        """Returns the answer as JSON, kept for the turn of an instant unless it is incomplete."""
        name = _name(question, settings, version, at=at)
        lately = int(at.timestamp()) // INCOMPLETE_SECONDS

        async def compute() -> bytes:
            frame = frame_of(question, self._clock.now(), settings.tz, settings.currency_code)
            dashboard = await self._parts.gather(question, frame)
            mark = _INCOMPLETE if dashboard.is_passing else _WHOLE
            return mark + _dashboards.dump_json(dashboard)

        async def whole() -> bytes:
            answer = await self._cache.get_or_compute(
                CacheKey(KIND, question.tenant_id, f"{name} {lately}"),
                timedelta(seconds=INCOMPLETE_SECONDS),
                compute,
            )
            if answer.startswith(_INCOMPLETE):
                raise _Incomplete(answer)
            return answer

        try:
            answer = await self._cache.get_or_compute(
                CacheKey(KIND, question.tenant_id, name), AGE_MAX, whole
            )
        except _Incomplete as incomplete:
            answer = incomplete.answer
        return answer[1:]

    async def _tenant(self, tenant_id: str) -> TenantSettings:
        known = self._settings.get(tenant_id)
        if known is not None:
            return known
        seconds = SETTINGS_SECONDS
        try:
            known = await self._usage.tenant(tenant_id)
        except (Unavailable, DeadlineExceeded):
            known = self._last_settings.get(tenant_id)
            if known is None:
                raise
            seconds = SETTINGS_RETRY_SECONDS
        self._settings.put(tenant_id, known, seconds)
        self._last_settings.put(tenant_id, known, SETTINGS_AWAY_SECONDS)
        return known


def _name(
    question: DashboardQuestion, settings: TenantSettings, version: int, *, at: datetime
) -> str:
    """Returns everything that an answer depends on beside the tenant and the present second."""
    return json.dumps(
        [
            version,
            _turn(question, at),
            _day(at, settings),
            settings.tz.key,
            question.currency_code or settings.currency_code,
            question.start,
            question.end,
            question.filter,
            question.cost_type,
            question.top_count,
            sorted(part.name for part in question.parts),
        ]
    )


def _turn(question: DashboardQuestion, at: datetime) -> int:
    """Returns the number of an instant's turn; each tenant's turns begin at another time."""
    spread = hashlib.sha256(question.tenant_id.encode()).digest()
    return (int(at.timestamp()) + int.from_bytes(spread[:4])) // TURN_SECONDS


def _day(at: datetime, settings: TenantSettings) -> str:
    return at.astimezone(settings.tz).date().isoformat()
