"""Credit notes as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, select, update

from services.billing.domain.credit_note import (
    CreditNote,
    CreditNoteLine,
    CreditNoteState,
    CreditSettlement,
)
from services.billing.store.many import insert_many
from services.billing.tables.credit_notes import credit_note as table
from services.billing.tables.credit_notes import credit_note_line as line_table
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens

_PLAIN = (
    *("credit_note_id", "invoice_id", "account_id", "number", "reason", "currency_code"),
    *("author", "approver", "note", "void_reason", "created_at", "settled_at"),
)
_COLUMNS = ("tenant_id", *_PLAIN, "state", "settlement", "subtotal", "tax_total", "total")
_LINE_COLUMNS = (
    *("tenant_id", "credit_note_id", "position", "line_id"),
    *("amount", "tax_amount"),
)
_NOTES = Listing(
    filters={
        "state": FilterField(
            FieldType.CHOICE,
            table.c.state,
            choices={one.name: one.value for one in CreditNoteState},
        ),
        "invoice_id": FilterField(FieldType.STRING, table.c.invoice_id),
        "account_id": FilterField(FieldType.STRING, table.c.account_id),
        "total": FilterField(FieldType.NUMBER, table.c.total),
        "create_time": FilterField(FieldType.TIMESTAMP, table.c.created_at),
    },
    orders={
        "create_time": table.c.created_at,
        "total": table.c.total,
        "credit_note_id": table.c.credit_note_id,
    },
    default_order="create_time desc",
    tie_break="credit_note_id",
)


async def add_credit_note(tx: Transaction, tenant_id: str, note: CreditNote) -> None:
    """Adds a credit note with its lines."""
    await insert_many(tx, table, _COLUMNS, [_row(tenant_id, note)])
    await insert_many(
        tx,
        line_table,
        _LINE_COLUMNS,
        [
            (tenant_id, note.credit_note_id, place, line.line_id, line.amount, line.tax_amount)
            for place, line in enumerate(note.lines, start=1)
        ],
    )


async def save_credit_note(tx: Transaction, tenant_id: str, note: CreditNote) -> None:
    """Stores how a credit note stands; its lines never change."""
    await tx.execute(
        update(table)
        .where(table.c.tenant_id == tenant_id, table.c.credit_note_id == note.credit_note_id)
        .values(
            state=note.state.value,
            number=note.number,
            approver=note.approver,
            note=note.note,
            void_reason=note.void_reason,
            settled_at=note.settled_at,
        )
    )


async def find_credit_note(
    tx: Transaction, tenant_id: str, credit_note_id: str, *, is_locked: bool = False
) -> CreditNote | None:
    """Returns a credit note, None where there is none. is_locked: its row."""
    statement = select(table).where(
        table.c.tenant_id == tenant_id, table.c.credit_note_id == credit_note_id
    )
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else await _with_lines(tx, row)


async def has_unsent(tx: Transaction, tenant_id: str, invoice_id: str) -> bool:
    """Tells whether the provider is yet to hear of a credit note that lowers what is due."""
    return bool(
        await tx.driver.fetchval(
            """
            SELECT true FROM billing.credit_note AS note
            WHERE tenant_id = $1 AND invoice_id = $2 AND settlement = 'reduce_due'
            AND state IN ('issued', 'settled') AND NOT EXISTS (
                SELECT FROM billing.provider_operation AS operation
                WHERE operation.tenant_id = note.tenant_id
                AND operation.operation_key = 'cn:' || note.credit_note_id
                AND operation.state IN ('succeeded', 'failed')
            )
            LIMIT 1
            """,
            *(tenant_id, invoice_id),
        )
    )


async def awaits_refund(tx: Transaction, tenant_id: str, invoice_id: str) -> bool:
    """Tells whether a credit note of the invoice is to be refunded and is not yet."""
    return bool(
        await tx.driver.fetchval(
            "SELECT true FROM billing.credit_note WHERE tenant_id = $1 AND invoice_id = $2"
            " AND settlement = 'refund' AND state = 'issued' LIMIT 1",
            *(tenant_id, invoice_id),
        )
    )


async def list_credit_notes(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[CreditNote]:
    """Returns a page of a tenant's credit notes."""
    mine = select(table).where(table.c.tenant_id == page.tenant_id)
    found = await _NOTES.page(tx, mine, page, tokens)
    return Page([await _with_lines(tx, row) for row in found.items], found.next_page_token)


def _row(tenant_id: str, note: CreditNote) -> Sequence[Any]:
    return (
        tenant_id,
        *(getattr(note, name) for name in _PLAIN),
        *(note.state.value, note.settlement.value, note.subtotal, note.tax_total, note.total),
    )


async def _with_lines(tx: Transaction, row: RowMapping) -> CreditNote:
    found = await tx.execute(
        select(line_table)
        .where(
            line_table.c.tenant_id == row["tenant_id"],
            line_table.c.credit_note_id == row["credit_note_id"],
        )
        .order_by(line_table.c.position)
    )
    return CreditNote(
        **{name: row[name] for name in _PLAIN},
        state=CreditNoteState(row["state"]),
        settlement=CreditSettlement(row["settlement"]),
        lines=tuple(
            CreditNoteLine(
                line_id=line["line_id"], amount=line["amount"], tax_amount=line["tax_amount"]
            )
            for line in found.mappings()
        ),
    )
