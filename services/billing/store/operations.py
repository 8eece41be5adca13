"""Steps at the provider, and our objects there, as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from services.billing.domain.operation import Operation, OperationState, Step
from services.billing.tables.provider import provider_operation as table
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.transaction import Transaction

_FIELDS = tuple(each.name for each in fields(Operation) if each.name not in ("step", "state"))

_OPERATIONS = Listing(
    filters={
        "operation_key": FilterField(FieldType.STRING, table.c.operation_key),
        "state": FilterField(
            FieldType.CHOICE,
            table.c.state,
            choices={each.name: each.value for each in OperationState},
        ),
        "invoice_id": FilterField(FieldType.STRING, table.c.invoice_id),
        "first_send_time": FilterField(FieldType.TIMESTAMP, table.c.first_sent_at),
    },
    orders={"first_send_time": table.c.first_sent_at, "operation_key": table.c.operation_key},
    default_order="first_send_time desc",
    tie_break="operation_key",
)

_INSERT = """
INSERT INTO billing.provider_operation (tenant_id, operation_key, step, state, attempt,
    idempotency_key, request_hash, invoice_id, provider, first_sent_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
ON CONFLICT (tenant_id, operation_key) DO NOTHING RETURNING true
"""

_SAVE = """
UPDATE billing.provider_operation SET state = $3, attempt = $4, idempotency_key = $5,
    provider_object_id = $6, http_status = $7, provider_request_id = $8, error = $9,
    first_sent_at = $10, next_attempt_at = $11, updated_at = $12
WHERE tenant_id = $1 AND operation_key = $2 AND attempt <= $4
    AND state NOT IN ('succeeded', 'failed')
"""


def _of(row: Mapping[str, Any]) -> Operation:
    return Operation(
        **{name: row[name] for name in _FIELDS},
        step=Step(row["step"]),
        state=OperationState(row["state"]),
    )


async def add(tx: Transaction, tenant_id: str, operation: Operation) -> bool:
    """Writes down a new step; returns False when it is there already."""
    return bool(
        await tx.driver.fetchval(
            _INSERT,
            *(tenant_id, operation.operation_key, operation.step.value, operation.state.value),
            *(operation.attempt, operation.idempotency_key, operation.request_hash),
            *(operation.invoice_id, operation.provider, operation.first_sent_at),
        )
    )


async def find(tx: Transaction, tenant_id: str, operation_key: str) -> Operation | None:
    """Returns a step."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.provider_operation WHERE tenant_id = $1 AND operation_key = $2",
        tenant_id,
        operation_key,
    )
    return None if row is None else _of(dict(row))


async def save(tx: Transaction, tenant_id: str, operation: Operation, now: datetime) -> None:
    """Stores how far a step is, unless it has ended or a later attempt was begun meanwhile."""
    await tx.driver.execute(
        _SAVE,
        *(tenant_id, operation.operation_key, operation.state.value, operation.attempt),
        *(operation.idempotency_key, operation.provider_object_id, operation.http_status),
        *(operation.provider_request_id, operation.error, operation.first_sent_at),
        *(operation.next_attempt_at, now),
    )


async def list_operations(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[Operation]:
    """Returns a page of steps."""
    statement = select(table).where(table.c.tenant_id == page.tenant_id)
    found = await _OPERATIONS.page(tx, statement, page, tokens)
    return Page([_of(dict(row)) for row in found.items], found.next_page_token)


async def overdue_invoices(
    tx: Transaction, now: datetime, idle: timedelta
) -> list[tuple[str, str, str]]:
    """Returns tenant, invoice and state of what waits for the provider, of every tenant.

    idle: what was touched, or is planned, so recently has a job that stands for it.
    """
    rows = await tx.driver.fetch(
        """
        WITH waiting AS (
            SELECT tenant_id, invoice_id, state FROM billing.invoice
            WHERE state IN ('locked', 'pushing') AND kind <> 'chargeback'
            UNION
            SELECT tenant_id, invoice_id, state FROM billing.invoice
            WHERE next_attempt_at <= $1 AND state IN ('open', 'past_due')
            AND NOT EXISTS (
                SELECT FROM billing.payment WHERE payment.tenant_id = invoice.tenant_id
                AND payment.account_id = invoice.account_id AND payment.state = 'disputed'
            )
            UNION
            SELECT invoice.tenant_id, invoice.invoice_id, invoice.state
            FROM billing.payment_attempt AS attempt
            JOIN billing.invoice USING (tenant_id, invoice_id)
            WHERE attempt.state = 'started'
        )
        SELECT waiting.* FROM waiting WHERE NOT EXISTS (
            SELECT FROM billing.provider_operation AS operation
            WHERE operation.tenant_id = waiting.tenant_id
            AND operation.invoice_id = waiting.invoice_id
            AND greatest(operation.updated_at, operation.next_attempt_at) > $2
        )
        LIMIT 1000
        """,
        now,
        now - idle,
    )
    return [(row["tenant_id"], row["invoice_id"], row["state"]) for row in rows]


async def object_there(
    tx: Transaction, tenant_id: str, kind: str, local_id: str, provider: str, *, live_mode: bool
) -> str:
    """Returns the provider's id of an object of ours, "" where it has none."""
    found = await tx.driver.fetchval(
        "SELECT provider_object_id FROM billing.provider_object WHERE tenant_id = $1"
        " AND kind = $2 AND local_id = $3 AND provider = $4 AND live_mode = $5",
        *(tenant_id, kind, local_id, provider, live_mode),
    )
    return str(found or "")


async def is_object(tx: Transaction, provider: str, provider_object_id: str) -> bool:
    """Tells whether an object of the provider's is one of ours, over all tenants."""
    return bool(
        await tx.driver.fetchval(
            "SELECT true FROM billing.provider_object WHERE provider = $1"
            " AND provider_object_id = $2 LIMIT 1",
            *(provider, provider_object_id),
        )
    )


async def add_object(
    tx: Transaction,
    tenant_id: str,
    kind: str,
    local_id: str,
    provider: str,
    *,
    provider_object_id: str,
    live_mode: bool,
    now: datetime,
) -> None:
    """Remembers the provider's id of an object of ours."""
    await tx.driver.execute(
        "INSERT INTO billing.provider_object (tenant_id, kind, local_id, provider, live_mode,"
        " provider_object_id, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT DO NOTHING",
        *(tenant_id, kind, local_id, provider, live_mode, provider_object_id, now),
    )
