"""Prepaid credit and its movements. Whoever moves an account's credit has locked the account."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from sqlalchemy import RowMapping, case, func, select, update
from sqlalchemy.dialects.postgresql import insert

from services.billing.domain.credit import CreditGrant, CreditKind, CreditTransaction, GrantState
from services.billing.tables.credits import credit_grant as table
from services.billing.tables.credits import credit_transaction as transaction_table
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.ids import new_id
from services.kernel.listing import Listing
from services.kernel.money import Money
from services.kernel.pagination import Page, PageRequest, PageTokens

_EXPIRE = func.coalesce(table.c.expire_at, func.to_timestamp(253402300799)).label("expire_key")
_COLUMNS = (
    "credit_grant_id",
    "account_id",
    "currency_code",
    "amount",
    "remaining",
    "display_name",
    "priority",
    "start_at",
    "expire_at",
    "paid",
    "voided_at",
    "created_at",
)


def _grants(at: datetime) -> Listing:
    state = case(
        (table.c.voided_at.is_not(None), GrantState.VOID.value),
        (table.c.remaining == 0, GrantState.USED.value),
        (table.c.expire_at <= at, GrantState.EXPIRED.value),
        (table.c.start_at > at, GrantState.SCHEDULED.value),
        else_=GrantState.ACTIVE.value,
    )
    return Listing(
        filters={
            "account_id": FilterField(FieldType.STRING, table.c.account_id),
            "state": FilterField(
                FieldType.CHOICE, state, choices={each.name: each.value for each in GrantState}
            ),
            "priority": FilterField(FieldType.INTEGER, table.c.priority),
            "expire_time": FilterField(FieldType.TIMESTAMP, table.c.expire_at),
        },
        orders={
            "priority": table.c.priority,
            "expire_time": _EXPIRE,
            "credit_grant_id": table.c.credit_grant_id,
        },
        default_order="priority,expire_time",
        tie_break="credit_grant_id",
    )


_TRANSACTIONS = Listing(
    filters={
        **{
            name: FilterField(FieldType.STRING, transaction_table.c[name])
            for name in ("account_id", "credit_grant_id", "invoice_id")
        },
        "kind": FilterField(
            FieldType.CHOICE,
            transaction_table.c.kind,
            choices={each.name: each.value for each in CreditKind},
        ),
        "create_time": FilterField(FieldType.TIMESTAMP, transaction_table.c.created_at),
    },
    orders={
        "create_time": transaction_table.c.created_at,
        "transaction_id": transaction_table.c.transaction_id,
    },
    default_order="create_time desc",
    tie_break="transaction_id",
)


async def add_grant(tx: Transaction, tenant_id: str, grant: CreditGrant) -> None:
    """Adds a grant."""
    values = {name: getattr(grant, name) for name in _COLUMNS}
    await tx.execute(
        insert(table).values(tenant_id=tenant_id, charge_ids=list(grant.charge_ids), **values)
    )


async def find_grant(tx: Transaction, tenant_id: str, grant_id: str) -> CreditGrant | None:
    """Returns a grant and locks it; None where there is none."""
    found = await tx.execute(
        select(table)
        .where(table.c.tenant_id == tenant_id, table.c.credit_grant_id == grant_id)
        .with_for_update()
    )
    row = found.mappings().one_or_none()
    return None if row is None else _grant_of(row)


async def account_grants(tx: Transaction, tenant_id: str, account_id: str) -> list[CreditGrant]:
    """Returns the grants of an account that something is left of."""
    found = await tx.execute(
        select(table).where(
            table.c.tenant_id == tenant_id,
            table.c.account_id == account_id,
            table.c.remaining > 0,
            table.c.voided_at.is_(None),
        )
    )
    return [_grant_of(row) for row in found.mappings()]


async def list_grants(
    tx: Transaction, page: PageRequest, tokens: PageTokens, *, at: datetime
) -> Page[CreditGrant]:
    """Returns a page of a tenant's grants. at: the instant of their states."""
    grants = select(table, _EXPIRE).where(table.c.tenant_id == page.tenant_id)
    found = await _grants(at).page(tx, grants, page, tokens)
    return Page([_grant_of(row) for row in found.items], found.next_page_token)


