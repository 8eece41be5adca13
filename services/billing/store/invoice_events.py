"""What happened to invoices, as rows that are only ever added."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from services.billing.domain.invoice_record import InvoiceEvent
from services.billing.store import invoice_rows as rows
from services.billing.store.many import insert_many
from services.billing.tables.invoices import invoice_event as event_table
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens

_EVENTS = Listing(
    filters={
        "kind": FilterField(FieldType.STRING, event_table.c.kind),
        "event_time": FilterField(FieldType.TIMESTAMP, event_table.c.occurred_at),
        "actor": FilterField(FieldType.STRING, event_table.c.actor),
    },
    orders={"event_time": event_table.c.occurred_at, "sequence": event_table.c.sequence},
    default_order="event_time",
    tie_break="sequence",
)


async def add_events(
    tx: Transaction, tenant_id: str, invoice_id: str, events: Sequence[InvoiceEvent]
) -> None:
    """Adds to what happened to an invoice."""
    await insert_many(
        tx,
        event_table,
        rows.EVENT_COLUMNS,
        [rows.event_row(tenant_id, invoice_id, event) for event in events],
    )


async def has_event(tx: Transaction, tenant_id: str, invoice_id: str, operation_key: str) -> bool:
    """Tells whether something of this key happened to an invoice."""
    statement = select(event_table.c.sequence).where(
        event_table.c.tenant_id == tenant_id,
        event_table.c.invoice_id == invoice_id,
        event_table.c.operation_key == operation_key,
    )
    return bool(await tx.scalar(select(statement.exists())))


async def list_events(
    tx: Transaction, page: PageRequest, tokens: PageTokens, *, invoice_id: str
) -> Page[InvoiceEvent]:
    """Returns a page of what happened to an invoice."""
    statement = select(event_table).where(
        event_table.c.tenant_id == page.tenant_id, event_table.c.invoice_id == invoice_id
    )
    found = await _EVENTS.page(tx, statement, page, tokens)
    return Page([rows.event_of(row) for row in found.items], found.next_page_token)
