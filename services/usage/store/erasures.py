"""Who was erased: known again when usage of theirs arrives, and readable by nobody.

Attributes are interned behind a shared lock, and an erasure takes the whole one: whoever interned
before has committed, so that its rows are erased; whoever comes after sees the erasure.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

from services.kernel.envelope import KEY_BYTES, Envelope
from services.kernel.transaction import Transaction
from services.usage.domain.event import Attributes

PURPOSE: Final = "erasure.key"
_CLEAR: Final = b"\0"


async def pseudonyms(
    tx: Transaction, envelope: Envelope, tenant_id: str, names: Iterable[str]
) -> dict[str, str]:
    """Returns the pseudonyms of those names that were erased; none can be until the end of `tx`."""
    await tx.driver.execute(
        "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))", _lock(tenant_id)
    )
    rows = await tx.driver.fetch(
        "SELECT digest, pseudonym FROM usage.erased_user WHERE tenant_id = $1", tenant_id
    )
    if not rows:
        return {}
    erased = {row["digest"]: row["pseudonym"] for row in rows}
    key = await _key(tx, envelope, tenant_id)
    digests = {name: _digest(key, name) for name in names if name}
    return {name: erased[digest] for name, digest in digests.items() if digest in erased}


async def add(
    tx: Transaction, envelope: Envelope, tenant_id: str, user_id: str, pseudonym: str
) -> None:
    """Notes an erasure, once whoever interns attributes now has committed."""
    await tx.driver.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", _lock(tenant_id)
    )
    key = await _key(tx, envelope, tenant_id)
    await tx.driver.execute(
        "INSERT INTO usage.erased_user (tenant_id, digest, pseudonym) VALUES ($1, $2, $3)"
        " ON CONFLICT (tenant_id, digest) DO UPDATE SET pseudonym = EXCLUDED.pseudonym",
        tenant_id,
        _digest(key, user_id),
        pseudonym,
    )


def without(attributes: Attributes, known: dict[str, str]) -> Attributes:
    """Returns attributes with pseudonyms in the place of those who were erased."""
    if not known:
        return attributes
    return attributes._replace(
        user_id=known.get(attributes.user_id, attributes.user_id),
        tags=tuple((name, known.get(value, value)) for name, value in attributes.tags),
    )


async def _key(tx: Transaction, envelope: Envelope, tenant_id: str) -> bytes:
    stored = await _find_key(tx, tenant_id)
    if stored is None:
        made = secrets.token_bytes(KEY_BYTES)
        sealed = (
            await envelope.seal(tx, tenant_id, made, PURPOSE)
            if envelope.is_configured
            else _CLEAR + made
        )
        await tx.driver.execute(
            "INSERT INTO usage.erasure_key VALUES ($1, $2) ON CONFLICT DO NOTHING",
            tenant_id,
            sealed,
        )
        stored = await _find_key(tx, tenant_id) or sealed
    if stored.startswith(_CLEAR):
        return stored.removeprefix(_CLEAR)
    return await envelope.open(tx, tenant_id, stored, PURPOSE)


async def _find_key(tx: Transaction, tenant_id: str) -> bytes | None:
    found: bytes | None = await tx.driver.fetchval(
        "SELECT sealed FROM usage.erasure_key WHERE tenant_id = $1", tenant_id
    )
    return found


def _digest(key: bytes, user_id: str) -> bytes:
    return hmac.digest(key, user_id.encode(), hashlib.sha256)


def _lock(tenant_id: str) -> str:
    return f"usage erasure {tenant_id}"
