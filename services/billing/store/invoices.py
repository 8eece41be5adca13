"""Invoices as rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import ColumnElement, Select, and_, func, select, update

from services.billing.domain.invoice_record import Invoice, InvoiceLine
from services.billing.domain.invoice_state import InvoiceKind, InvoiceState
from services.billing.domain.metering import Metered
from services.billing.store import invoice_rows as rows
from services.billing.store.many import insert_many
from services.billing.tables import invoices as tables
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period

table = tables.invoice
line_table = tables.invoice_line

_USAGE_COLUMNS = (
    *("tenant_id", "invoice_id", "line_id", "dimension_id"),
    *("quantity", "cost", "events"),
)
# What is set once, when the invoice is made; the rest may change.
_FIXED = frozenset({"tenant_id", "invoice_id", "account_id", "created_at"})

_INVOICES = Listing(
    filters={
        "state": FilterField(
            FieldType.CHOICE, table.c.state, choices={one.name: one.value for one in InvoiceState}
        ),
        "kind": FilterField(
            FieldType.CHOICE, table.c.kind, choices={one.name: one.value for one in InvoiceKind}
        ),
        "number": FilterField(FieldType.STRING, table.c.number),
        "department_id": FilterField(FieldType.STRING, table.c.department_id),
        "currency_code": FilterField(FieldType.STRING, table.c.currency_code),
        "total": FilterField(FieldType.NUMBER, table.c.total),
        "issue_time": FilterField(FieldType.TIMESTAMP, table.c.issued_at),
        "due_time": FilterField(FieldType.TIMESTAMP, table.c.due_at),
        "period_start_time": FilterField(FieldType.TIMESTAMP, table.c.period_start_at),
    },
    orders={
        # What is not issued or due yet comes where it was made.
        "issue_time": table.c.issued_order,
        "due_time": table.c.due_order,
        "total": table.c.total,
        "number": table.c.number,
        "invoice_id": table.c.invoice_id,
    },
    default_order="issue_time desc",
    tie_break="invoice_id",
)
_LINES = Listing(
    filters={
        "kind": FilterField(FieldType.STRING, line_table.c.kind),
        "charge_id": FilterField(FieldType.STRING, line_table.c.charge_id),
        "department_id": FilterField(FieldType.STRING, line_table.c.department_id),
        "project": FilterField(FieldType.STRING, line_table.c.project),
        "resource_type": FilterField(FieldType.STRING, line_table.c.resource_type),
        "amount": FilterField(FieldType.NUMBER, line_table.c.amount),
    },
    orders={"position": line_table.c.position, "amount": line_table.c.amount},
    default_order="position",
    tie_break="position",
)
_NEXT_NUMBER = """
INSERT INTO billing.number_series AS known (tenant_id, series, last_number) VALUES ($1, $2, 1)
ON CONFLICT (tenant_id, series) DO UPDATE SET last_number = known.last_number + 1
RETURNING last_number
"""

# All that an invoice consists of, in one round trip.
_EMPTY = """
WITH lines AS (
    DELETE FROM billing.invoice_line WHERE tenant_id = $1 AND invoice_id = $2
), usage AS (
    DELETE FROM billing.invoice_line_usage WHERE tenant_id = $1 AND invoice_id = $2
), taxes AS (
    DELETE FROM billing.invoice_tax WHERE tenant_id = $1 AND invoice_id = $2
)
DELETE FROM billing.invoice_exchange_rate WHERE tenant_id = $1 AND invoice_id = $2
"""


async def add_invoice(tx: Transaction, invoice: Invoice) -> None:
    """Adds an invoice, without what it consists of."""
    await insert_many(tx, table, rows.INVOICE_COLUMNS, [rows.invoice_row(invoice)])


async def replace_content(
    tx: Transaction,
    invoice: Invoice,
    lines: Sequence[InvoiceLine],
    usage: Iterable[tuple[str, str, Metered]],
) -> None:
    """Stores what an invoice consists of, in place of what it had before.

    usage: line, dimension and what the line bills of it.
    """
    key = (invoice.tenant_id, invoice.invoice_id)
    await tx.driver.execute(_EMPTY, *key)
    await insert_many(
        tx, line_table, rows.LINE_COLUMNS, [rows.line_row(*key, line) for line in lines]
    )
    await insert_many(
        tx,
        tables.invoice_line_usage,
        _USAGE_COLUMNS,
        [
            (*key, line_id, dimension_id, amount.quantity, amount.cost, amount.events)
            for line_id, dimension_id, amount in usage
        ],
    )
    taxes = [rows.tax_row(*key, place, tax) for place, tax in enumerate(invoice.taxes, start=1)]
    await insert_many(tx, tables.invoice_tax, rows.TAX_COLUMNS, taxes)
    rates = [rows.rate_row(*key, rate) for rate in invoice.exchange_rates]
    await insert_many(tx, tables.invoice_exchange_rate, rows.RATE_COLUMNS, rates)


async def save_invoice(tx: Transaction, invoice: Invoice) -> None:
    """Stores the fields of an invoice whose row the transaction has locked."""
    values = dict(zip(rows.INVOICE_COLUMNS, rows.invoice_row(invoice), strict=True))
    changed = {name: value for name, value in values.items() if name not in _FIXED}
    await tx.execute(
        update(table).where(*_is(invoice.tenant_id, invoice.invoice_id)).values(changed)
    )


async def find_invoice(
    tx: Transaction, tenant_id: str, invoice_id: str, *, is_locked: bool = False
) -> Invoice | None:
    """Returns an invoice with taxes and rates, None where there is none. is_locked: its row."""
    statement = select(table).where(*_is(tenant_id, invoice_id))
    return await _one(tx, statement.with_for_update() if is_locked else statement)


async def lock_invoice(tx: Transaction, tenant_id: str, invoice_id: str) -> Invoice | None:
    """Returns an invoice and keeps others from changing it until the transaction ends."""
    return await find_invoice(tx, tenant_id, invoice_id, is_locked=True)


async def find_invoice_of_period(
    tx: Transaction, tenant_id: str, subscription_id: str, start_at: datetime
) -> Invoice | None:
    """Returns the valid invoice of a subscription's period, None where there is none."""
    return await _one(
        tx,
        select(table).where(
            table.c.tenant_id == tenant_id,
            table.c.subscription_id == subscription_id,
            table.c.period_start_at == start_at,
            table.c.state != InvoiceState.VOID.value,
            table.c.kind.in_([InvoiceKind.PERIOD.value, InvoiceKind.FINAL.value]),
        ),
    )


