"""The embedded PostgreSQL keeps its address and its rows through crashes."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from cli.errors import StackError
from cli.stack.postgres import EmbeddedPostgres, server_settings


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "finops")
    yield server
    await server.remove()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def answer(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_committed_rows_and_the_address_survive_kill_9(postgres: EmbeddedPostgres) -> None:
    url = await postgres.start()
    await answer(url, "CREATE TABLE kept AS SELECT 7 AS number")
    pid = postgres.pid
    assert pid is not None

    os.kill(pid, signal.SIGKILL)
    postgres._child.wait()  # type: ignore[union-attr]
    again = await postgres.start()

    assert again == url
    assert await answer(again, "SELECT number FROM kept") == 7


async def test_an_orphan_of_a_killed_run_is_taken_over(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    url = await postgres.start()
    pid = postgres.pid
    second = EmbeddedPostgres(tmp_path / "finops")

    assert await second.start() == url
    assert second.pid == pid

    await second.stop()
    assert postgres.pid is None


async def test_durability_is_on_and_options_win(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "finops", options={"work_mem": "7MB"})
    url = await server.start()
    try:
        assert await answer(url, "SHOW fsync") == "on"
        assert await answer(url, "SHOW synchronous_commit") == "on"
        assert await answer(url, "SHOW work_mem") == "7MB"
        assert await answer(url, "SELECT count(*) FROM pg_file_settings WHERE error > ''") == 0
    finally:
        await server.remove()


async def test_the_server_listens_on_loopback_only_and_wants_the_password(
    postgres: EmbeddedPostgres,
) -> None:
    url = await postgres.start()
    password = url.split(":")[2].partition("@")[0]

    with pytest.raises(asyncpg.InvalidPasswordError):
        await answer(url.replace(password, "guess"), "SELECT 1")

    assert await answer(url, "SHOW listen_addresses") == "127.0.0.1"
    assert await answer(url, "SELECT passwd LIKE 'SCRAM-SHA-256%' FROM pg_shadow")


async def test_the_password_file_is_for_its_owner_only(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    await postgres.start()

    assert mode_of(tmp_path / "finops" / "postgres.json") == 0o600


async def test_folders_above_keep_their_modes(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    before = [mode_of(folder) for folder in (tmp_path, *tmp_path.parents)]

    await postgres.start()

    assert [mode_of(folder) for folder in (tmp_path, *tmp_path.parents)] == before


async def test_another_major_version_is_refused_with_what_to_do(
    postgres: EmbeddedPostgres,
) -> None:
    await postgres.start()
    await postgres.stop()
    folder = postgres._folder()
    assert folder is not None
    write(folder / "PG_VERSION", "13\n")

    with pytest.raises(StackError, match=r"made by PostgreSQL 13.*Dump it"):
        await postgres.start()


async def test_a_setting_the_server_refuses_is_shown_from_its_log(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "finops", options={"work_mem": "plenty"})
    try:
        with pytest.raises(StackError, match='invalid value for parameter "work_mem"'):
            await server.start()
    finally:
        await server.remove()


def test_a_database_whose_password_file_is_lost_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()

    with pytest.raises(StackError, match=r"is missing; restore it, or delete"):
        EmbeddedPostgres(tmp_path)._initialise(None)


@pytest.mark.parametrize(
    ("gigabytes", "shared_buffers"), [(0.1, "32MB"), (2, "512MB"), (4, "1024MB"), (64, "1024MB")]
)
def test_shared_buffers_are_a_quarter_of_memory_within_bounds(
    gigabytes: float, shared_buffers: str
) -> None:
    assert server_settings(int(gigabytes * (1 << 30)))["shared_buffers"] == shared_buffers
