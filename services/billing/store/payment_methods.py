"""Payment methods as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import select

from services.billing.domain.payment import MethodKind, PaymentMethod
from services.billing.tables.provider import payment_method as table
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.transaction import Transaction

_FIELDS = tuple(each.name for each in fields(PaymentMethod) if each.name != "kind")

_METHODS = Listing(
    filters={
        "kind": FilterField(
            FieldType.CHOICE, table.c.kind, choices={each.name: each.value for each in MethodKind}
        ),
        "is_default": FilterField(FieldType.BOOLEAN, table.c.is_default),
    },
    orders={
        "create_time": table.c.created_at,
        "payment_method_id": table.c.payment_method_id,
    },
    default_order="create_time desc",
    tie_break="payment_method_id",
)


def _of(row: Mapping[str, Any]) -> PaymentMethod:
    return PaymentMethod(**{name: row[name] for name in _FIELDS}, kind=MethodKind(row["kind"]))


async def add_method(tx: Transaction, tenant_id: str, method: PaymentMethod) -> PaymentMethod:
    """Adds a method, or shows anew one that the provider told of before; returns what is kept."""
    known = None
    if method.provider_payment_method_id:
        known = await find_by_provider(
            tx, tenant_id, method.provider, method.provider_payment_method_id
        )
    if known is not None:
        await tx.driver.execute(
            "UPDATE billing.payment_method SET brand = $3, last4 = $4, expire_month = $5,"
            " expire_year = $6, is_detached = false WHERE tenant_id = $1"
            " AND payment_method_id = $2",
            *(tenant_id, known.payment_method_id, method.brand, method.last4),
            *(method.expire_month, method.expire_year),
        )
        return await find_method(tx, tenant_id, known.payment_method_id) or known
    await tx.driver.execute(
        "INSERT INTO billing.payment_method (tenant_id, payment_method_id, account_id, kind,"
        " brand, last4, expire_month, expire_year, is_default, reference, provider,"
        " provider_payment_method_id, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, false, $9, $10, $11, $12)",
        *(tenant_id, method.payment_method_id, method.account_id, method.kind.value),
        *(method.brand, method.last4, method.expire_month, method.expire_year),
        *(method.reference, method.provider, method.provider_payment_method_id),
        method.created_at,
    )
    return method


async def set_default(
    tx: Transaction, tenant_id: str, account_id: str, payment_method_id: str
) -> None:
    """Charges this method of the account from now on."""
    for is_default, condition in ((False, "<>"), (True, "=")):
        await tx.driver.execute(
            "UPDATE billing.payment_method SET is_default = $4 WHERE tenant_id = $1"
            f" AND account_id = $2 AND payment_method_id {condition} $3",
            *(tenant_id, account_id, payment_method_id, is_default),
        )


async def detach(tx: Transaction, tenant_id: str, payment_method_id: str) -> None:
    """Forgets a method; the row stays for the payments that name it."""
    await tx.driver.execute(
        "UPDATE billing.payment_method SET is_detached = true, is_default = false"
        " WHERE tenant_id = $1 AND payment_method_id = $2",
        *(tenant_id, payment_method_id),
    )


async def find_method(
    tx: Transaction, tenant_id: str, payment_method_id: str
) -> PaymentMethod | None:
    """Returns a method."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.payment_method WHERE tenant_id = $1 AND payment_method_id = $2",
        *(tenant_id, payment_method_id),
    )
    return None if row is None else _of(dict(row))


async def find_by_provider(
    tx: Transaction, tenant_id: str, provider: str, provider_payment_method_id: str
) -> PaymentMethod | None:
    """Returns the method that the provider calls so."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.payment_method WHERE tenant_id = $1 AND provider = $2"
        " AND provider_payment_method_id = $3",
        *(tenant_id, provider, provider_payment_method_id),
    )
    return None if row is None else _of(dict(row))


async def default_method(tx: Transaction, tenant_id: str, account_id: str) -> PaymentMethod | None:
    """Returns the method that is charged unless another is named."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.payment_method WHERE tenant_id = $1 AND account_id = $2"
        " AND is_default AND NOT is_detached",
        *(tenant_id, account_id),
    )
    return None if row is None else _of(dict(row))


async def list_methods(
    tx: Transaction, page: PageRequest, tokens: PageTokens, *, account_id: str
) -> Page[PaymentMethod]:
    """Returns a page of methods that are not detached. account_id: "" for all."""
    statement = select(table).where(
        table.c.tenant_id == page.tenant_id, table.c.is_detached.is_(False)
    )
    if account_id:
        statement = statement.where(table.c.account_id == account_id)
    found = await _METHODS.page(tx, statement, page, tokens)
    return Page([_of(dict(row)) for row in found.items], found.next_page_token)


async def unpaid_invoices(tx: Transaction, tenant_id: str, account_id: str) -> list[str]:
    """Returns overdue invoices that wait for a payment method that works."""
    rows = await tx.driver.fetch(
        "SELECT invoice_id FROM billing.invoice WHERE tenant_id = $1 AND account_id = $2"
        " AND state = 'past_due' AND provider_invoice_id <> '' ORDER BY issued_at",
        *(tenant_id, account_id),
    )
    return [row["invoice_id"] for row in rows]


async def provider_invoice(tx: Transaction, tenant_id: str, invoice_id: str) -> str:
    """Returns the provider's id of an invoice, "" where it has none."""
    found = await tx.driver.fetchval(
        "SELECT provider_invoice_id FROM billing.invoice WHERE tenant_id = $1 AND invoice_id = $2",
        *(tenant_id, invoice_id),
    )
    return str(found or "")


async def owner_of(
    tx: Transaction, provider: str, provider_payment_method_id: str
) -> tuple[str, PaymentMethod] | None:
    """Returns the tenant and the method that the provider calls so; for the worker's role."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.payment_method WHERE provider = $1"
        " AND provider_payment_method_id = $2",
        *(provider, provider_payment_method_id),
    )
    return None if row is None else (row["tenant_id"], _of(dict(row)))
