"""Which provider bills a tenant: opened with its key, throttled, left alone while it is down."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from services.billing.domain.provider import ProviderKind, ProviderSettings
from services.billing.service.provider.offline import OfflineProvider
from services.billing.service.provider.port import NoAnswer, PaymentProvider, ProviderDown
from services.billing.service.provider.stripe_provider import API_VERSION, StripeProvider
from services.billing.store import provider_settings as rows
from services.kernel.circuit import Circuit
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.transaction import Transaction

API_KEY: Final = "provider.api_key"
WEBHOOK_SECRET: Final = "provider.webhook_secret"  # noqa: S105 - a purpose, not a secret
OFFLINE_SETTINGS: Final = ProviderSettings(tenant_id="", kind=ProviderKind.OFFLINE)

CONCURRENCY = 4  # requests of one account at once: Stripe's own limits are per account
FAILURES_MAX = 5
OPEN_SECONDS = 15.0
RATES = {False: 20.0, True: 80.0}  # requests a second, under Stripe's 25 and 100


@dataclass(slots=True)
class _Bucket:
    """Lets so many requests a second through, evenly."""

    rate: float
    _next: float = 0.0

    async def take(self) -> None:
        """Waits for its turn."""
        now = asyncio.get_running_loop().time()
        turn = max(self._next, now)
        self._next = turn + 1 / self.rate
        if turn > now:
            await asyncio.sleep(turn - now)


@dataclass(slots=True)
class _Account:
    """What is shared by all work at one account of a provider."""

    provider: PaymentProvider
    digest: str
    bucket: _Bucket
    circuit: Circuit
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENCY))


@dataclass(frozen=True, slots=True)
class Opened:
    """A provider that is ready, and whose settings it was opened with."""

    provider: PaymentProvider
    settings: ProviderSettings
    account: _Account

    @property
    def name(self) -> str:
        """The provider's name in rows."""
        return self.settings.kind.value

    @asynccontextmanager
    async def turn(self, *, is_probe: bool = False) -> AsyncIterator[None]:
        """Waits for a turn at the account. Raises ProviderDown while it is known to be down.

        is_probe: asks whether it still is.
        """
        account = self.account
        if not is_probe and not account.circuit.allows():
            raise ProviderDown("the provider is down; it is tried again in a moment")
        async with account.slots:
            await account.bucket.take()
            try:
                yield
            except NoAnswer:
                account.circuit.failed()
                raise
            account.circuit.succeeded()


class Providers:
    """Opens providers, and keeps them open while their key is the same."""

    def __init__(
        self,
        database: Database,
        envelope: Envelope,
        *,
        base_url: str | None = None,
        timeout_seconds: float | None = None,
        requests_per_second: float | None = None,
        open_seconds: float = OPEN_SECONDS,
    ) -> None:
        """base_url: another address than Stripe's. open_seconds: how long one is left alone."""
        self._open_seconds = open_seconds
        self._database = database
        self._envelope = envelope
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        self._rate = requests_per_second
        self._accounts: dict[str, _Account] = {}
        self._offline = _Account(OfflineProvider(), "", _Bucket(1e9), self._circuit())

    async def of(self, tenant_id: str) -> Opened:
        """Returns what bills the tenant. Raises what the envelope raises."""
        async with self._database.read(tenant_id) as tx:
            stored = await rows.find_effective(tx, tenant_id)
            key = "" if stored is None else await self.api_key(tx, stored)
        if stored is None:
            return Opened(self._offline.provider, OFFLINE_SETTINGS, self._offline)
        if stored.settings.kind is ProviderKind.OFFLINE:
            return Opened(self._offline.provider, stored.settings, self._offline)
        account = await self._account(stored.settings, key)
        return Opened(account.provider, stored.settings, account)

    async def api_key(self, tx: Transaction, stored: rows.StoredSettings) -> str:
        """Returns the key of settings, "" without one."""
        if stored.api_key is None:
            return ""
        owner = stored.settings.tenant_id
        return (await self._shared_open(tx, owner, stored.api_key)).decode()

    def candidate(self, api_key: str) -> StripeProvider:
        """Opens an account by a key that is not stored yet; the caller closes it."""
        return StripeProvider(api_key, base_url=self._base_url)

    async def _shared_open(self, tx: Transaction, owner: str, sealed: bytes) -> bytes:
        return await self._envelope.open(tx, owner, sealed, API_KEY)

    async def _account(self, settings: ProviderSettings, key: str) -> _Account:
        digest = hashlib.sha256(key.encode()).hexdigest()
        known = self._accounts.get(settings.tenant_id)
        if known is not None and known.digest == digest:
            return known
        # Whoever still works with the old key keeps its provider until it is done.
        provider = StripeProvider(
            key,
            base_url=self._base_url,
            **({} if self._timeout_seconds is None else {"timeout_seconds": self._timeout_seconds}),
        )
        account = _Account(
            provider, digest, _Bucket(self._rate or RATES[settings.live_mode]), self._circuit()
        )
        self._accounts[settings.tenant_id] = account
        return account

    def _circuit(self) -> Circuit:
        return Circuit(failures_max=FAILURES_MAX, open_seconds=self._open_seconds)

    async def close(self) -> None:
        """Closes all of them."""
        for account in self._accounts.values():
            await account.provider.close()


__all__ = ["API_KEY", "API_VERSION", "OFFLINE_SETTINGS", "WEBHOOK_SECRET", "Opened", "Providers"]
