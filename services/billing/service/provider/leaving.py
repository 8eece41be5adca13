"""Keeps tenants at the account whose meters price their usage, until those routes have ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from services.billing.domain.metered_route import MeterRoute
from services.billing.domain.provider import ProviderKind, ProviderSettings
from services.billing.errors import ProviderSettingsInvalid, ProviderUnavailable
from services.billing.errors.metered import MeterRouteOpen
from services.billing.service.provider.port import KeyRejected, ProviderFault
from services.billing.service.provider.providers import OFFLINE_SETTINGS, Providers
from services.billing.store import meter_routes
from services.billing.store import provider_settings as rows
from services.kernel.database import Database


class Leaving:
    """Decides whether settings may be changed."""

    def __init__(self, database: Database, providers: Providers) -> None:
        """Takes the database and what opens providers."""
        self._database = database
        self._providers = providers

    async def require_free(
        self, tenant_id: str, wanted: ProviderSettings, names: Collection[str], api_key: str
    ) -> None:
        """Raises MeterRouteOpen where the change takes usage away from meters that price it.

        wanted, names: settings, and which of them are given. api_key: a new one, "" for none. One
        that sees the routes' subscriptions is of the same account.
        Raises ProviderSettingsInvalid for a key that the provider does not take, and
        ProviderUnavailable.
        """
        async with self._database.read(tenant_id) as tx:
            own = await rows.own_settings(tx, tenant_id)
        async with self._database.system_transaction() as tx:
            routes = await meter_routes.routes_through(tx, tenant_id)
        if not routes:
            return
        before = OFFLINE_SETTINGS if own is None else own.settings
        kind = wanted.kind if "kind" in names else before.kind
        if kind is ProviderKind.OFFLINE:
            raise _refusal(routes, "the offline provider has no meters")
        async with self._database.read(tenant_id) as tx:
            effective = await rows.find_effective(tx, tenant_id)
        is_live = wanted.live_mode if "live_mode" in names else before.live_mode
        if effective is not None and is_live != effective.settings.live_mode:
            raise _refusal(routes, "test and live mode have meters of their own")
        if api_key:
            await self._require_seen(routes, api_key)

    async def _require_seen(self, routes: Sequence[MeterRoute], api_key: str) -> None:
        """Asks with the key for one subscription: a key sees all of its account, or none."""
        provider = self._providers.candidate(api_key)
        try:
            is_seen = await provider.has_subscription(routes[0].provider_subscription_id)
        except KeyRejected as fault:
            raise ProviderSettingsInvalid(f"api_key: Stripe does not take it: {fault}") from fault
        except ProviderFault as fault:
            raise ProviderUnavailable(
                "Stripe does not say whether the key is of the account that meters usage; try"
                " again in a minute."
            ) from fault
        finally:
            await provider.close()
        if not is_seen:
            raise _refusal(routes, "the key is of another account")


def _refusal(routes: Sequence[MeterRoute], why: str) -> MeterRouteOpen:
    first = routes[0]
    return MeterRouteOpen(
        f"Stripe's meters still price usage of {len(routes)} subscription(s), and {why}. First move"
        f" subscription {first.subscription_id} of {first.tenant_id} to a plan without metered"
        " charges, or switch include_usage off in its automated billing; then wait until"
        " `finops billing routes` shows its route as closed (an hour at most), and change the"
        " settings.",
        tenant_id=first.tenant_id,
        subscription_id=first.subscription_id,
        open_routes=str(len(routes)),
    )