async def set_remaining(
    tx: Transaction, tenant_id: str, grant_id: str, values: Mapping[str, object]
) -> None:
    """Stores what is left of a grant, and how it ended."""
    await tx.execute(
        update(table)
        .where(table.c.tenant_id == tenant_id, table.c.credit_grant_id == grant_id)
        .values(**values)
    )


async def credit_balance(tx: Transaction, tenant_id: str, account_id: str) -> Decimal:
    """Returns the account's credit: what is left of all grants that have neither lapsed nor ended.

    Credit that begins later counts, because it is the account's already.
    """
    total = select(func.coalesce(func.sum(table.c.remaining), 0)).where(
        table.c.tenant_id == tenant_id,
        table.c.account_id == account_id,
        table.c.voided_at.is_(None),
        table.c.expired_at.is_(None),
    )
    return await tx.scalar(total) or Decimal(0)


async def add_transaction(
    tx: Transaction,
    tenant_id: str,
    grant: CreditGrant,
    kind: CreditKind,
    amount: Decimal,
    *,
    at: datetime,
    invoice_id: str = "",
) -> None:
    """Adds a movement, after the grant was changed, with the balance that it leaves."""
    await tx.execute(
        insert(transaction_table).values(
            tenant_id=tenant_id,
            transaction_id=new_id(),
            account_id=grant.account_id,
            credit_grant_id=grant.credit_grant_id,
            kind=kind.value,
            currency_code=grant.currency_code,
            amount=amount,
            balance=await credit_balance(tx, tenant_id, grant.account_id),
            invoice_id=invoice_id,
            created_at=at,
        )
    )


async def list_transactions(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[CreditTransaction]:
    """Returns a page of a tenant's movements."""
    moves = select(transaction_table).where(transaction_table.c.tenant_id == page.tenant_id)
    found = await _TRANSACTIONS.page(tx, moves, page, tokens)
    return Page([_transaction_of(row) for row in found.items], found.next_page_token)


async def uses_of_invoice(
    tx: Transaction, tenant_id: str, invoice_id: str
) -> list[tuple[str, Decimal]]:
    """Returns each grant that an invoice used, and how much net of what was given back."""
    moved = (
        select(transaction_table.c.credit_grant_id, func.sum(-transaction_table.c.amount))
        .where(
            transaction_table.c.tenant_id == tenant_id,
            transaction_table.c.invoice_id == invoice_id,
            transaction_table.c.kind.in_([CreditKind.USE.value, CreditKind.RETURN.value]),
        )
        .group_by(transaction_table.c.credit_grant_id)
        .order_by(transaction_table.c.credit_grant_id)
    )
    return [(grant_id, used) for grant_id, used in (await tx.execute(moved)).all()]


async def lapsed_grants(tx: Transaction, at: datetime, limit: int) -> list[tuple[str, CreditGrant]]:
    """Returns grants of all tenants that lapsed with something left, and whose they are."""
    found = await tx.execute(
        select(table)
        .where(
            table.c.expire_at <= at,
            table.c.remaining > 0,
            table.c.voided_at.is_(None),
            table.c.expired_at.is_(None),
        )
        .order_by(table.c.expire_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [(row["tenant_id"], _grant_of(row)) for row in found.mappings()]


def _grant_of(row: RowMapping) -> CreditGrant:
    values = {name: row[name] for name in _COLUMNS}
    return CreditGrant(charge_ids=tuple(row["charge_ids"]), **values)


def _transaction_of(row: RowMapping) -> CreditTransaction:
    return CreditTransaction(
        transaction_id=row["transaction_id"],
        account_id=row["account_id"],
        credit_grant_id=row["credit_grant_id"],
        kind=CreditKind(row["kind"]),
        amount=Money(row["currency_code"], row["amount"]),
        balance=Money(row["currency_code"], row["balance"]),
        created_at=row["created_at"],
        invoice_id=row["invoice_id"],
    )