async def find_chargeback(
    tx: Transaction, tenant_id: str, department_id: str, start_at: datetime
) -> Invoice | None:
    """Returns the valid internal invoice of a department's period, None where there is none."""
    return await _one(
        tx,
        select(table).where(
            table.c.tenant_id == tenant_id,
            table.c.department_id == department_id,
            table.c.period_start_at == start_at,
            table.c.state != InvoiceState.VOID.value,
            table.c.kind == InvoiceKind.CHARGEBACK.value,
        ),
    )


async def list_invoices(
    tx: Transaction, page: PageRequest, tokens: PageTokens, *, account_id: str = ""
) -> Page[Invoice]:
    """Returns a page of invoices, each with its taxes and rates. account_id: "" for all."""
    statement = select(table).where(table.c.tenant_id == page.tenant_id)
    if account_id:
        statement = statement.where(table.c.account_id == account_id)
    found = await _INVOICES.page(tx, statement, page, tokens)
    return Page(
        [await _with_content(tx, row) for row in found.items],
        found.next_page_token,
    )


async def invoice_lines(
    tx: Transaction, tenant_id: str, invoice_id: str, *, line_ids: Sequence[str] | None = None
) -> list[InvoiceLine]:
    """Returns the lines of an invoice in printed order. line_ids: only those."""
    statement = select(line_table).where(
        line_table.c.tenant_id == tenant_id, line_table.c.invoice_id == invoice_id
    )
    if line_ids is not None:
        statement = statement.where(line_table.c.line_id.in_(line_ids))
    found = await tx.execute(statement.order_by(line_table.c.position))
    return [rows.line_of(row) for row in found.mappings()]


