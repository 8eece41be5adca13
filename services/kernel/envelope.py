"""Secrets at rest: encrypted under a data key, which is itself encrypted under a master key.

A tenant has one data key in each service's schema, and may have more by name, one a person for
example, so that destroying one key makes unreadable what only it opens, backups apart. Data keys
are stored wrapped by the operator's master key, which never reaches the database.

A sealed secret is: 1 byte of format, 16 of data key id, 12 of nonce, then AES-256-GCM's text and
tag. Tenant, key name and purpose are its associated data, so a secret moved to another row, tenant
or column does not open. Nonces are random: one key may seal 2^32 secrets before it must be renewed.
Source: NIST SP 800-38D, section 8.3, and SP 800-57, part 1, section 6.2.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from services.kernel.database import Database
from services.kernel.errors import FailedPrecondition
from services.kernel.transaction import Transaction

KEY_BYTES = 32
REWRAP_BATCH = 500  # data keys locked by one transaction of a rotation
_ID_BYTES = 16
_NONCE_BYTES = 12
_TAG_BYTES = 16
FORMAT = 1
_HEADER = 1 + _ID_BYTES + _NONCE_BYTES

log = structlog.get_logger(__name__)


class EncryptionNotConfigured(FailedPrecondition):
    """This server has no master key to keep secrets with; set FINOPS_ENCRYPTION_KEYS."""

    reason = "ENCRYPTION_NOT_CONFIGURED"


class MasterKeyMissing(FailedPrecondition):
    """The master key of a stored secret is not among FINOPS_ENCRYPTION_KEYS; put it back there."""

    reason = "MASTER_KEY_MISSING"


class DataKeyDestroyed(FailedPrecondition):
    """The key of this secret was destroyed, so that nobody can read it any more."""

    reason = "DATA_KEY_DESTROYED"


class SecretUnreadable(FailedPrecondition):
    """A stored secret was changed or belongs elsewhere; store it again."""

    reason = "SECRET_UNREADABLE"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """One key of the operator's. key_id: what tells that a data key is wrapped by it."""

    key_id: str
    cipher: AESGCM

    @classmethod
    def of(cls, content: bytes) -> Self:
        """content: 32 bytes. The id is a part of their hash: not secret, and not configured."""
        key_id = hashlib.sha256(b"finops master key\0" + content).hexdigest()[:16]
        return cls(key_id, AESGCM(content))


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals with one data key.

    Whoever keeps it beyond its transaction stores what it seals in one that holds the row of the
    key (`FOR KEY SHARE`) and has seen that it is still current.
    """

    tenant_id: str
    key_name: str
    key_id: bytes
    cipher: AESGCM

    def seal(self, plaintext: bytes, purpose: str) -> bytes:
        """Returns the plaintext sealed, 45 bytes longer."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        bound = _frame(self.tenant_id, self.key_name, purpose)
        return bytes([FORMAT]) + self.key_id + nonce + self.cipher.encrypt(nonce, plaintext, bound)


