"""Shows detectors and changes their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.kernel import audit
from services.kernel.database import Database
from services.kernel.filter import evaluate, parse_filter, parse_order
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.optimizer.domain.detectors import PROFILES
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.errors import DetectorNotFound, ForeignLeastSaving, StaleDetector
from services.optimizer.service.due import require_schedule
from services.optimizer.service.tenants import TenantProfiles
from services.optimizer.store import detectors as rows
from services.optimizer.store import recommendations
from services.optimizer.store.detectors import StoredSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownDetector:
    """A detector with a tenant's settings. revision: 0 before the first change."""

    profile: DetectorProfile
    settings: DetectorSettings
    dismissed: int
    revision: int
    currency_code: str

    @property
    def etag(self) -> str:
        """Changes with every change of the settings."""
        return f"r{self.revision}"


class Detectors:
    """The use cases of detectors."""

    def __init__(self, database: Database, profiles: TenantProfiles, *, tokens: PageTokens) -> None:
        """profiles: for the currency of the least saving."""
        self._database = database
        self._profiles = profiles
        self._tokens = tokens

    async def list_detectors(self, page: PageRequest) -> Page[ShownDetector]:
        """Returns a page of detectors. Raises InvalidFilter, InvalidOrder."""
        shown = await self._shown(page.tenant_id)
        if page.filter.strip():
            expression = parse_filter(page.filter)
            shown = [one for one in shown if evaluate(expression, _record(one))]
        term = parse_order(
            page.order_by, {"detector_id"}, default="detector_id", tie_break="detector_id"
        )[0]
        shown.sort(key=_id_of, reverse=term.is_descending)
        key = self._tokens.decode(page)
        if key is not None:
            after = str(key[0])
            shown = [
                one
                for one in shown
                if (_id_of(one) < after if term.is_descending else _id_of(one) > after)
            ]
        return self._tokens.page(page, shown[: page.limit + 1], lambda one: [_id_of(one)])

    async def update_detector(
        self,
        tenant_id: str,
        detector_id: str,
        change: Callable[[DetectorSettings], DetectorSettings],
        *,
        currency_code: str,
        etag: str,
    ) -> ShownDetector:
        """Changes settings. currency_code: of the least saving, "" where none is given.

        Raises DetectorNotFound, ForeignLeastSaving, InvalidSchedule, StaleDetector.
        """
        if detector_id not in PROFILES:
            raise DetectorNotFound(detector_id=detector_id)
        own = (await self._profiles.get(tenant_id)).currency_code
        if currency_code not in ("", own):
            raise ForeignLeastSaving(currency_code=own, given=currency_code)
        async with self._database.transaction(tenant_id) as tx:
            stored = (await rows.load(tx, tenant_id)).get(detector_id)
            before = stored or StoredSettings(PROFILES[detector_id].defaults(), 0)
            if etag and etag != f"r{before.revision}":
                raise StaleDetector(etag=f"r{before.revision}")
            after = change(before.settings)
            require_schedule(after.schedule)
            saved = await rows.save(tx, tenant_id, after, revision=before.revision + 1)
            if not saved:
                raise StaleDetector(detector_id=detector_id)
            await audit.append(
                tx,
                action="detectors.update",
                resource=f"detectors/{detector_id}",
                before=_state(before.settings),
                after=_state(after),
            )
        shown = await self._shown(tenant_id)
        return next(one for one in shown if _id_of(one) == detector_id)

    async def _shown(self, tenant_id: str) -> list[ShownDetector]:
        code = (await self._profiles.get(tenant_id)).currency_code
        async with self._database.read(tenant_id) as tx:
            stored = await rows.load(tx, tenant_id)
            judged = await recommendations.judged_counts(tx, tenant_id)
        return [
            ShownDetector(
                profile=profile,
                settings=stored[name].settings if name in stored else profile.defaults(),
                dismissed=judged[name][2] if name in judged else 0,
                revision=stored[name].revision if name in stored else 0,
                currency_code=code,
            )
            for name, profile in PROFILES.items()
        ]


def _id_of(one: ShownDetector) -> str:
    return one.profile.detector_id


def _record(one: ShownDetector) -> dict[str, object]:
    return {
        "detector_id": one.profile.detector_id,
        "kind": frozenset(
            name
            for kind in one.profile.kinds
            for name in (kind.name, f"RECOMMENDATION_KIND_{kind.name}")
        ),
        "disabled": one.settings.is_disabled,
    }


def _state(settings: DetectorSettings) -> dict[str, object]:
    return {
        "is_disabled": settings.is_disabled,
        "headroom": settings.headroom,
        "saving_min": settings.saving_min,
        "confidence_min": settings.confidence_min,
        "history_days_min": settings.history_days_min,
        "excluded_resource_ids": list(settings.excluded_resource_ids),
        "schedule": settings.schedule,
    }
