"""Price books, prices and peak schedules as the pricing service changes and lists them.

Reads see a tenant's own rows and those of `*`; where both have one id, the tenant's own counts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Table, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.money import format_decimal
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.usage.domain.peak import PeakSchedule
from services.usage.domain.price import BEGINNING, Price, PriceBook
from services.usage.store.prices import price_of, price_row, schedule_of, schedule_row
from services.usage.tables import GLOBAL_TENANT
from services.usage.tables import peak_schedule as schedule_table
from services.usage.tables import price as price_table
from services.usage.tables import price_book as book_table
from services.usage.tables import tenant as tenant_table

ADDED_AT_ONCE = 500  # a catalogue has thousands, which as text at once take tens of megabytes

# Rows hold only what sets them apart from the first one, which is a quarter of the text.
_ADD_PRICES = """
INSERT INTO usage.price SELECT p.* FROM
    jsonb_populate_record(NULL::usage.price, $1::text::jsonb) AS first,
    jsonb_populate_recordset(first, $2::text::jsonb) AS p
"""


def _unique(table: Table, name: str) -> ColumnElement[Any]:
    """Orders by id; a tenant's row and one of `*` may have the same, so the owner ends the key."""
    return (table.c[name] + " " + table.c.tenant_id).label(f"{name}_key")


def _strings(table: Table, *names: str) -> dict[str, FilterField]:
    return {name: FilterField(FieldType.STRING, table.c[name]) for name in names}


_BOOK_KEY = _unique(book_table, "price_book_id")
_BOOKS = Listing(
    filters=_strings(book_table, "price_book_id", "display_name"),
    orders={"price_book_id": _BOOK_KEY},
    default_order="price_book_id",
    tie_break="price_book_id",
)
_PRICE_KEY = _unique(price_table, "price_id")
_PRICE_START = func.coalesce(price_table.c.effective_start_at, BEGINNING).label("start_key")
_PRICES = Listing(
    filters=_strings(
        price_table,
        "price_book_id",
        "resource_type",
        "meter",
        "resource_id",
        "provider",
        "service",
        "region",
    ),
    orders={"price_id": _PRICE_KEY, "effective_start_time": _PRICE_START},
    default_order="price_id",
    tie_break="price_id",
)
_SCHEDULE_KEY = _unique(schedule_table, "peak_schedule_id")
_SCHEDULES = Listing(
    filters=_strings(schedule_table, "peak_schedule_id", "time_zone"),
    orders={"peak_schedule_id": _SCHEDULE_KEY},
    default_order="peak_schedule_id",
    tie_break="peak_schedule_id",
)


async def bump_price_revision(tx: Transaction, tenant_id: str) -> None:
    """Counts a change of prices, so that every replica reads them again; locks the tenant."""
    statement = update(tenant_table).where(tenant_table.c.tenant_id == (tenant_id or GLOBAL_TENANT))
    await tx.execute(statement.values(price_revision=tenant_table.c.price_revision + 1))


async def add_price_book(tx: Transaction, book: PriceBook) -> bool:
    """Adds a book; False where the owner has one of that id."""
    statement = insert(book_table).values(
        tenant_id=book.tenant_id or GLOBAL_TENANT,
        price_book_id=book.price_book_id,
        display_name=book.display_name or book.price_book_id,
        created_at=book.created_at,
    )
    added = statement.on_conflict_do_nothing().returning(literal_column("1", Integer))
    return await tx.scalar(added) is not None


async def find_price_book(tx: Transaction, tenant_id: str, price_book_id: str) -> PriceBook | None:
    """Returns the tenant's book, else the one for everybody, else None."""
    found = await tx.execute(
        select(book_table)
        .where(_seen(book_table, tenant_id), book_table.c.price_book_id == price_book_id)
        .order_by(book_table.c.tenant_id == GLOBAL_TENANT)
        .limit(1)
    )
    row = found.mappings().one_or_none()
    return None if row is None else _book_of(row)


