"""Page tokens are opaque, bound to one list, and lead through every row once."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Numeric, Table, Text, insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.schema import CreateTable

from services.kernel.pagination import (
    PAGE_SIZE_DEFAULT,
    PAGE_SIZE_MAX,
    TOKEN_LENGTH_MAX,
    InvalidPageSize,
    InvalidPageToken,
    KeyValue,
    Page,
    PageRequest,
    PageTokens,
    after,
)

TOKENS = PageTokens(b"secret")
REQUEST = PageRequest(
    tenant_id="acme",
    method="finops.usage.v1.UsageService.ListUsageEvents",
    filter="a = 1",
    order_by="amount desc",
    arguments={"start": "2026-01-01"},
)
KEY = ("ada", 7, Decimal("0.10"), datetime(2026, 1, 1, tzinfo=UTC))


@given(
    st.lists(
        st.text()
        | st.integers()
        | st.booleans()
        | st.decimals(allow_nan=False, allow_infinity=False)
        | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])),
        max_size=5,
    )
)
def test_a_token_gives_back_its_key(key: list[KeyValue]) -> None:
    token = TOKENS.encode(REQUEST, key)

    assert TOKENS.decode(replace(REQUEST, page_token=token)) == tuple(key)


def test_a_decimal_keeps_its_digits() -> None:
    token = TOKENS.encode(REQUEST, KEY)

    decoded = TOKENS.decode(replace(REQUEST, page_token=token, page_size=10))

    assert decoded == KEY
    assert str(decoded[2]) == "0.10"


def test_no_token_is_the_first_page() -> None:
    assert TOKENS.decode(REQUEST) is None


def test_blanks_around_filter_and_order_do_not_matter() -> None:
    token = TOKENS.encode(REQUEST, KEY)

    assert TOKENS.decode(replace(REQUEST, page_token=token, filter=" a = 1 ")) == KEY


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, tenant_id="other"),
        replace(REQUEST, method="finops.usage.v1.UsageService.QueryCosts"),
        replace(REQUEST, filter="a = 2"),
        replace(REQUEST, order_by="amount"),
        replace(REQUEST, arguments={"start": "2026-02-01"}),
        replace(REQUEST, filter="", order_by="a = 1amount desc"),
    ],
    ids=["tenant", "method", "filter", "order", "arguments", "shifted"],
)
def test_a_token_of_another_request_is_refused(other: PageRequest) -> None:
    token = TOKENS.encode(REQUEST, KEY)

    with pytest.raises(InvalidPageToken) as caught:
        TOKENS.decode(replace(other, page_token=token))

    assert caught.value.reason == "INVALID_PAGE_TOKEN"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {}


def test_a_token_of_another_secret_is_refused() -> None:
    token = PageTokens(b"other").encode(REQUEST, KEY)

    with pytest.raises(InvalidPageToken):
        TOKENS.decode(replace(REQUEST, page_token=token))


@pytest.mark.parametrize(
    "token",
    ["x", "!!!!", "é", "A" * 22, "A" * (TOKEN_LENGTH_MAX + 1), "AAAA AAAA"],
)
def test_text_that_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidPageToken):
        TOKENS.decode(replace(REQUEST, page_token=token))


@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_an_altered_token_is_refused(position: int, bit: int) -> None:
    token = TOKENS.encode(REQUEST, KEY)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[position % len(raw)] ^= 1 << bit
    altered = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    with pytest.raises(InvalidPageToken):
        TOKENS.decode(replace(REQUEST, page_token=altered))


@pytest.mark.parametrize(
    ("page_size", "limit"),
    [(0, PAGE_SIZE_DEFAULT), (1, 1), (1000, 1000), (5000, PAGE_SIZE_MAX)],
)
def test_a_page_has_a_default_and_a_largest_size(page_size: int, limit: int) -> None:
    assert replace(REQUEST, page_size=page_size).limit == limit


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidPageSize) as caught:
        replace(REQUEST, page_size=-1)

    assert caught.value.reason == "INVALID_PAGE_SIZE"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {"page_size": "-1", "page_size_max": "1000"}


def test_the_last_page_has_no_token() -> None:
    request = replace(REQUEST, page_size=2)

    last = TOKENS.page(request, [1, 2], lambda row: [row])
    middle = TOKENS.page(request, [1, 2, 3], lambda row: [row])

    assert last == Page([1, 2], "")
    assert middle.items == [1, 2]
    assert TOKENS.decode(replace(request, page_token=middle.next_page_token)) == (2,)


ROW = Table(
    "page_row",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("amount", Numeric(38, 18), nullable=False),
    prefixes=["TEMPORARY"],
)


@pytest.fixture(scope="module")
async def rows(owner_url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(owner_url.replace("postgresql:", "postgresql+asyncpg:", 1))
    async with engine.connect() as connection:
        await connection.execute(CreateTable(ROW))
        values = [
            {"id": number, "name": "ab"[number % 2], "amount": Decimal(number % 5) / 4}
            for number in range(23)
        ]
        await connection.execute(insert(ROW), values)
        yield connection
    await engine.dispose()


@pytest.mark.parametrize(
    "directions",
    [(False, False, False), (True, True, True), (True, False, False), (False, True, True)],
)
async def test_pages_lead_through_every_row_once_and_in_order(
    rows: AsyncConnection, directions: tuple[bool, bool, bool]
) -> None:
    columns = (ROW.c.amount, ROW.c.name, ROW.c.id)
    order = list(zip(columns, directions, strict=True))
    sort = [column.desc() if descends else column.asc() for column, descends in order]
    everything = select(*columns).order_by(*sort)
    request = replace(REQUEST, page_size=5)
    seen: list[Sequence[object]] = []
    while True:
        key = TOKENS.decode(request)
        query = everything.where(after(order, key)) if key else everything
        found = (await rows.execute(query.limit(request.limit + 1))).all()
        page = TOKENS.page(request, found, tuple)
        seen.extend(page.items)
        if not page.next_page_token:
            break
        request = replace(request, page_token=page.next_page_token)

    assert seen == (await rows.execute(everything)).all()
    assert len(seen) == 23


def test_one_direction_is_one_row_comparison() -> None:
    condition = after([(ROW.c.name, True), (ROW.c.id, True)], ["a", 5])

    text = str(condition.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    assert text.startswith("(page_row.name, page_row.id) < (")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidPageToken):
        after([(ROW.c.id, False)], ["a", 5])
