"""The tax table as rows of the tenant `*`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from sqlalchemy import RowMapping, String, cast, select, update
from sqlalchemy.dialects.postgresql import insert

from services.billing.domain.tax import TaxRate
from services.billing.tables.base import GLOBAL_TENANT
from services.billing.tables.catalogue import tax_rate as table
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens

# Dates compare as texts of one form, because filters know instants and texts.
_START = cast(table.c.start_date, String).label("start_key")
_NAMES = ("country_code", "subdivision_code", "tax_code")
_RATES = Listing(
    filters={
        **{name: FilterField(FieldType.STRING, table.c[name]) for name in _NAMES},
        "start_date": FilterField(FieldType.STRING, _START),
    },
    orders={
        "country_code": table.c.country_code,
        "start_date": _START,
        "tax_rate_id": table.c.tax_rate_id,
    },
    default_order="country_code",
    tie_break="tax_rate_id",
)


async def add_tax_rate(tx: Transaction, rate: TaxRate) -> None:
    """Adds a row."""
    await tx.execute(
        insert(table).values(
            tenant_id=GLOBAL_TENANT, **{name: getattr(rate, name) for name in TaxRate.__slots__}
        )
    )


async def find_tax_rate(tx: Transaction, tax_rate_id: str) -> TaxRate | None:
    """Returns a row by its id; None where there is none."""
    found = await tx.execute(
        select(table).where(table.c.tenant_id == GLOBAL_TENANT, table.c.tax_rate_id == tax_rate_id)
    )
    row = found.mappings().one_or_none()
    return None if row is None else _rate_of(row)


async def update_tax_rate(tx: Transaction, rate: TaxRate) -> None:
    """Stores what may change of a row: its name and its end."""
    await tx.execute(
        update(table)
        .where(table.c.tenant_id == GLOBAL_TENANT, table.c.tax_rate_id == rate.tax_rate_id)
        .values(display_name=rate.display_name, end_date=rate.end_date, revision=rate.revision)
    )


async def list_tax_rates(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[TaxRate]:
    """Returns a page of the table."""
    rates = select(table, _START).where(table.c.tenant_id == GLOBAL_TENANT)
    found = await _RATES.page(tx, rates, page, tokens)
    return Page([_rate_of(row) for row in found.items], found.next_page_token)


async def tax_rates_of(
    tx: Transaction, country_code: str, *, day: date | None = None
) -> list[TaxRate]:
    """Returns the rows of a country, with a day those in force on it."""
    statement = select(table).where(
        table.c.tenant_id == GLOBAL_TENANT, table.c.country_code == country_code
    )
    found = await tx.execute(statement.order_by(table.c.tax_rate_id))
    rates = [_rate_of(row) for row in found.mappings()]
    return [rate for rate in rates if day is None or rate.holds(day)]


def _rate_of(row: RowMapping | Mapping[str, object]) -> TaxRate:
    return TaxRate(**{name: row[name] for name in TaxRate.__slots__})  # type: ignore[arg-type]
