"""Facts as the feed's bytes, and the time line of an account."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, select

from services.billing.domain.journal import BillingFact, FactKind, HistoryEntry
from services.billing.tables.credits import billing_history as table
from services.kernel.database import Transaction
from services.kernel.feed import EncodedFact
from services.kernel.filter import FieldType, FilterField
from services.kernel.ids import new_id
from services.kernel.listing import Listing
from services.kernel.money import Money, format_decimal
from services.kernel.pagination import Page, PageRequest, PageTokens

# The account's row is locked, so that entries of one account take their balance in turn.
_ADD_ENTRY = """
WITH moved AS (
    UPDATE billing.account SET open_balance = open_balance + $9
    WHERE tenant_id = $1 AND account_id = $3 RETURNING open_balance, currency_code
)
INSERT INTO billing.billing_history (tenant_id, entry_id, account_id, kind, resource_id, invoice_id,
    subscription_id, title, currency_code, amount, balance, state, occurred_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, currency_code, $10, open_balance, $11, $12 FROM moved
"""

_SET_STATE = """
UPDATE billing.billing_history SET state = $4
WHERE tenant_id = $1 AND kind = $2 AND resource_id = $3 AND state <> $4
"""

_HISTORY = Listing(
    filters={
        "kind": FilterField(
            FieldType.CHOICE, table.c.kind, choices={kind.name: kind.value for kind in FactKind}
        ),
        "invoice_id": FilterField(FieldType.STRING, table.c.invoice_id),
        "subscription_id": FilterField(FieldType.STRING, table.c.subscription_id),
        "amount": FilterField(FieldType.NUMBER, table.c.amount),
        "state": FilterField(FieldType.STRING, table.c.state),
    },
    orders={"entry_time": table.c.occurred_at, "entry_id": table.c.entry_id},
    default_order="entry_time desc",
    tie_break="entry_id",
)


def encode(fact: BillingFact) -> EncodedFact:
    """Returns the fact as the feed keeps it."""
    body = {
        "account_id": fact.account_id,
        "resource_id": fact.resource_id,
        "from_state": fact.from_state,
        "to_state": fact.to_state,
        "amount": None if fact.amount is None else format_decimal(fact.amount.amount),
        "currency_code": None if fact.amount is None else fact.amount.currency_code,
        "occurred_at": fact.occurred_at.isoformat(),
    }
    return EncodedFact(fact.kind.value, json.dumps(body, separators=(",", ":")).encode())


def decode(encoded: EncodedFact) -> BillingFact:
    """Returns the fact of the feed's bytes."""
    body: dict[str, Any] = json.loads(encoded.payload)
    amount = body["amount"]
    return BillingFact(
        kind=FactKind(encoded.kind),
        account_id=body["account_id"],
        resource_id=body["resource_id"],
        from_state=body["from_state"],
        to_state=body["to_state"],
        amount=None if amount is None else Money(body["currency_code"], Decimal(amount)),
        occurred_at=datetime.fromisoformat(body["occurred_at"]),
    )


async def add_entry(tx: Transaction, tenant_id: str, fact: BillingFact) -> None:
    """Adds an entry to the account's time line, and moves what the account owes."""
    await tx.driver.execute(
        _ADD_ENTRY,
        tenant_id,
        new_id(),
        fact.account_id,
        fact.kind.value,
        fact.resource_id,
        fact.invoice_id,
        fact.subscription_id,
        fact.title,
        fact.balance_change,
        None if fact.amount is None else fact.amount.amount,
        fact.to_state,
        fact.occurred_at,
    )


async def set_state(tx: Transaction, tenant_id: str, fact: BillingFact) -> None:
    """Shows a resource's new state in its entries."""
    await tx.driver.execute(_SET_STATE, tenant_id, fact.kind.value, fact.resource_id, fact.to_state)


async def list_entries(
    tx: Transaction,
    page: PageRequest,
    tokens: PageTokens,
    *,
    account_id: str,
    start: datetime | None,
    end: datetime | None,
) -> Page[HistoryEntry]:
    """Returns a page of a tenant's time line. account_id: "" for all; start, end: None for open."""
    entries = select(table).where(table.c.tenant_id == page.tenant_id)
    if account_id:
        entries = entries.where(table.c.account_id == account_id)
    if start is not None:
        entries = entries.where(table.c.occurred_at >= start)
    if end is not None:
        entries = entries.where(table.c.occurred_at < end)
    found = await _HISTORY.page(tx, entries, page, tokens)
    return Page([_entry_of(row) for row in found.items], found.next_page_token)


def _entry_of(row: RowMapping) -> HistoryEntry:
    amount, currency_code = row["amount"], row["currency_code"]
    return HistoryEntry(
        entry_id=row["entry_id"],
        kind=FactKind(row["kind"]),
        resource_id=row["resource_id"],
        title=row["title"],
        amount=None if amount is None else Money(currency_code, amount),
        balance=Money(currency_code, row["balance"]),
        state=row["state"],
        occurred_at=row["occurred_at"],
    )
