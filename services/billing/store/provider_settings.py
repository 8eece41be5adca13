"""A tenant's provider and its sealed secrets, as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.billing.domain.provider import ProviderKind, ProviderSettings
from services.billing.tables.provider import SELLER_TENANT
from services.kernel.transaction import Transaction

_FIND = """
SELECT * FROM billing.provider_settings WHERE tenant_id = $1 OR tenant_id = $2
ORDER BY tenant_id = $2 LIMIT 1
"""

_SAVE = """
INSERT INTO billing.provider_settings (tenant_id, kind, live_mode, api_key, api_key_hint,
    publishable_key, webhook_secret, previous_webhook_secret, api_version, endpoint_id, revision,
    updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (tenant_id) DO UPDATE SET kind = EXCLUDED.kind, live_mode = EXCLUDED.live_mode,
    api_key = EXCLUDED.api_key, api_key_hint = EXCLUDED.api_key_hint,
    publishable_key = EXCLUDED.publishable_key, webhook_secret = EXCLUDED.webhook_secret,
    previous_webhook_secret = EXCLUDED.previous_webhook_secret,
    api_version = EXCLUDED.api_version, revision = EXCLUDED.revision,
    updated_at = EXCLUDED.updated_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSettings:
    """Settings with their secrets as they are kept: sealed, None for none."""

    settings: ProviderSettings
    api_key: bytes | None = None
    webhook_secret: bytes | None = None
    previous_webhook_secret: bytes | None = None


def _of(row: Mapping[str, Any]) -> StoredSettings:
    return StoredSettings(
        settings=ProviderSettings(
            tenant_id=row["tenant_id"],
            kind=ProviderKind(row["kind"]),
            live_mode=row["live_mode"],
            api_key_hint=row["api_key_hint"],
            publishable_key=row["publishable_key"],
            webhook_secret_set=row["webhook_secret"] is not None,
            api_version=row["api_version"],
            endpoint_id=row["endpoint_id"],
            revision=row["revision"],
            updated_at=row["updated_at"],
        ),
        api_key=row["api_key"],
        webhook_secret=row["webhook_secret"],
        previous_webhook_secret=row["previous_webhook_secret"],
    )


async def find_effective(tx: Transaction, tenant_id: str) -> StoredSettings | None:
    """Returns what bills the tenant: its own settings, else the seller's, None without either."""
    row = await tx.driver.fetchrow(_FIND, tenant_id, SELLER_TENANT)
    return None if row is None else _of(dict(row))


async def find_own(tx: Transaction, tenant_id: str) -> StoredSettings | None:
    """Returns the tenant's own settings, locked for a change."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.provider_settings WHERE tenant_id = $1 FOR UPDATE", tenant_id
    )
    return None if row is None else _of(dict(row))


async def own_settings(tx: Transaction, tenant_id: str) -> StoredSettings | None:
    """Returns the tenant's own settings, for reading."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.provider_settings WHERE tenant_id = $1", tenant_id
    )
    return None if row is None else _of(dict(row))


async def find_of_endpoint(tx: Transaction, endpoint_id: str) -> StoredSettings | None:
    """Returns whose endpoint it is; "" is the seller's. For the worker's role."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.provider_settings"
        " WHERE CASE WHEN $1 = '' THEN tenant_id = $2 ELSE endpoint_id = $1 END",
        endpoint_id,
        SELLER_TENANT,
    )
    return None if row is None else _of(dict(row))


async def stripe_owners(tx: Transaction) -> list[str]:
    """Returns the tenants whose provider is Stripe, for the worker's role."""
    rows = await tx.driver.fetch(
        "SELECT tenant_id FROM billing.provider_settings WHERE kind = 'stripe' ORDER BY tenant_id"
    )
    return [row["tenant_id"] for row in rows]


async def save(tx: Transaction, stored: StoredSettings) -> None:
    """Stores settings; the endpoint stays what it was."""
    found = stored.settings
    await tx.driver.execute(
        _SAVE,
        *(found.tenant_id, found.kind.value, found.live_mode, stored.api_key, found.api_key_hint),
        *(found.publishable_key, stored.webhook_secret, stored.previous_webhook_secret),
        *(found.api_version, found.endpoint_id, found.revision, found.updated_at),
    )
