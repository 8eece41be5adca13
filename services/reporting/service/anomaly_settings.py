"""Settings of the detection, and maintenance windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final

from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import FieldViolations
from services.kernel.feed_page import FeedItem, FeedPosition
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.reporting.domain.anomaly.anomaly import State
from services.reporting.domain.anomaly.settings import AnomalySettings, MaintenanceWindow
from services.reporting.errors import AnomalySettingsChanged, MaintenanceWindowNotFound
from services.reporting.service.peers import UsageReader
from services.reporting.store import anomalies, watching
from services.reporting.store import anomaly_settings as rows
from services.reporting.store.anomalies import AnomalyFeed

RESOURCE: Final = "anomaly-settings"
# Windows of a tenant that are not over: each verdict looks at all of them.
WINDOWS_MAX: Final = 1_000

Change = Callable[[AnomalySettings], AnomalySettings]


class AnomalyRules:
    """Keeps how anomalies are looked for."""

    def __init__(
        self,
        database: Database,
        usage: UsageReader,
        feed: AnomalyFeed,
        *,
        can_send: bool,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """can_send: whether a budget service is connected, which delivers notifications."""
        self._database = database
        self._usage = usage
        self._feed = feed
        self._can_send = can_send
        self._tokens = tokens
        self._clock = clock

    async def get_anomaly_settings(self, tenant_id: str) -> tuple[AnomalySettings, str]:
        """Returns a tenant's settings and its currency."""
        code = (await self._usage.tenant(tenant_id)).currency_code
        async with self._database.read(tenant_id) as tx:
            return await rows.find(tx, tenant_id), code

    async def update_anomaly_settings(
        self, tenant_id: str, change: Change, *, impact_currency: str, etag: str
    ) -> tuple[AnomalySettings, str]:
        """Changes settings. impact_currency: of the amount given, empty where none is.

        Series of other dimensions begin with the sums of the old ones, or anew where they are
        finer. Raises FieldViolations, AnomalySettingsChanged.
        """
        code = (await self._usage.tenant(tenant_id)).currency_code
        if impact_currency not in ("", code):
            text = f"must be in the tenant's currency, {code}"
            raise FieldViolations([("settings.impact_min", text)])
        async with self._database.transaction(tenant_id) as tx:
            before = await rows.find(tx, tenant_id, is_locked=True)
            if etag and etag != before.etag:
                raise AnomalySettingsChanged(etag=before.etag)
            changed = change(before)
            if changed.channel_ids and not self._can_send:
                text = "needs a budget service, which sends; add it to FINOPS_PEERS"
                raise FieldViolations([("settings.channel_ids", text)])
            now = self._clock.now()
            after = replace(changed, version=before.version + 1, updated_at=now)
            await rows.save(tx, after)
            if set(after.group_by) != set(before.group_by):
                await self._regroup(tx, before, after, now)
            await audit.append(
                tx,
                action="anomaly_settings.update",
                resource=RESOURCE,
                before=_audited(before),
                after=_audited(after),
            )
        return after, code

    @staticmethod
    async def _regroup(
        tx: Transaction, before: AnomalySettings, after: AnomalySettings, now: datetime
    ) -> None:
        facts = await rows.regroup(tx, after)
        # Sums do not tell their parts: finer series are learnt from the next usage on.
        if facts and set(after.group_by) <= set(before.group_by):
            start = FeedPosition(0, 0)
            await watching.add(tx, [FeedItem(start, after.tenant_id, fact) for fact in facts])
            until = now.replace(minute=0, second=0, microsecond=0)
            await rows.judged_until(tx, after.tenant_id, until)

    async def create_maintenance_window(
        self, tenant_id: str, display_name: str, period: Period, filter_text: str
    ) -> MaintenanceWindow:
        """Adds a window; what was found in it already counts as expected.

        Raises FieldViolations for a filter that is not about watched dimensions, or too many
        windows.
        """
        window = MaintenanceWindow(
            tenant_id=tenant_id,
            window_id=new_id(),
            display_name=display_name,
            period=period,
            filter=filter_text,
            author=current_caller().subject,
            created_at=self._clock.now(),
        )
        async with self._database.transaction(tenant_id) as tx:
            known = await rows.windows_since(tx, tenant_id, self._clock.now())
            if len(known) >= WINDOWS_MAX:
                text = f"there are {WINDOWS_MAX} windows that are not over; delete some first"
                raise FieldViolations([("window", text)])
            await rows.add_window(tx, window)
            for found in await anomalies.between(tx, tenant_id, period):
                if found.state is not State.EXPECTED and window.covers(found.scope):
                    explained = replace(found, state=State.EXPECTED)
                    await anomalies.save(tx, explained)
                    await self._feed.append(tx, explained)
            await audit.append(
                tx,
                action="maintenance_window.create",
                resource=f"maintenance-windows/{window.window_id}",
                after=_said(window),
            )
        return window

    async def list_maintenance_windows(self, request: PageRequest) -> Page[MaintenanceWindow]:
        """Returns a page of windows."""
        async with self._database.read(request.tenant_id) as tx:
            return await rows.page(tx, request, self._tokens)

    async def delete_maintenance_window(self, tenant_id: str, window_id: str) -> None:
        """Deletes a window; what it explained stays explained. Raises MaintenanceWindowNotFound."""
        async with self._database.transaction(tenant_id) as tx:
            window = await rows.remove_window(tx, tenant_id, window_id)
            if window is None:
                raise MaintenanceWindowNotFound(window_id=window_id)
            await audit.append(
                tx,
                action="maintenance_window.delete",
                resource=f"maintenance-windows/{window_id}",
                before=_said(window),
            )


def _audited(settings: AnomalySettings) -> dict[str, Any]:
    values = asdict(settings)
    return {
        name: values[name] for name in ("is_disabled", "grace_hours", "group_by", "channel_ids")
    } | {
        "sensitivity": str(settings.sensitivity),
        "impact_min": str(settings.impact_min),
        "severity_min": settings.severity_min.name,
    }


def _said(window: MaintenanceWindow) -> dict[str, Any]:
    return {
        "display_name": window.display_name,
        "start": window.period.start.isoformat(),
        "end": window.period.end.isoformat(),
        "filter": window.filter,
    }
