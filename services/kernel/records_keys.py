"""Gives a tenant a new data key, and seals its secrets anew, while the service runs.

First the new key, under which everything is sealed from then on; then batch by batch what the old
ones sealed; last, behind a lock that waits for whoever still seals with an old key, the rest, and
the old keys' end. A transaction that reads a secret and opens it in two statements may meet that
end in between: it fails with DataKeyDestroyed once, and reads the new one when it is tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import structlog

from services.kernel import audit
from services.kernel.database import Database, Transaction
from services.kernel.envelope import Envelope, key_id_of
from services.kernel.idempotency import answer_purpose
from services.kernel.records import Records, Sealed

BATCH: Final = 200  # secrets that one transaction seals anew

# Kept answers are secrets too where the server seals them.
ANSWERS: Final = Sealed(
    "idempotent_response",
    "response",
    ("method", "request_id"),
    lambda row: answer_purpose(str(row["method"]), str(row["request_id"])),
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did. key_id: of the key in use, "" where the tenant has none."""

    secrets: int
    key_id: str


class KeyRotation:
    """The use case over one service's secrets."""

    def __init__(self, database: Database, records: Records, envelope: Envelope) -> None:
        """envelope: the one that seals the service's secrets."""
        self._database = database
        self._schema = records.service
        self._sealed = (*records.sealed, ANSWERS) if records.sealed else ()
        self._envelope = envelope

    async def rotate_encryption_keys(self, tenant_id: str, *, dry_run: bool) -> Rotation:
        """Renews the tenant's data keys, or counts the secrets.

        Raises EncryptionNotConfigured, MasterKeyMissing, SecretUnreadable.
        """
        if dry_run or not await self._has_keys(tenant_id):
            return await self._end(tenant_id, await self._counted(tenant_id), is_dry=dry_run)
        key_names = sorted({each.key_name for each in self._sealed})
        async with self._database.system_transaction() as tx:
            renewed = {
                name: await self._envelope.renew(tx, tenant_id, key_name=name) for name in key_names
            }
        total = 0
        for sealed in self._sealed:
            while True:
                async with self._database.system_transaction() as tx:
                    count = await self._reseal(tx, tenant_id, sealed, renewed[sealed.key_name])
                total += count
                if count < BATCH:
                    break
        async with self._database.system_transaction() as tx:
            await tx.driver.execute(
                "SELECT FROM data_key WHERE tenant_id = $1 AND key_name = ANY($2)"
                " AND NOT is_current FOR UPDATE",
                tenant_id,
                key_names,
            )
            for sealed in self._sealed:
                while rest := await self._reseal(tx, tenant_id, sealed, renewed[sealed.key_name]):
                    total += rest
            for name in key_names:
                await self._envelope.retire(tx, tenant_id, key_name=name)
        log.info("data keys renewed", tenant=tenant_id, secrets=total)
        return await self._end(tenant_id, Rotation(total, renewed[""]), is_dry=False)

    async def _has_keys(self, tenant_id: str) -> bool:
        if not self._sealed:
            return False
        async with self._database.system_transaction() as tx:
            found: bool = await tx.driver.fetchval(
                "SELECT EXISTS (SELECT FROM data_key WHERE tenant_id = $1)", tenant_id
            )
        return found

    async def _counted(self, tenant_id: str) -> Rotation:
        count, key_id = 0, None
        async with self._database.system_transaction() as tx:
            for sealed in self._sealed:
                count += await tx.driver.fetchval(
                    f"SELECT count(*) FROM {self._schema}.{sealed.table}"  # noqa: S608 - names are declared in code
                    f" WHERE tenant_id = $1 AND {_is_sealed(sealed)}",
                    tenant_id,
                )
            if self._sealed:
                key_id = await tx.driver.fetchval(
                    "SELECT data_key_id FROM data_key"
                    " WHERE tenant_id = $1 AND key_name = '' AND is_current",
                    tenant_id,
                )
        return Rotation(count, key_id.hex() if key_id is not None else "")

    async def _reseal(self, tx: Transaction, tenant_id: str, sealed: Sealed, key_id: str) -> int:
        table, column = f"{self._schema}.{sealed.table}", sealed.column
        keys = ", ".join(sealed.keys)
        rows = await tx.driver.fetch(
            f"SELECT {keys}, {column} AS content FROM {table} WHERE tenant_id = $1"  # noqa: S608 - as above
            f" AND {_is_sealed(sealed)} AND {key_id_of(column)} <> $2"
            f" ORDER BY {keys} LIMIT {BATCH} FOR NO KEY UPDATE",
            tenant_id,
            bytes.fromhex(key_id),
        )
        for row in rows:
            await self._reseal_one(tx, tenant_id, sealed, row)
        return len(rows)

    async def _reseal_one(self, tx: Transaction, tenant_id: str, sealed: Sealed, row: Any) -> None:
        purpose, name = sealed.purpose(row), sealed.key_name
        content = await self._envelope.open(tx, tenant_id, row["content"], purpose, key_name=name)
        places = " AND ".join(f"{key} = ${place}" for place, key in enumerate(sealed.keys, start=3))
        await tx.driver.execute(
            f"UPDATE {self._schema}.{sealed.table} SET {sealed.column} = $2"  # noqa: S608 - as above
            f" WHERE tenant_id = $1 AND {places}",
            tenant_id,
            await self._envelope.seal(tx, tenant_id, content, purpose, key_name=name),
            *(row[key] for key in sealed.keys),
        )

    async def _end(self, tenant_id: str, done: Rotation, *, is_dry: bool) -> Rotation:
        async with self._database.system_transaction() as tx:
            await audit.append(
                tx,
                action="keys.count" if is_dry else "keys.rotate",
                resource="encryption-keys",
                after={"secrets": done.secrets, "key_id": done.key_id},
                tenant_id=tenant_id,
            )
        return done


def _is_sealed(sealed: Sealed) -> str:
    """Returns the condition that there is a secret, and that it is sealed."""
    return f"{sealed.column} IS NOT NULL AND substring({sealed.column} FROM 1 FOR 1) = '\\x01'"
