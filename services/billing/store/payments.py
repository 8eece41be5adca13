"""Payments and attempts to collect, as rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from services.billing.domain.payment import (
    AttemptState,
    Payment,
    PaymentAttempt,
    PaymentKind,
    PaymentState,
)
from services.billing.store import settlements
from services.billing.tables.provider import payment as table
from services.billing.tables.provider import payment_attempt as attempt_table
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.money import Money
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.transaction import Transaction

_PAYMENTS = Listing(
    filters={
        "account_id": FilterField(FieldType.STRING, table.c.account_id),
        "invoice_id": FilterField(FieldType.STRING, table.c.invoice_id),
        "kind": FilterField(
            FieldType.CHOICE, table.c.kind, choices={each.name: each.value for each in PaymentKind}
        ),
        "state": FilterField(
            FieldType.CHOICE,
            table.c.state,
            choices={each.name: each.value for each in PaymentState},
        ),
        "amount": FilterField(FieldType.NUMBER, table.c.amount),
        "reference": FilterField(FieldType.STRING, table.c.reference),
        "create_time": FilterField(FieldType.TIMESTAMP, table.c.created_at),
    },
    orders={
        "create_time": table.c.created_at,
        "amount": table.c.amount,
        "payment_id": table.c.payment_id,
    },
    default_order="create_time desc",
    tie_break="payment_id",
)
_ATTEMPTS = Listing(
    filters={
        "invoice_id": FilterField(FieldType.STRING, attempt_table.c.invoice_id),
        "state": FilterField(
            FieldType.CHOICE,
            attempt_table.c.state,
            choices={each.name: each.value for each in AttemptState},
        ),
        "decline_code": FilterField(FieldType.STRING, attempt_table.c.decline_code),
        "attempt_time": FilterField(FieldType.TIMESTAMP, attempt_table.c.attempted_at),
    },
    orders={
        "attempt_time": attempt_table.c.attempted_at,
        "attempt_id": attempt_table.c.attempt_id,
    },
    default_order="attempt_time desc",
    tie_break="attempt_id",
)

_ADD = """
INSERT INTO billing.payment (tenant_id, payment_id, account_id, invoice_id, kind, state,
    currency_code, amount, refunded, fee, reference, payment_method_id, provider,
    provider_payment_id, refund_of, credit_note_id, value_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
ON CONFLICT DO NOTHING RETURNING true
"""


def payment_of(row: Mapping[str, Any]) -> Payment:
    """Builds a payment of its row."""
    return Payment(
        payment_id=row["payment_id"],
        account_id=row["account_id"],
        invoice_id=row["invoice_id"],
        kind=PaymentKind(row["kind"]),
        state=PaymentState(row["state"]),
        amount=Money(row["currency_code"], row["amount"]),
        reference=row["reference"],
        value_at=row["value_at"],
        created_at=row["created_at"],
        refunded=row["refunded"],
        fee=row["fee"],
        payment_method_id=row["payment_method_id"],
        provider=row["provider"],
        provider_payment_id=row["provider_payment_id"],
        refund_of=row["refund_of"],
        credit_note_id=row["credit_note_id"],
    )


def _attempt_of(row: Mapping[str, Any]) -> PaymentAttempt:
    return PaymentAttempt(
        attempt_id=row["attempt_id"],
        invoice_id=row["invoice_id"],
        attempt_number=row["attempt_number"],
        state=AttemptState(row["state"]),
        amount=Money(row["currency_code"], row["amount"]),
        attempted_at=row["attempted_at"],
        payment_method_id=row["payment_method_id"],
        decline_code=row["decline_code"],
        error=row["error"],
        request_id=row["request_id"],
        retryable=row["retryable"],
        next_attempt_at=row["next_attempt_at"],
    )


async def add_payment(tx: Transaction, tenant_id: str, payment: Payment) -> bool:
    """Adds a payment; returns False when it is there: by id, reference or the provider's id."""
    return bool(
        await tx.driver.fetchval(
            _ADD,
            *(tenant_id, payment.payment_id, payment.account_id, payment.invoice_id),
            *(payment.kind.value, payment.state.value, payment.amount.currency_code),
            *(payment.amount.amount, payment.refunded, payment.fee, payment.reference),
            *(payment.payment_method_id, payment.provider, payment.provider_payment_id),
            *(payment.refund_of, payment.credit_note_id, payment.value_at, payment.created_at),
        )
    )


async def find_payment(tx: Transaction, tenant_id: str, payment_id: str) -> Payment | None:
    """Returns a payment, locked."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.payment WHERE tenant_id = $1 AND payment_id = $2 FOR UPDATE",
        tenant_id,
        payment_id,
    )
    return None if row is None else payment_of(dict(row))


async def find_by_reference(
    tx: Transaction, tenant_id: str, kind: PaymentKind, reference: str
) -> Payment | None:
    """Returns the payment that bears the reference."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.payment WHERE tenant_id = $1 AND kind = $2 AND reference = $3",
        *(tenant_id, kind.value, reference),
    )
    return None if row is None else payment_of(dict(row))


