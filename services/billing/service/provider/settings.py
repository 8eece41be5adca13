"""The use cases of provider settings: who bills a tenant, with keys that never come out again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from services.billing.domain.operation import Operation
from services.billing.domain.outage import ProviderOutage
from services.billing.domain.provider import ProviderKind, ProviderSettings, Secrets
from services.billing.errors import ProviderSettingsInvalid, ResourceChanged
from services.billing.service.provider.leaving import Leaving
from services.billing.service.provider.port import KeyRejected, ProviderFault
from services.billing.service.provider.providers import (
    API_KEY,
    API_VERSION,
    OFFLINE_SETTINGS,
    WEBHOOK_SECRET,
    Providers,
)
from services.billing.store import operations, outages
from services.billing.store import provider_settings as rows
from services.billing.store.provider_settings import StoredSettings
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.transaction import Transaction

_PREFIXES = {
    False: ("sk_test_", "rk_test_"),
    True: ("sk_live_", "rk_live_"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChange:
    """What to change. names: of the fields of settings and secrets that are given."""

    settings: ProviderSettings
    secrets: Secrets
    names: Collection[str]
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Tested:
    """What a provider said. message: one sentence."""

    message: str
    is_reachable: bool = True
    is_accepted: bool = False


class Settings:
    """The use cases of ProviderService."""

    def __init__(
        self,
        database: Database,
        envelope: Envelope,
        providers: Providers,
        *,
        tokens: PageTokens,
        clock: Clock,
        allows_live_keys: bool = False,
    ) -> None:
        """allows_live_keys: whether real money is meant here."""
        self._database = database
        self._envelope = envelope
        self._providers = providers
        self._leaving = Leaving(database, providers)
        self._tokens = tokens
        self._clock = clock
        self._allows_live_keys = allows_live_keys

    async def get_provider_settings(
        self, tenant_id: str
    ) -> tuple[ProviderSettings, ProviderOutage | None]:
        """Returns what bills the tenant, its own, the seller's, or nobody; and its outage."""
        async with self._database.read(tenant_id) as tx:
            stored = await rows.find_effective(tx, tenant_id)
            settings = OFFLINE_SETTINGS if stored is None else stored.settings
            return settings, await outages.find(tx, settings.tenant_id)

    async def update_provider_settings(
        self, tenant_id: str, change: SettingsChange
    ) -> ProviderSettings:
        """Stores the tenant's own settings; what is sent already stays where it is.

        Raises ProviderSettingsInvalid, ResourceChanged, MeterRouteOpen, ProviderUnavailable.
        """
        await self._leaving.require_free(
            tenant_id, change.settings, change.names, change.secrets.api_key
        )
        async with self._database.transaction(tenant_id) as tx:
            known = await rows.find_own(tx, tenant_id) or StoredSettings(
                settings=replace(
                    OFFLINE_SETTINGS,
                    tenant_id=tenant_id,
                    api_version=API_VERSION,
                    endpoint_id=new_id(),
                )
            )
            if change.revision is not None and change.revision != known.settings.revision:
                raise ResourceChanged(resource="provider-settings")
            stored = await self._changed(tx, known, change)
            await rows.save(tx, stored)
            await audit.append(
                tx,
                action="provider_settings.update",
                resource="provider-settings",
                before=_state(known.settings),
                after=_state(stored.settings) | {"changed": sorted(change.names)},
            )
        return stored.settings

    async def _changed(
        self, tx: Transaction, known: StoredSettings, change: SettingsChange
    ) -> StoredSettings:
        wanted = {
            name: getattr(change.settings, name)
            for name in ("kind", "live_mode", "publishable_key", "api_version")
            if name in change.names
        }
        settings = replace(
            known.settings,
            **wanted,
            revision=known.settings.revision + 1,
            updated_at=self._clock.now(),
        )
        tenant_id, secrets = settings.tenant_id, change.secrets
        sealed: dict[str, bytes | None] = {}
        if secrets.api_key:
            settings = replace(settings, api_key_hint=hint(secrets.api_key))
            sealed["api_key"] = await self._sealed(tx, tenant_id, secrets.api_key, API_KEY)
        for name in ("webhook_secret", "previous_webhook_secret"):
            value = getattr(secrets, name)
            if value:
                sealed[name] = await self._sealed(tx, tenant_id, value, WEBHOOK_SECRET)
        if secrets.webhook_secret and not secrets.previous_webhook_secret:
            # What was signed before the change is still on its way.
            sealed["previous_webhook_secret"] = known.webhook_secret
        stored = replace(known, settings=settings, **sealed)
        self._require_valid(stored, secrets)
        has_secret = stored.webhook_secret is not None
        return replace(stored, settings=replace(settings, webhook_secret_set=has_secret))

    async def _sealed(self, tx: Transaction, tenant_id: str, value: str, purpose: str) -> bytes:
        return await self._envelope.seal(tx, tenant_id, value.encode(), purpose)

    def _require_valid(self, stored: StoredSettings, secrets: Secrets) -> None:
        settings = stored.settings
        prefixes = _PREFIXES[settings.live_mode]
        if settings.kind is ProviderKind.STRIPE and stored.api_key is None:
            raise ProviderSettingsInvalid("api_key: Stripe needs a secret or restricted key")
        if secrets.api_key and not secrets.api_key.startswith(prefixes):
            raise ProviderSettingsInvalid(
                f"api_key: in this mode it begins with {' or '.join(prefixes)}"
            )
        if stored.api_key is not None and not settings.api_key_hint.startswith(prefixes):
            raise ProviderSettingsInvalid("live_mode: the stored key is of the other mode")
        if settings.live_mode and not self._allows_live_keys:
            raise ProviderSettingsInvalid(
                "live_mode: this server takes test keys only; set FINOPS_ALLOW_LIVE_KEYS=true"
            )
        if settings.api_version not in ("", API_VERSION):
            raise ProviderSettingsInvalid(f"api_version: this release speaks {API_VERSION}")

    async def test_provider(self, tenant_id: str) -> Tested:
        """Asks the provider whether the key works, and of which mode it is."""
        opened = await self._providers.of(tenant_id)
        try:
            async with opened.turn():
                found = await opened.provider.check()
            result = Tested("The provider takes the key.", is_accepted=True)
            if found.live_mode not in (None, opened.settings.live_mode):
                result = Tested("The key is of the other mode.")
        except KeyRejected:
            result = Tested("The provider does not take the key.")
        except ProviderFault as fault:
            result = Tested(f"No useful answer: {fault}.", is_reachable=False)
        async with self._database.transaction(tenant_id) as tx:
            await audit.append(
                tx,
                action="provider_settings.test",
                resource="provider-settings",
                after={"reachable": result.is_reachable, "accepted": result.is_accepted},
            )
        return result

    async def list_provider_operations(self, page: PageRequest) -> Page[Operation]:
        """Returns a page of steps at the provider."""
        async with self._database.read(page.tenant_id) as tx:
            return await operations.list_operations(tx, page, self._tokens)


def hint(key: str) -> str:
    """Returns what may be shown of a key: kind, mode and last four characters."""
    kind, mode, _ = (*key.split("_", 2), "", "")[:3]
    return f"{kind}_{mode}_…{key[-4:]}"


def _state(settings: ProviderSettings) -> dict[str, object]:
    return {
        "kind": settings.kind,
        "live_mode": settings.live_mode,
        "api_key_hint": settings.api_key_hint,
        "api_version": settings.api_version,
    }
