"""Files in chunks, and the links that open them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.database import Database
from services.reporting.domain.links import Links, parts_of
from services.reporting.errors import FileGone
from services.reporting.store import files

NOW = datetime(2026, 6, 15, 9, 30, tzinfo=UTC)
LINKS = Links(b"secret of the tests")


async def written(database: Database, tenant: str, *chunks: bytes) -> None:
    async with database.transaction(tenant) as tx:
        await files.create(tx, tenant, "f1", file_name="a.csv", media_type="text/csv")
    for chunk in chunks:
        async with database.transaction(tenant) as tx:
            await files.append(tx, tenant, "f1", chunk)


async def content(database: Database, tenant: str) -> list[bytes]:
    return [chunk async for chunk in files.read(database, tenant, "f1")]


async def test_file_gives_back_its_bytes_in_bounded_chunks(
    reporting_database: Database, tenant: str
) -> None:
    large = bytes(range(256)) * 5_000

    await written(reporting_database, tenant, b"head", large)

    chunks = await content(reporting_database, tenant)
    assert b"".join(chunks) == b"head" + large
    assert max(map(len, chunks)) <= files.CHUNK_BYTES


async def test_file_begun_again_holds_nothing_of_the_first_try(
    reporting_database: Database, tenant: str
) -> None:
    await written(reporting_database, tenant, b"half of it")

    await written(reporting_database, tenant, b"all of it")

    assert await content(reporting_database, tenant) == [b"all of it"]


async def test_file_that_is_deleted_is_gone_for_its_readers(
    reporting_database: Database, tenant: str
) -> None:
    await written(reporting_database, tenant, b"a", b"b")
    reader = files.read(reporting_database, tenant, "f1")
    assert await anext(reader) == b"a"

    async with reporting_database.transaction(tenant) as tx:
        assert await files.delete(tx, tenant, "f1")

    with pytest.raises(FileGone) as caught:
        await anext(reader)
    assert (caught.value.reason, caught.value.metadata) == ("FILE_GONE", {"file_id": "f1"})
    with pytest.raises(FileGone):
        await content(reporting_database, tenant)


async def test_file_of_another_tenant_is_not_seen(
    reporting_database: Database, tenant: str
) -> None:
    await written(reporting_database, tenant, b"secret")

    async with reporting_database.read("other") as tx:
        assert await files.find(tx, tenant, "f1") is None


@given(
    tenant=st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9._@:\-]{0,62}", fullmatch=True),
    seconds=st.integers(1, 10**6),
)
def test_link_opens_one_file_of_one_tenant_until_it_expires(tenant: str, seconds: int) -> None:
    expires = int(NOW.timestamp()) + seconds

    signature = LINKS.signature(tenant, "f1", expires)

    just_before = datetime.fromtimestamp(expires, UTC) - timedelta(microseconds=1)
    assert len(signature) <= 128
    assert LINKS.tenant_of(signature, "f1", expires, now=just_before) == tenant
    over = datetime.fromtimestamp(expires, UTC)
    assert LINKS.tenant_of(signature, "f1", expires, now=over) is None
    assert LINKS.tenant_of(signature, "f2", expires, now=NOW) is None
    assert LINKS.tenant_of(signature, "f1", expires + 1, now=NOW) is None
    assert LINKS.tenant_of(signature + "x", "f1", expires, now=NOW) is None
    other = Links(b"another secret").signature(tenant, "f1", expires)
    assert LINKS.tenant_of(other, "f1", expires, now=NOW) is None


def test_link_is_a_path_that_the_download_serves() -> None:
    path = LINKS.path("acme", "f1", NOW, file_name="june 1/2.pdf")

    begin = "/api/v1/finops/files/f1/june%201%2F2.pdf?expires=1781515800&signature="
    assert path.startswith(begin)
    assert path.endswith(".acme")
    link = parts_of(path)
    assert link[:3] == ("f1", "june 1/2.pdf", 1_781_515_800)
    earlier = NOW - timedelta(seconds=1)
    assert LINKS.tenant_of(link.signature, "f1", link.expires, now=earlier) == "acme"