async def list_price_books(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[PriceBook]:
    """Returns a page of the books that a tenant sees."""
    books = select(book_table, _BOOK_KEY).where(_seen(book_table, page.tenant_id))
    found = await _BOOKS.page(tx, books, page, tokens)
    return Page([_book_of(row) for row in found.items], found.next_page_token)


async def delete_price_book(tx: Transaction, book: PriceBook) -> None:
    """Deletes a book that has no prices."""
    await tx.execute(
        delete(book_table).where(
            book_table.c.tenant_id == (book.tenant_id or GLOBAL_TENANT),
            book_table.c.price_book_id == book.price_book_id,
        )
    )


async def has_prices(tx: Transaction, book: PriceBook) -> bool:
    """Tells whether a book has prices, superseded ones included."""
    return bool(await tx.scalar(select(select(price_table).where(*_in_book(book)).exists())))


async def book_prices(tx: Transaction, book: PriceBook) -> list[Price]:
    """Returns the prices of a book that stand now."""
    rows = await tx.execute(
        select(price_table).where(*_in_book(book), price_table.c.superseded_at.is_(None))
    )
    return [price_of(row) for row in rows.mappings()]


async def find_price(tx: Transaction, tenant_id: str, price_id: str) -> Price | None:
    """Returns the price that stands now, the tenant's own first; None where there is none."""
    found = await tx.execute(
        select(price_table)
        .where(
            _seen(price_table, tenant_id),
            price_table.c.price_id == price_id,
            price_table.c.superseded_at.is_(None),
        )
        .order_by(price_table.c.tenant_id == GLOBAL_TENANT)
        .limit(1)
    )
    row = found.mappings().one_or_none()
    return None if row is None else price_of(row)


async def list_prices(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[Price]:
    """Returns a page of the prices that stand now and that a tenant sees."""
    prices = select(price_table, _PRICE_KEY, _PRICE_START).where(
        _seen(price_table, page.tenant_id), price_table.c.superseded_at.is_(None)
    )
    found = await _PRICES.page(tx, prices, page, tokens)
    return Page([price_of(row) for row in found.items], found.next_page_token)


async def known_price_ids(
    tx: Transaction, tenant_id: str, price_ids: Collection[str]
) -> frozenset[str]:
    """Returns those of the ids that the owner has a row of, superseded ones included."""
    found = await tx.execute(
        select(price_table.c.price_id).where(
            price_table.c.tenant_id == (tenant_id or GLOBAL_TENANT),
            price_table.c.price_id == func.any(list(price_ids)),
        )
    )
    return frozenset(found.scalars())


async def add_prices(tx: Transaction, prices: Sequence[Price]) -> None:
    """Adds rows of prices."""
    for begin in range(0, len(prices), ADDED_AT_ONCE):
        rows = [_json_row(price) for price in prices[begin : begin + ADDED_AT_ONCE]]
        first = rows[0]
        apart = [{k: v for k, v in row.items() if v != first[k]} for row in rows]
        await tx.driver.execute(_ADD_PRICES, json.dumps(first), json.dumps(apart))


async def supersede_prices(tx: Transaction, prices: Sequence[Price], at: datetime) -> None:
    """Stores that the rows of these prices, all of one owner, stand no longer."""
    if not prices:
        return
    await tx.execute(
        update(price_table)
        .where(
            price_table.c.tenant_id == (prices[0].tenant_id or GLOBAL_TENANT),
            price_table.c.price_id == func.any([price.price_id for price in prices]),
            price_table.c.superseded_at.is_(None),
        )
        .values(superseded_at=at)
    )


async def add_peak_schedule(tx: Transaction, tenant_id: str, schedule: PeakSchedule) -> bool:
    """Adds a schedule; False where the owner has one of that id. tenant_id: "" for everybody."""
    statement = insert(schedule_table).values(schedule_row(tenant_id, schedule))
    added = statement.on_conflict_do_nothing().returning(literal_column("1", Integer))
    return await tx.scalar(added) is not None


async def find_peak_schedule(
    tx: Transaction, tenant_id: str, peak_schedule_id: str, *, is_own: bool = False
) -> PeakSchedule | None:
    """Returns the tenant's schedule, else the one for everybody unless it must be the own one."""
    owned = schedule_table.c.tenant_id == (tenant_id or GLOBAL_TENANT)
    found = await tx.execute(
        select(schedule_table)
        .where(
            owned if is_own else _seen(schedule_table, tenant_id),
            schedule_table.c.peak_schedule_id == peak_schedule_id,
        )
        .order_by(schedule_table.c.tenant_id == GLOBAL_TENANT)
        .limit(1)
    )
    row = found.mappings().one_or_none()
    return None if row is None else schedule_of(row)


async def list_peak_schedules(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[PeakSchedule]:
    """Returns a page of the schedules that a tenant sees."""
    schedules = select(schedule_table, _SCHEDULE_KEY).where(_seen(schedule_table, page.tenant_id))
    found = await _SCHEDULES.page(tx, schedules, page, tokens)
    return Page([schedule_of(row) for row in found.items], found.next_page_token)


async def update_peak_schedule(tx: Transaction, tenant_id: str, schedule: PeakSchedule) -> None:
    """Stores a changed schedule of a tenant."""
    await tx.execute(
        update(schedule_table)
        .where(
            schedule_table.c.tenant_id == tenant_id,
            schedule_table.c.peak_schedule_id == schedule.peak_schedule_id,
        )
        .values(schedule_row(tenant_id, schedule))
    )


async def delete_peak_schedule(tx: Transaction, tenant_id: str, peak_schedule_id: str) -> None:
    """Deletes a schedule of a tenant."""
    await tx.execute(
        delete(schedule_table).where(
            schedule_table.c.tenant_id == tenant_id,
            schedule_table.c.peak_schedule_id == peak_schedule_id,
        )
    )


async def price_using(tx: Transaction, tenant_id: str, peak_schedule_id: str) -> str:
    """Returns the id of a price that uses the schedule, or ever did; "" where none does."""
    found = await tx.scalar(
        select(price_table.c.price_id)
        .where(
            price_table.c.tenant_id == tenant_id,
            price_table.c.peak_schedule_id == peak_schedule_id,
        )
        .limit(1)
    )
    return found or ""


def _seen(table: Table, tenant_id: str) -> ColumnElement[bool]:
    return table.c.tenant_id.in_((tenant_id or GLOBAL_TENANT, GLOBAL_TENANT))


def _in_book(book: PriceBook) -> tuple[ColumnElement[bool], ...]:
    return (
        price_table.c.tenant_id == (book.tenant_id or GLOBAL_TENANT),
        price_table.c.price_book_id == book.price_book_id,
    )


def _book_of(row: Any) -> PriceBook:
    return PriceBook(
        price_book_id=row["price_book_id"],
        tenant_id="" if row["tenant_id"] == GLOBAL_TENANT else row["tenant_id"],
        display_name=row["display_name"],
        created_at=row["created_at"],
    )


def _json_row(price: Price) -> dict[str, Any]:
    row = price_row(price)
    row["per_quantity"] = format_decimal(price.per)
    for name, value in row.items():
        if isinstance(value, datetime):
            row[name] = value.isoformat()
    return row
