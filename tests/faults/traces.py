"""Looks for texts wherever the suite keeps anything: tables, archives, the cache, logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import redis.asyncio

from tests.support.database import connection
from tests.support.stack import RunningStack

_CHUNK = 1 << 20


async def traces_of(stack: RunningStack, texts: Sequence[str]) -> list[str]:
    """Returns where any of the texts stands, in whatever form, or an empty list.

    Tables are read as text, bytes in them as hexadecimal, so columns of any type count.
    """
    needles = [text.encode() for text in texts]
    found = [place async for place in _in_tables(stack.state.database_url, texts)]
    found += [place async for place in _in_cache(stack.state.redis_url, needles)]
    found += _in_files(stack.data_dir, needles)
    return found


async def _in_tables(url: str, texts: Sequence[str]) -> AsyncIterator[str]:
    forms = [form for text in texts for form in (text, text.encode().hex())]
    async with connection(url) as driver:
        tables = await driver.fetch(
            """
            SELECT n.nspname AS schema, c.relname AS name
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
            AND n.nspname NOT LIKE 'pg_toast%'
            """
        )
        assert len(tables) > 100, "this is not the suite's database"
        for schema, name in tables:
            query = f'SELECT t::text FROM "{schema}"."{name}" t WHERE '
            query += " OR ".join(
                f"strpos(t::text, ${place}) > 0" for place in range(1, len(forms) + 1)
            )
            row = await driver.fetchval(f"{query} LIMIT 1", *forms)
            if row is not None:
                yield f"{schema}.{name}: {row[:300]}"


async def _in_cache(url: str, needles: Sequence[bytes]) -> AsyncIterator[str]:
    if not url:
        return
    client: Any = redis.asyncio.from_url(url)
    try:
        async for key in client.scan_iter(count=1_000):
            kind = await client.type(key)
            if kind == b"string":
                values = [await client.get(key) or b""]
            elif kind == b"hash":
                values = [part for item in (await client.hgetall(key)).items() for part in item]
            elif kind == b"zset":
                values = await client.zrange(key, 0, -1)
            elif kind == b"set":
                values = list(await client.smembers(key))
            else:
                values = await client.lrange(key, 0, -1) if kind == b"list" else []
            if any(needle in value for needle in needles for value in (key, *values)):
                yield f"redis {key!r}"
    finally:
        await client.aclose()


def _in_files(folder: Path, needles: Sequence[bytes]) -> Iterator[str]:
    """Searches archives by their values, for they are compressed, and all else but the database."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if not path.is_file() or relative.parts[0] == "postgres":
            continue
        if path.suffix == ".parquet":
            if _holds(_values(path), needles):
                yield f"archive {relative}"
        elif _holds(_chunks(path), needles):
            yield f"file {relative}"


def _values(path: Path) -> Iterator[bytes]:
    file = pq.ParquetFile(path)
    for batch in file.iter_batches():
        yield str(batch.to_pylist()).encode()


def _chunks(path: Path) -> Iterator[bytes]:
    """Yields a file's bytes, each part with the end of the one before."""
    with path.open("rb") as content:
        before = b""
        while part := content.read(_CHUNK):
            yield before[-200:] + part
            before = part


def _holds(parts: Iterable[bytes], needles: Sequence[bytes]) -> bool:
    return any(needle in part for part in parts for needle in needles)
