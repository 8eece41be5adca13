"""Invoices that a provider made of metered usage, as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from services.billing.domain.metered_route import MeteredInvoice
from services.billing.domain.provider import RemoteState
from services.billing.tables.meters import metered_invoice as table
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.kernel.transaction import Transaction

_INVOICES = Listing(
    filters={
        "subscription_id": FilterField(FieldType.STRING, table.c.subscription_id),
        "account_id": FilterField(FieldType.STRING, table.c.account_id),
        "state": FilterField(
            FieldType.CHOICE,
            table.c.state,
            choices={each.name: each.value for each in RemoteState},
        ),
        "create_time": FilterField(FieldType.TIMESTAMP, table.c.created_at),
    },
    orders={
        "create_time": table.c.created_at,
        "provider_invoice_id": table.c.provider_invoice_id,
    },
    default_order="create_time desc",
    tie_break="provider_invoice_id",
)

_FIELDS = (
    *("tenant_id", "provider_invoice_id", "route_id", "subscription_id", "account_id", "number"),
    *("currency_code", "subtotal", "rated", "total", "amount_paid", "hosted_url", "created_at"),
    "seen_at",
)

_SAVE = """
INSERT INTO billing.metered_invoice (tenant_id, provider_invoice_id, route_id, subscription_id,
    account_id, number, state, currency_code, start_at, end_at, subtotal, rated, total,
    amount_paid, hosted_url, created_at, seen_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (tenant_id, provider_invoice_id) DO UPDATE SET number = EXCLUDED.number,
    state = EXCLUDED.state, start_at = EXCLUDED.start_at, end_at = EXCLUDED.end_at,
    subtotal = EXCLUDED.subtotal, rated = EXCLUDED.rated, total = EXCLUDED.total,
    amount_paid = EXCLUDED.amount_paid, hosted_url = EXCLUDED.hosted_url,
    seen_at = EXCLUDED.seen_at
WHERE metered_invoice.seen_at <= EXCLUDED.seen_at
"""


def _of(row: Mapping[str, Any]) -> MeteredInvoice:
    return MeteredInvoice(
        **{name: row[name] for name in _FIELDS},
        state=RemoteState(row["state"]),
        period=Period(row["start_at"], row["end_at"]),
    )


async def save(tx: Transaction, invoice: MeteredInvoice) -> None:
    """Stores an invoice as it was last seen; what was seen before that does not replace it."""
    await tx.driver.execute(
        _SAVE,
        *(invoice.tenant_id, invoice.provider_invoice_id, invoice.route_id),
        *(invoice.subscription_id, invoice.account_id, invoice.number, invoice.state.value),
        *(invoice.currency_code, invoice.period.start, invoice.period.end, invoice.subtotal),
        *(invoice.rated, invoice.total, invoice.amount_paid, invoice.hosted_url),
        *(invoice.created_at, invoice.seen_at),
    )


async def ids_at(
    tx: Transaction, tenant_id: str, route_id: str, instants: Sequence[datetime]
) -> list[str]:
    """Returns which invoices of a route bill what was counted at some instants, oldest first."""
    found = await tx.driver.fetch(
        "SELECT provider_invoice_id FROM billing.metered_invoice AS invoice"
        " WHERE tenant_id = $1 AND route_id = $2 AND state <> 'void' AND EXISTS (SELECT"
        " FROM unnest($3::timestamptz[]) AS told(at) WHERE at >= start_at AND at < end_at)"
        " ORDER BY created_at, provider_invoice_id",
        *(tenant_id, route_id, list(instants)),
    )
    return [row["provider_invoice_id"] for row in found]


async def list_invoices(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[MeteredInvoice]:
    """Returns a page of a tenant's invoices."""
    statement = select(table).where(table.c.tenant_id == page.tenant_id)
    found = await _INVOICES.page(tx, statement, page, tokens)
    return Page([_of(dict(row)) for row in found.items], found.next_page_token)
