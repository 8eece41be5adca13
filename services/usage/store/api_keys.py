"""API keys as rows."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import RowMapping, insert, select, update

from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.usage.domain.api_key import ApiKey
from services.usage.tables import api_key as table

_LISTING = Listing(
    filters={
        name: FilterField(FieldType.STRING, table.c[name]) for name in ("key_id", "display_name")
    },
    orders={"create_time": table.c.created_at, "key_id": table.c.key_id},
    default_order="create_time desc",
    tie_break="key_id",
)
# Whoever lists keys never gets as far as a digest.
_SHOWN = tuple(column for column in table.c if column.name != "secret_digest")


async def insert_api_key(tx: Transaction, key: ApiKey, secret_digest: bytes) -> None:
    """Adds a key."""
    await tx.execute(
        insert(table).values(
            tenant_id=key.tenant_id,
            key_id=key.key_id,
            display_name=key.display_name,
            roles=list(key.roles),
            scopes=list(key.scopes),
            secret_digest=secret_digest,
            created_at=key.created_at,
            expires_at=key.expires_at,
        )
    )


async def lock_api_key(tx: Transaction, tenant_id: str, key_id: str) -> ApiKey | None:
    """Returns a tenant's key and locks it, None where there is none of that id."""
    statement = select(*_SHOWN).where(table.c.tenant_id == tenant_id, table.c.key_id == key_id)
    row = (await tx.execute(statement.with_for_update())).mappings().one_or_none()
    return None if row is None else _api_key_of(row)


async def find_with_digest(tx: Transaction, key_id: str) -> tuple[ApiKey, bytes] | None:
    """Returns a key of whatever tenant the transaction sees, and the digest of its secret."""
    row = (await tx.execute(select(table).where(table.c.key_id == key_id))).mappings().one_or_none()
    return None if row is None else (_api_key_of(row), row["secret_digest"])


async def list_api_keys(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[ApiKey]:
    """Returns a page of a tenant's keys."""
    keys = select(*_SHOWN).where(table.c.tenant_id == page.tenant_id)
    found = await _LISTING.page(tx, keys, page, tokens)
    return Page([_api_key_of(row) for row in found.items], found.next_page_token)


async def revoke_api_key(
    tx: Transaction, tenant_id: str, key_id: str, revoked_at: datetime
) -> None:
    """Stores that a key holds no longer."""
    await tx.execute(
        update(table)
        .where(table.c.tenant_id == tenant_id, table.c.key_id == key_id)
        .values(revoked_at=revoked_at)
    )


def _api_key_of(row: RowMapping) -> ApiKey:
    return ApiKey(
        key_id=row["key_id"],
        tenant_id=row["tenant_id"],
        display_name=row["display_name"],
        roles=tuple(row["roles"]),
        scopes=tuple(row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
