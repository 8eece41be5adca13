"""Secrets at rest: who can open them, and who no longer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from services.kernel.database import Database
from services.kernel.envelope import (
    DataKeyDestroyed,
    EncryptionNotConfigured,
    Envelope,
    MasterKeyMissing,
    SecretUnreadable,
)
from services.kernel.settings import ServiceSettings
from tests.support.database import (
    KERNEL_MIGRATIONS,
    KERNEL_SERVICE,
    ServiceDatabase,
    connection,
    fresh_database,
    migrated,
)
from tests.support.notes import beside

FIRST = SecretStr(secrets.token_hex(32))
SECOND = SecretStr(secrets.token_hex(32))
PURPOSE = "channel.address"
SECRET = b"https://hooks.example.com/services/T0/B0/secret"


async def sealed(
    database: Database, tenant: str, *, envelope: Envelope | None = None, key_name: str = ""
) -> bytes:
    async with database.transaction(tenant) as tx:
        maker = envelope or Envelope([FIRST])
        return await maker.seal(tx, tenant, SECRET, PURPOSE, key_name=key_name)


async def opened(
    database: Database,
    tenant: str,
    secret: bytes,
    *,
    keys: tuple[SecretStr, ...] = (FIRST,),
    purpose: str = PURPOSE,
    key_name: str = "",
) -> bytes:
    async with database.read(tenant) as tx:
        return await Envelope(keys).open(tx, tenant, secret, purpose, key_name=key_name)


async def test_what_was_sealed_opens(database: Database, tenant: str) -> None:
    secret = await sealed(database, tenant)

    assert await opened(database, tenant, secret) == SECRET
    assert len(secret) == len(SECRET) + 45


async def test_neither_the_secret_nor_its_keys_are_stored_in_clear(
    database: Database, tenant: str, kernel_service: ServiceDatabase
) -> None:
    first, second = await sealed(database, tenant), await sealed(database, tenant)

    assert SECRET not in first
    assert first != second
    async with connection(kernel_service.owner_url) as driver:
        rows = await driver.fetch(
            "SELECT wrapped FROM kernel_test.data_key WHERE tenant_id = $1", tenant
        )
    assert len(rows) == 1
    assert bytes.fromhex(FIRST.get_secret_value()) not in rows[0]["wrapped"]


async def test_a_secret_does_not_open_for_another_purpose_name_or_tenant(
    database: Database, tenant: str
) -> None:
    secret = await sealed(database, tenant)
    other = f"{tenant}-other"
    await sealed(database, other)

    with pytest.raises(SecretUnreadable) as purpose:
        await opened(database, tenant, secret, purpose="channel.signing_secret")
    with pytest.raises(DataKeyDestroyed):
        await opened(database, tenant, secret, key_name="user-1")
    with pytest.raises(DataKeyDestroyed):
        await opened(database, other, secret)
    assert purpose.value.reason == "SECRET_UNREADABLE"
    assert purpose.value.metadata == {"purpose": "channel.signing_secret"}


@settings(max_examples=25)
@given(position=st.integers(min_value=0, max_value=91), change=st.integers(1, 255))
async def test_a_changed_byte_is_noticed(database: Database, position: int, change: int) -> None:
    tenant = "tenant-of-changed-bytes"
    secret = bytearray(await sealed(database, tenant))
    secret[position] ^= change

    # In the id of the data key the change names a key that does not exist.
    with pytest.raises((SecretUnreadable, DataKeyDestroyed)):
        await opened(database, tenant, bytes(secret))


async def test_what_is_no_sealed_secret_is_refused(database: Database, tenant: str) -> None:
    with pytest.raises(SecretUnreadable):
        await opened(database, tenant, b"plain")


async def test_sixteen_at_once_make_one_data_key(database: Database, tenant: str) -> None:
    found = await asyncio.gather(*(beside(sealed(database, tenant)) for _ in range(16)))

    assert len({secret[1:17] for secret in found}) == 1
    for secret in found:
        assert await opened(database, tenant, secret) == SECRET


async def test_destroying_one_key_leaves_the_others(database: Database, tenant: str) -> None:
    envelope = Envelope([FIRST])
    own = await sealed(database, tenant)
    persons = await sealed(database, tenant, key_name="user-1")

    async with database.transaction(tenant) as tx:
        destroyed = await envelope.destroy(tx, tenant, key_name="user-1")

    assert destroyed == 1
    assert await opened(database, tenant, own) == SECRET
    with pytest.raises(DataKeyDestroyed) as refused:
        await opened(database, tenant, persons, key_name="user-1")
    assert refused.value.reason == "DATA_KEY_DESTROYED"


async def test_a_new_key_does_not_bring_destroyed_secrets_back(
    database: Database, tenant: str
) -> None:
    secret = await sealed(database, tenant)
    async with database.transaction(tenant) as tx:
        assert await Envelope([FIRST]).destroy(tx, tenant) == 1

    await sealed(database, tenant)

    with pytest.raises(DataKeyDestroyed):
        await opened(database, tenant, secret)


async def test_a_key_is_not_destroyed_under_a_sealing_transaction(
    database: Database, tenant: str
) -> None:
    envelope = Envelope([FIRST])
    await sealed(database, tenant)

    async def destroy() -> int:
        async with database.transaction(tenant) as tx:
            return await envelope.destroy(tx, tenant)

    async with database.transaction(tenant) as tx:
        await envelope.seal(tx, tenant, SECRET, PURPOSE)
        destroying = beside(destroy())
        done, _ = await asyncio.wait([destroying], timeout=0.2)
        assert not done

    assert await destroying == 1


async def test_a_renewed_key_seals_and_the_old_one_still_opens_until_it_is_retired(
    database: Database, tenant: str
) -> None:
    envelope = Envelope([FIRST])
    old = await sealed(database, tenant)

    async with database.transaction(tenant) as tx:
        key_id = await envelope.renew(tx, tenant)
    new = await sealed(database, tenant)

    assert new[1:17].hex() == key_id != old[1:17].hex()
    assert await opened(database, tenant, old) == SECRET
    async with database.transaction(tenant) as tx:
        assert await envelope.retire(tx, tenant) == 1
    assert await opened(database, tenant, new) == SECRET
    with pytest.raises(DataKeyDestroyed):
        await opened(database, tenant, old)


@pytest.fixture
async def own_database(owner_url: str) -> AsyncIterator[Database]:
    """A database whose keys are all wrapped by the master keys of one test."""
    async with fresh_database(owner_url) as url:
        service = await migrated(url, KERNEL_SERVICE, KERNEL_MIGRATIONS)
        database = service.connect()
        yield database
        await database.close()


async def test_after_a_rotation_the_old_master_key_can_go(
    own_database: Database, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = own_database
    monkeypatch.setattr("services.kernel.envelope.REWRAP_BATCH", 2)
    secret = await sealed(database, tenant)
    for number in range(3):
        await sealed(database, tenant, key_name=f"user-{number}")

    with pytest.raises(MasterKeyMissing) as missing:
        await opened(database, tenant, secret, keys=(SECOND,))
    assert await opened(database, tenant, secret, keys=(SECOND, FIRST)) == SECRET
    rewrapped = await Envelope([SECOND, FIRST]).rotate(database)

    assert missing.value.reason == "MASTER_KEY_MISSING"
    assert rewrapped == 4
    assert await opened(database, tenant, secret, keys=(SECOND,)) == SECRET
    assert await Envelope([SECOND, FIRST]).rotate(database) == 0


async def test_without_a_master_key_nothing_is_sealed(database: Database, tenant: str) -> None:
    with pytest.raises(EncryptionNotConfigured) as refused:
        await sealed(database, tenant, envelope=Envelope([]))

    assert refused.value.reason == "ENCRYPTION_NOT_CONFIGURED"
    assert "FINOPS_ENCRYPTION_KEYS" in refused.value.message


async def test_the_service_role_does_not_see_keys_of_other_tenants(
    database: Database, tenant: str
) -> None:
    await sealed(database, tenant)

    async with database.read(f"{tenant}-other") as tx:
        assert await tx.driver.fetchval("SELECT count(*) FROM data_key") == 0


def test_master_keys_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINOPS_ENCRYPTION_KEYS", f"{'a' * 64}, {'b' * 64}")

    keys = ServiceSettings().encryption_keys

    assert [key.get_secret_value() for key in keys] == ["a" * 64, "b" * 64]


@pytest.mark.parametrize("wrong", ["a" * 63, "g" * 64, f"{'a' * 64},short"])
def test_a_weak_master_key_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("FINOPS_ENCRYPTION_KEYS", wrong)

    with pytest.raises(ValidationError) as refused:
        ServiceSettings()
    assert wrong not in str(refused.value)