async def find_there(tx: Transaction, tenant_id: str, provider_payment_id: str) -> Payment | None:
    """Returns what the provider knows by an id."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.payment WHERE tenant_id = $1 AND provider_payment_id = $2",
        *(tenant_id, provider_payment_id),
    )
    return None if row is None else payment_of(dict(row))


async def owner_of(
    tx: Transaction, provider: str, provider_payment_ids: Collection[str]
) -> tuple[str, str, str] | None:
    """Returns tenant, invoice and payment of a charge, over all tenants."""
    row = await tx.driver.fetchrow(
        "SELECT tenant_id, invoice_id, payment_id FROM billing.payment WHERE provider = $1"
        " AND provider_payment_id <> '' AND provider_payment_id = ANY ($2::text[])"
        " AND kind = 'charge'",
        *(provider, list(provider_payment_ids)),
    )
    return None if row is None else (row["tenant_id"], row["invoice_id"], row["payment_id"])


async def set_state(tx: Transaction, tenant_id: str, payment_id: str, state: PaymentState) -> None:
    """Stores how far a payment is."""
    await tx.driver.execute(
        "UPDATE billing.payment SET state = $3 WHERE tenant_id = $1 AND payment_id = $2",
        *(tenant_id, payment_id, state.value),
    )


async def set_fee(tx: Transaction, tenant_id: str, payment_id: str, fee: Decimal) -> None:
    """Stores what the provider kept of a payment, in its currency."""
    await tx.driver.execute(
        "UPDATE billing.payment SET fee = $3 WHERE tenant_id = $1 AND payment_id = $2",
        *(tenant_id, payment_id, fee),
    )


async def has_dispute(tx: Transaction, tenant_id: str, account_id: str) -> bool:
    """Tells whether a payment of the account is disputed."""
    return bool(
        await tx.driver.fetchval(
            "SELECT true FROM billing.payment WHERE tenant_id = $1 AND account_id = $2"
            " AND state = 'disputed' LIMIT 1",
            *(tenant_id, account_id),
        )
    )


async def payments_of_invoice(tx: Transaction, tenant_id: str, invoice_id: str) -> list[Payment]:
    """Returns what came in for an invoice and went back, oldest first."""
    rows = await tx.driver.fetch(
        "SELECT * FROM billing.payment WHERE tenant_id = $1 AND invoice_id = $2"
        " ORDER BY created_at, payment_id",
        *(tenant_id, invoice_id),
    )
    return [payment_of(dict(row)) for row in rows]


async def add_refunded(tx: Transaction, tenant_id: str, payment_id: str, amount: Decimal) -> None:
    """Adds to what went back of a payment."""
    await tx.driver.execute(
        "UPDATE billing.payment SET refunded = refunded + $3"
        " WHERE tenant_id = $1 AND payment_id = $2",
        *(tenant_id, payment_id, amount),
    )


async def list_payments(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[Payment]:
    """Returns a page of payments."""
    statement = select(table).where(table.c.tenant_id == page.tenant_id)
    found = await _PAYMENTS.page(tx, statement, page, tokens)
    listed = [payment_of(dict(row)) for row in found.items]
    known = await settlements.of_payments(tx, page.tenant_id, [one.payment_id for one in listed])
    return Page(
        [replace(one, settlement=known.get(one.payment_id)) for one in listed],
        found.next_page_token,
    )


async def running_attempt(
    tx: Transaction, tenant_id: str, invoice_id: str
) -> PaymentAttempt | None:
    """Returns the attempt whose outcome is not known, None when there is none."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM billing.payment_attempt WHERE tenant_id = $1 AND invoice_id = $2"
        " AND state IN ('started', 'processing')",
        *(tenant_id, invoice_id),
    )
    return None if row is None else _attempt_of(dict(row))


async def is_charging(tx: Transaction, tenant_id: str, invoice_id: str) -> bool:
    """Tells whether a charge of the invoice was begun at the provider and has not ended."""
    return bool(
        await tx.driver.fetchval(
            """
            SELECT true FROM billing.payment_attempt AS attempt
            JOIN billing.provider_operation AS operation
            ON operation.tenant_id = attempt.tenant_id AND operation.operation_key
                = 'inv:' || attempt.invoice_id || ':pay:' || attempt.attempt_id
            WHERE attempt.tenant_id = $1 AND attempt.invoice_id = $2
                AND attempt.state IN ('started', 'processing')
            """,
            *(tenant_id, invoice_id),
        )
    )


