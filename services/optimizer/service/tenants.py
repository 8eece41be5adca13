"""What the optimizer knows of tenants: zone, currency, and the periods that callers name."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.period import Period, day_start
from services.optimizer.domain.usage_change import TenantProfile
from services.optimizer.errors import InvalidInstant
from services.optimizer.service.usage import UsageReader
from services.optimizer.store import detectors

FRESH = timedelta(hours=1)  # a tenant's currency or name changes rarely, its zone never
PERIOD_MAX = timedelta(days=731)  # as long as statistics are kept
YEARS = range(1970, 2200)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class TenantProfiles:
    """Asks the usage service once an hour for each tenant."""

    def __init__(self, database: Database, usage: UsageReader, *, clock: Clock) -> None:
        """usage: asked outside of transactions."""
        self._database = database
        self._usage = usage
        self._clock = clock
        self._known: dict[str, tuple[TenantProfile, datetime]] = {}

    async def get(self, tenant_id: str) -> TenantProfile:
        """Returns a tenant's profile, at most an hour old."""
        now = self._clock.now()
        found = self._known.get(tenant_id)
        if found is None:
            async with self._database.read(tenant_id) as tx:
                found = await detectors.profile(tx, tenant_id)
        if found is None or now - found[1] > FRESH:
            profile = await self._usage.profile(tenant_id)
            async with self._database.transaction(tenant_id) as tx:
                await detectors.save_profile(tx, profile, now)
            found = (profile, now)
        self._known[tenant_id] = found
        return found[0]

    async def period(self, tenant_id: str, start: str, end: str, *, days: int) -> Period:
        """Returns the period of two texts. days: default length back from the end.

        Raises InvalidInstant, also for more than PERIOD_MAX, and InvalidPeriod.
        """
        tz = (await self.get(tenant_id)).tz
        end_at = read_instant(end, tz) if end else self._clock.now()
        start_at = read_instant(start, tz) if start else end_at - timedelta(days=days)
        period = Period(start_at, end_at)
        if period.duration > PERIOD_MAX:
            raise InvalidInstant(
                f"a period has at most {PERIOD_MAX.days} days; begin it later or end it sooner",
                days=period.duration.days,
            )
        return period


def read_instant(text: str, tz: ZoneInfo) -> datetime:
    """Returns the instant of an RFC 3339 time, or the first of a local date.

    Raises InvalidInstant, also outside of YEARS.
    """
    try:
        if _DATE.fullmatch(text):
            return _within(day_start(date.fromisoformat(text), tz))
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return _within(instant.astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise InvalidInstant(f"{text[:40]!r} is neither a time nor a date", value=text[:40]) from (
            error
        )
    raise InvalidInstant(f"{text[:40]!r} names no time zone; add Z", value=text[:40])


def _within(instant: datetime) -> datetime:
    if instant.year not in YEARS:
        raise ValueError(instant.year)
    return instant