async def stream_lines(
    tx: Transaction, tenant_id: str, invoice_id: str
) -> AsyncIterator[InvoiceLine]:
    """Yields the lines of an invoice in printed order, however many."""
    statement = select(line_table).where(
        line_table.c.tenant_id == tenant_id, line_table.c.invoice_id == invoice_id
    )
    async for row in tx.stream(statement.order_by(line_table.c.position)):
        yield rows.line_of(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


async def list_lines(
    tx: Transaction, page: PageRequest, tokens: PageTokens, *, invoice_id: str
) -> Page[InvoiceLine]:
    """Returns a page of an invoice's lines."""
    statement = select(line_table).where(
        line_table.c.tenant_id == page.tenant_id, line_table.c.invoice_id == invoice_id
    )
    found = await _LINES.page(tx, statement, page, tokens)
    return Page([rows.line_of(row) for row in found.items], found.next_page_token)


async def lines_of_dimension(
    tx: Transaction, tenant_id: str, dimension_ids: Sequence[str], at: datetime
) -> list[tuple[str, InvoiceLine]]:
    """Returns the lines, with their invoices, that bill dimensions about an hour; no void ones."""
    usage = tables.invoice_line_usage
    statement = (
        select(line_table)
        .join(
            usage,
            and_(
                usage.c.tenant_id == line_table.c.tenant_id,
                usage.c.invoice_id == line_table.c.invoice_id,
                usage.c.line_id == line_table.c.line_id,
            ),
        )
        .join(
            table,
            and_(
                table.c.tenant_id == line_table.c.tenant_id,
                table.c.invoice_id == line_table.c.invoice_id,
            ),
        )
        .where(
            usage.c.tenant_id == tenant_id,
            usage.c.dimension_id.in_(dimension_ids),
            table.c.state != InvoiceState.VOID.value,
            # An edge inside an hour is looked at closely by the caller.
            line_table.c.period_start_at < at + timedelta(hours=1),
            line_table.c.period_end_at > at - timedelta(hours=1),
        )
        .order_by(table.c.created_at, line_table.c.position)
    )
    found = (await tx.execute(statement)).mappings().all()
    return [(row["invoice_id"], rows.line_of(row)) for row in found]


async def line_usage(
    tx: Transaction, tenant_id: str, invoice_id: str, line_id: str = ""
) -> list[tuple[str, str, Metered]]:
    """Returns line, dimension and amount of what an invoice, or one line of it, bills."""
    usage = tables.invoice_line_usage
    statement = select(usage).where(
        usage.c.tenant_id == tenant_id, usage.c.invoice_id == invoice_id
    )
    if line_id:
        statement = statement.where(usage.c.line_id == line_id)
    found = await tx.execute(statement.order_by(usage.c.line_id, usage.c.dimension_id))
    return [
        (
            row["line_id"],
            row["dimension_id"],
            Metered(quantity=row["quantity"], cost=row["cost"], events=row["events"]),
        )
        for row in found.mappings()
    ]


async def usage_billed_at(
    tx: Transaction, tenant_id: str, subscription_id: str, period: Period, invoice_id: str
) -> datetime | None:
    """Returns up to when usage was counted in by the invoices before that billed a period."""
    statement = select(func.max(table.c.usage_as_of_at)).where(
        table.c.tenant_id == tenant_id,
        table.c.subscription_id == subscription_id,
        table.c.state != InvoiceState.VOID.value,
        table.c.invoice_id < invoice_id,
        table.c.period_end_at >= period.end,
    )
    return await tx.scalar(statement)


async def next_number(tx: Transaction, tenant_id: str, series: str) -> int:
    """Takes the next number of a series, without a gap: its row stays locked to the end."""
    number: int = await tx.driver.fetchval(_NEXT_NUMBER, tenant_id, series)
    return number


async def credit_lines(
    tx: Transaction,
    tenant_id: str,
    invoice_id: str,
    taken: Mapping[str, tuple[Decimal, Decimal]],
) -> None:
    """Adds to what is credited of lines. taken: by line, before tax and of the tax."""
    lines = sorted(taken)
    await tx.driver.execute(
        """
        UPDATE billing.invoice_line AS line
        SET credited = credited + part.amount, tax_credited = tax_credited + part.tax
        FROM unnest($3::text[], $4::numeric[], $5::numeric[]) AS part(line_id, amount, tax)
        WHERE tenant_id = $1 AND invoice_id = $2 AND line.line_id = part.line_id
        """,
        tenant_id,
        invoice_id,
        lines,
        [taken[line_id][0] for line_id in lines],
        [taken[line_id][1] for line_id in lines],
    )


async def drafts_to_finalize(tx: Transaction, now: datetime, limit: int) -> list[tuple[str, str]]:
    """Returns (tenant, invoice) of drafts whose grace has ended, over all tenants in turn."""
    return await _in_turn(tx, "state IN ('draft', 'rated') AND grace_end_at <= $1", now, limit)


async def overdue_invoices(tx: Transaction, now: datetime, limit: int) -> list[tuple[str, str]]:
    """Returns (tenant, invoice) of what nobody charges and was to be paid by now, in turn."""
    due = "state = 'open' AND due_at < $1 AND next_attempt_at IS NULL AND kind <> 'chargeback'"
    return await _in_turn(tx, due, now, limit)


async def _in_turn(
    tx: Transaction, condition: str, now: datetime, limit: int
) -> list[tuple[str, str]]:
    """Returns one invoice of each tenant, then a second of each, and so on, in chance order.

    So what fails again and again, however much of it a tenant has, keeps no other from its turn.
    """
    found = await tx.driver.fetch(
        f"""
        SELECT tenant_id, invoice_id FROM (
            SELECT tenant_id, invoice_id,
                row_number() OVER (PARTITION BY tenant_id ORDER BY random()) AS turn
            FROM billing.invoice WHERE {condition}
        ) AS due
        ORDER BY turn, random() LIMIT $2
        """,
        now,
        limit,
    )
    return [(row["tenant_id"], row["invoice_id"]) for row in found]


def _is(tenant_id: str, invoice_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.c.tenant_id == tenant_id, table.c.invoice_id == invoice_id


async def _one(tx: Transaction, statement: Select[*tuple[object, ...]]) -> Invoice | None:
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else await _with_content(tx, row)


async def _with_content(tx: Transaction, row: rows.Row) -> Invoice:
    found = []
    for each in (tables.invoice_tax, tables.invoice_exchange_rate):
        statement = select(each).where(
            each.c.tenant_id == row["tenant_id"], each.c.invoice_id == row["invoice_id"]
        )
        order = each.c.position if "position" in each.c else each.c.from_currency
        found.append((await tx.execute(statement.order_by(order))).mappings().all())
    return rows.invoice_of(row, taxes=found[0], exchange_rates=found[1])