async def find_attempt(
    tx: Transaction, tenant_id: str, *, attempt_id: str = "", request_id: str = ""
) -> PaymentAttempt | None:
    """Returns an attempt by its id, or by the request that asked for it."""
    column, value = ("request_id", request_id) if request_id else ("attempt_id", attempt_id)
    row = await tx.driver.fetchrow(
        f"SELECT * FROM billing.payment_attempt WHERE tenant_id = $1 AND {column} = $2",
        *(tenant_id, value),
    )
    return None if row is None else _attempt_of(dict(row))


async def add_attempt(tx: Transaction, tenant_id: str, attempt: PaymentAttempt) -> None:
    """Adds an attempt before it is made."""
    await tx.driver.execute(
        "INSERT INTO billing.payment_attempt (tenant_id, attempt_id, invoice_id, attempt_number,"
        " state, currency_code, amount, payment_method_id, attempted_at, request_id)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        *(tenant_id, attempt.attempt_id, attempt.invoice_id, attempt.attempt_number),
        *(attempt.state.value, attempt.amount.currency_code, attempt.amount.amount),
        *(attempt.payment_method_id, attempt.attempted_at, attempt.request_id),
    )


async def set_attempt_amount(
    tx: Transaction, tenant_id: str, attempt_id: str, amount: Decimal
) -> None:
    """Stores what an attempt takes, as long as nothing was sent of it."""
    await tx.driver.execute(
        "UPDATE billing.payment_attempt SET amount = $3 WHERE tenant_id = $1 AND attempt_id = $2",
        *(tenant_id, attempt_id, amount),
    )


async def end_attempt(
    tx: Transaction,
    tenant_id: str,
    attempt_id: str,
    state: AttemptState,
    *,
    decline_code: str = "",
    error: str = "",
    retryable: bool = False,
    next_attempt_at: datetime | None = None,
) -> None:
    """Stores how an attempt ended. error: why, where it was no bank that refused."""
    await tx.driver.execute(
        "UPDATE billing.payment_attempt SET state = $3, decline_code = $4, error = $5,"
        " retryable = $6, next_attempt_at = $7 WHERE tenant_id = $1 AND attempt_id = $2",
        *(tenant_id, attempt_id, state.value, decline_code, error, retryable, next_attempt_at),
    )


async def list_attempts(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[PaymentAttempt]:
    """Returns a page of attempts."""
    statement = select(attempt_table).where(attempt_table.c.tenant_id == page.tenant_id)
    found = await _ATTEMPTS.page(tx, statement, page, tokens)
    return Page([_attempt_of(dict(row)) for row in found.items], found.next_page_token)


async def attempts_made(tx: Transaction, tenant_id: str, invoice_id: str) -> int:
    """Returns how many attempts on the schedule were begun."""
    return int(
        await tx.driver.fetchval(
            "SELECT count(*) FROM billing.payment_attempt WHERE tenant_id = $1"
            " AND invoice_id = $2 AND attempt_number > 0",
            *(tenant_id, invoice_id),
        )
    )


async def set_attempt_count(
    tx: Transaction, tenant_id: str, invoice_id: str, attempt_count: int
) -> None:
    """Stores how many attempts an invoice took."""
    await tx.driver.execute(
        "UPDATE billing.invoice SET attempt_count = $3 WHERE tenant_id = $1 AND invoice_id = $2",
        *(tenant_id, invoice_id, attempt_count),
    )


async def set_schedule(
    tx: Transaction,
    tenant_id: str,
    invoice_id: str,
    attempt_count: int,
    next_attempt_at: datetime | None,
) -> None:
    """Stores where an invoice is on its schedule."""
    await tx.driver.execute(
        "UPDATE billing.invoice SET attempt_count = $3, next_attempt_at = $4"
        " WHERE tenant_id = $1 AND invoice_id = $2",
        *(tenant_id, invoice_id, attempt_count, next_attempt_at),
    )


async def payable_numbers(
    tx: Transaction, tenant_id: str, numbers: Collection[str]
) -> dict[str, str]:
    """Returns the invoice of each of the numbers that a payment may name."""
    rows = await tx.driver.fetch(
        "SELECT number, invoice_id FROM billing.invoice WHERE tenant_id = $1"
        " AND number <> '' AND number = ANY ($2::text[])"
        " AND state IN ('open', 'past_due', 'uncollectible', 'paid')",
        *(tenant_id, list(numbers)),
    )
    return {row["number"]: row["invoice_id"] for row in rows}
