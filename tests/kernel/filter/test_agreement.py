"""PostgreSQL and Python give the same answer to the same filter."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.schema import CreateTable

from services.kernel.filter import compile_filter, evaluate, parse_filter
from tests.kernel.filter.records import FIELDS, NAMES, RECORD, RECORDS, STATES


@pytest.fixture(scope="module")
async def records(owner_url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(owner_url.replace("postgresql:", "postgresql+asyncpg:", 1))
    async with engine.connect() as connection:
        await connection.execute(CreateTable(RECORD))
        rows = [
            {**record, "id": number, "state": STATES.get(str(record["state"]))}
            for number, record in enumerate(RECORDS)
        ]
        await connection.execute(insert(RECORD), rows)
        yield connection
    await engine.dispose()


async def ids_in_sql(connection: AsyncConnection, text: str) -> list[int]:
    condition = compile_filter(text, FIELDS)
    found = await connection.scalars(select(RECORD.c.id).where(condition).order_by(RECORD.c.id))
    return list(found)


def ids_in_python(text: str) -> list[int]:
    tree = parse_filter(text)
    return [number for number, record in enumerate(RECORDS) if evaluate(tree, record)]


def quoted(text: str, *, escape_stars: bool) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + (escaped.replace("*", "\\*") if escape_stars else escaped) + '"'


TEXTS = st.sampled_from([name for name in NAMES if name is not None]) | st.text(
    alphabet="adbÄ%_* ", max_size=3
)
ALL_COMPARATORS = ["=", "!=", "<", "<=", ">", ">="]
PLAIN_TEXT = TEXTS.map(lambda text: quoted(text, escape_stars=True))
PATTERN = st.tuples(TEXTS, TEXTS).map(
    lambda pair: quoted(f"{pair[0]}*{pair[1]}", escape_stars=False)
)
KEYS = st.sampled_from(["env", "team", "app.io/name", "missing", '"a\'; --"'])


RESTRICTIONS = st.one_of(
    st.tuples(st.just("name"), st.sampled_from([*ALL_COMPARATORS, ":"]), PLAIN_TEXT).map(" ".join),
    st.tuples(st.just("name"), st.sampled_from(["=", "!="]), PATTERN).map(" ".join),
    st.tuples(
        KEYS.map(lambda key: f"tags.{key}"),
        st.sampled_from([*ALL_COMPARATORS, ":"]),
        st.sampled_from(["prod", "test", '""', '"a b"', "x"]),
    ).map(" ".join),
    st.sampled_from(["tags:env", "tags:team", "tags:missing", 'tags:"app.io/name"', "tags.env:*"]),
    st.tuples(
        st.just("amount"),
        st.sampled_from(ALL_COMPARATORS),
        st.sampled_from(["0", "-5.25", "12.50", "0.000000000000000001", "12.500000000000000001"]),
    ).map(" ".join),
    st.tuples(
        st.just("count"),
        st.sampled_from(ALL_COMPARATORS),
        st.sampled_from(["0", "-1", str(2**63 - 1)]),
    ).map(" ".join),
    st.tuples(
        st.just("at"),
        st.sampled_from(ALL_COMPARATORS),
        st.sampled_from(["2026-01-01", "2026-03-29T02:30:00.123456+01:00", "2026-03-29T01:30:00Z"]),
    ).map(" ".join),
    st.tuples(
        st.just("enabled"), st.sampled_from(["=", "!="]), st.sampled_from(["true", "false"])
    ).map(" ".join),
    st.tuples(st.just("state"), st.sampled_from(["=", "!="]), st.sampled_from(list(STATES))).map(
        " ".join
    ),
    st.tuples(
        st.sampled_from(list(FIELDS)[:-1]), st.sampled_from(["=", "!=", ":"]), st.just("*")
    ).map(" ".join),
)
FILTERS = st.recursive(
    RESTRICTIONS,
    lambda inner: st.one_of(
        inner.map(lambda text: f"NOT ({text})"),
        inner.map(lambda text: f"-({text})"),
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(
            lambda parts: f"({parts[0]}) {parts[1]} {parts[2]}"
        ),
    ),
    max_leaves=5,
)


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=FILTERS)
async def test_sql_and_python_agree(records: AsyncConnection, text: str) -> None:
    assert await ids_in_sql(records, text) == ids_in_python(text)


@settings(max_examples=100)
@given(text=RESTRICTIONS)
async def test_a_filter_and_its_negation_part_the_records(
    records: AsyncConnection, text: str
) -> None:
    chosen = await ids_in_sql(records, text)
    others = await ids_in_sql(records, f"NOT {text}")

    assert sorted([*chosen, *others]) == list(range(len(RECORDS)))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", len(RECORDS)),
        ('name = ""', 10),
        ("name = ada", 5),
        ("name:*", 50),
        ('tags.env != "prod"', 48),
        ("tags:env", 24),
        ('name = "a*"', 25),
    ],
)
async def test_known_filters_find_known_numbers(
    records: AsyncConnection, text: str, count: int
) -> None:
    assert len(await ids_in_sql(records, text)) == count