class Envelope:
    """Seals and opens secrets inside a caller's transaction.

    A sealing transaction keeps its data key from being destroyed until it ends.
    """

    def __init__(self, master_keys: Sequence[SecretStr]) -> None:
        """master_keys: 64 hexadecimal digits each, the one that wraps first; the others open."""
        keys = [MasterKey.of(bytes.fromhex(key.get_secret_value())) for key in master_keys]
        self._current = keys[0] if keys else None
        self._keys = {key.key_id: key for key in keys}

    @property
    def is_configured(self) -> bool:
        """Whether there is a master key to seal with."""
        return self._current is not None

    async def seal(
        self, tx: Transaction, tenant_id: str, plaintext: bytes, purpose: str, *, key_name: str = ""
    ) -> bytes:
        """Returns the plaintext sealed, 45 bytes longer; makes the data key when there is none.

        purpose: what it is, for example `channel.address`; opening needs the same. key_name: whose
        key, default the tenant's. Raises EncryptionNotConfigured, MasterKeyMissing.
        """
        sealer = await self.sealer(tx, tenant_id, key_name=key_name)
        return sealer.seal(plaintext, purpose)

    async def sealer(self, tx: Transaction, tenant_id: str, *, key_name: str = "") -> Sealer:
        """Returns what seals with the key that is current now; see `seal`."""
        key_id, key = await self._sealing_key(tx, tenant_id, key_name)
        return Sealer(tenant_id, key_name, key_id, AESGCM(key))

    async def open(
        self, tx: Transaction, tenant_id: str, sealed: bytes, purpose: str, *, key_name: str = ""
    ) -> bytes:
        """Returns the plaintext.

        Raises DataKeyDestroyed, SecretUnreadable, MasterKeyMissing, EncryptionNotConfigured.
        """
        if len(sealed) < _HEADER + _TAG_BYTES or sealed[0] != FORMAT:
            raise SecretUnreadable(purpose=purpose)
        key_id, nonce = sealed[1 : 1 + _ID_BYTES], sealed[1 + _ID_BYTES : _HEADER]
        row = await tx.driver.fetchrow(
            "SELECT master_key_id, wrapped FROM data_key"
            " WHERE tenant_id = $1 AND key_name = $2 AND data_key_id = $3",
            tenant_id,
            key_name,
            key_id,
        )
        if row is None:
            raise DataKeyDestroyed(purpose=purpose)
        key = self._unwrap(row["wrapped"], row["master_key_id"], tenant_id, key_name, key_id)
        try:
            bound = _frame(tenant_id, key_name, purpose)
            return AESGCM(key).decrypt(nonce, sealed[_HEADER:], bound)
        except InvalidTag:
            raise SecretUnreadable(purpose=purpose) from None

    async def renew(self, tx: Transaction, tenant_id: str, *, key_name: str = "") -> str:
        """Gives the tenant a new data key for what is sealed from now on, and returns its id.

        What older keys sealed still opens; once all of it is sealed anew, `retire` ends them.
        """
        await tx.driver.execute(
            "UPDATE data_key SET is_current = false"
            " WHERE tenant_id = $1 AND key_name = $2 AND is_current",
            tenant_id,
            key_name,
        )
        key_id, _ = await self._sealing_key(tx, tenant_id, key_name)
        return key_id.hex()

    async def retire(self, tx: Transaction, tenant_id: str, *, key_name: str = "") -> int:
        """Destroys the data keys that `renew` replaced, and returns how many."""
        return _count(
            await tx.driver.execute(
                "DELETE FROM data_key WHERE tenant_id = $1 AND key_name = $2 AND NOT is_current",
                tenant_id,
                key_name,
            )
        )

    async def destroy(self, tx: Transaction, tenant_id: str, *, key_name: str | None = None) -> int:
        """Destroys the data keys of one name, or all of the tenant's, and returns how many.

        What they sealed is unreadable once the transaction commits: the crypto-erasure.
        """
        return _count(
            await tx.driver.execute(
                "DELETE FROM data_key WHERE tenant_id = $1 AND ($2::text IS NULL OR key_name = $2)",
                tenant_id,
                key_name,
            )
        )

    async def rotate(self, database: Database) -> int:
        """Wraps every data key anew by the current master key, and returns how many.

        The service may run meanwhile, and a killed rotation is run again. Afterwards older master
        keys can go from FINOPS_ENCRYPTION_KEYS. Raises MasterKeyMissing, EncryptionNotConfigured.
        """
        total = 0
        while True:
            async with database.system_transaction() as tx:
                count = await self._rewrap(tx)
            total += count
            if count < REWRAP_BATCH:
                log.info("data keys wrapped anew", keys=total)
                return total

    async def _rewrap(self, tx: Transaction) -> int:
        current = self._require_current()
        rows = await tx.driver.fetch(
            "SELECT tenant_id, key_name, data_key_id, master_key_id, wrapped FROM data_key"
            " WHERE master_key_id <> $1 ORDER BY tenant_id, key_name, data_key_id"
            " LIMIT $2 FOR NO KEY UPDATE",
            current.key_id,
            REWRAP_BATCH,
        )
        for tenant_id, key_name, key_id, master_key_id, wrapped in rows:
            key = self._unwrap(wrapped, master_key_id, tenant_id, key_name, key_id)
            await tx.driver.execute(
                "UPDATE data_key SET master_key_id = $4, wrapped = $5"
                " WHERE tenant_id = $1 AND key_name = $2 AND data_key_id = $3",
                tenant_id,
                key_name,
                key_id,
                current.key_id,
                _wrap(current, key, tenant_id, key_name, key_id),
            )
        return len(rows)

    async def _sealing_key(
        self, tx: Transaction, tenant_id: str, key_name: str
    ) -> tuple[bytes, bytes]:
        found = await self._current_key(tx, tenant_id, key_name)
        if found is not None:
            return found
        current = self._require_current()
        key_id, key = secrets.token_bytes(_ID_BYTES), secrets.token_bytes(KEY_BYTES)
        inserted = await tx.driver.fetchval(
            "INSERT INTO data_key (tenant_id, key_name, data_key_id, master_key_id, wrapped)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING true",
            tenant_id,
            key_name,
            key_id,
            current.key_id,
            _wrap(current, key, tenant_id, key_name, key_id),
        )
        if inserted:
            return key_id, key
        # Another transaction made the key first, and has ended: its key is everybody's.
        found = await self._current_key(tx, tenant_id, key_name)
        if found is None:
            raise DataKeyDestroyed(key_name=key_name)
        return found

    async def _current_key(
        self, tx: Transaction, tenant_id: str, key_name: str
    ) -> tuple[bytes, bytes] | None:
        row = await tx.driver.fetchrow(
            "SELECT data_key_id, master_key_id, wrapped FROM data_key"
            " WHERE tenant_id = $1 AND key_name = $2 AND is_current FOR KEY SHARE",
            tenant_id,
            key_name,
        )
        if row is None:
            return None
        key_id = row["data_key_id"]
        return key_id, self._unwrap(
            row["wrapped"], row["master_key_id"], tenant_id, key_name, key_id
        )

    def _unwrap(
        self, wrapped: bytes, master_key_id: str, tenant_id: str, key_name: str, key_id: bytes
    ) -> bytes:
        self._require_current()
        master = self._keys.get(master_key_id)
        if master is None:
            raise MasterKeyMissing(master_key_id=master_key_id)
        nonce, text = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        try:
            return master.cipher.decrypt(nonce, text, _frame(tenant_id, key_name, key_id.hex()))
        except InvalidTag:
            raise SecretUnreadable(master_key_id=master_key_id) from None

    def _require_current(self) -> MasterKey:
        if self._current is None:
            raise EncryptionNotConfigured
        return self._current


def key_id_of(column: str) -> str:
    """Returns the SQL expression of the data key that a column of sealed secrets needs."""
    return f"substring({column} FROM 2 FOR {_ID_BYTES})"


def _wrap(master: MasterKey, key: bytes, tenant_id: str, key_name: str, key_id: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    bound = _frame(tenant_id, key_name, key_id.hex())
    return nonce + master.cipher.encrypt(nonce, key, bound)


def _frame(*fields: str) -> bytes:
    """Joins fields with the length of each, so that no two lists of them look alike."""
    encoded = [field.encode() for field in fields]
    return b"".join(len(field).to_bytes(4) + field for field in encoded)


def _count(status: str) -> int:
    """Returns the rows of a command status such as `DELETE 3`."""
    return int(status.rpartition(" ")[2])
