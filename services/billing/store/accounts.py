"""Billing accounts and automated billing as rows. Particulars are sealed bytes here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, select, update
from sqlalchemy.dialects.postgresql import insert

from services.billing.domain.account import (
    AccountState,
    Address,
    AutomatedBilling,
    BillingAccount,
    CollectionMethod,
    Dunning,
    DunningEnd,
    Particulars,
    TaxId,
    TaxMode,
)
from services.billing.domain.rounding import RoundingMode
from services.billing.tables.accounts import account as table
from services.billing.tables.accounts import automated_billing as automated_table
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens

_ACCOUNTS = Listing(
    filters={
        **{
            name: FilterField(FieldType.STRING, table.c[name])
            for name in ("account_id", "display_name", "department_id", "currency_code")
        },
        "state": FilterField(
            FieldType.CHOICE,
            table.c.state,
            choices={each.name: each.value for each in AccountState},
        ),
    },
    orders={
        "display_name": table.c.display_name,
        "create_time": table.c.created_at,
        "account_id": table.c.account_id,
    },
    default_order="display_name",
    tie_break="account_id",
)


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account and its sealed particulars; None where it has none."""

    account: BillingAccount
    sealed: bytes | None


async def add_account(tx: Transaction, account: BillingAccount, sealed: bytes | None) -> bool:
    """Adds an account; False where its tenant or department has one that runs."""
    statement = insert(table).values(**_row(account), particulars=sealed, open_balance=0)
    added = statement.on_conflict_do_nothing().returning(table.c.account_id)
    return await tx.scalar(added) is not None


async def find_account(
    tx: Transaction, tenant_id: str, account_id: str = "", *, is_locked: bool = False
) -> StoredAccount | None:
    """Returns an account, default the tenant's own that runs; None where there is none."""
    statement = select(table).where(table.c.tenant_id == tenant_id)
    if account_id:
        statement = statement.where(table.c.account_id == account_id)
    else:
        is_own = (table.c.department_id == "") & (table.c.state == AccountState.ACTIVE.value)
        statement = statement.where(is_own)
    if is_locked:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().one_or_none()
    return None if row is None else _account_of(row)


async def without_account(tx: Transaction, tenant_ids: Sequence[str]) -> list[str]:
    """Returns which of these tenants have no account at all, for the worker's role."""
    found = await tx.driver.fetch(
        "SELECT DISTINCT tenant_id FROM billing.account WHERE tenant_id = ANY ($1::text[])",
        list(tenant_ids),
    )
    return sorted(set(tenant_ids) - {row["tenant_id"] for row in found})


async def list_accounts(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[StoredAccount]:
    """Returns a page of a tenant's accounts."""
    accounts = select(table).where(table.c.tenant_id == page.tenant_id)
    found = await _ACCOUNTS.page(tx, accounts, page, tokens)
    return Page([_account_of(row) for row in found.items], found.next_page_token)


async def update_account(tx: Transaction, account: BillingAccount, sealed: bytes | None) -> None:
    """Stores a changed account; its balance is the journal's alone."""
    await tx.execute(
        update(table)
        .where(table.c.tenant_id == account.tenant_id, table.c.account_id == account.account_id)
        .values(**_row(account), particulars=sealed)
    )


async def find_automated(tx: Transaction, tenant_id: str, account_id: str) -> AutomatedBilling:
    """Returns when an account is billed by itself: never, while nobody has set it."""
    found = await tx.execute(
        select(automated_table).where(
            automated_table.c.tenant_id == tenant_id, automated_table.c.account_id == account_id
        )
    )
    row = found.mappings().one_or_none()
    if row is None:
        return AutomatedBilling(account_id=account_id)
    return AutomatedBilling(**{name: value for name, value in row.items() if name != "tenant_id"})


async def set_automated(
    tx: Transaction, tenant_id: str, automated: AutomatedBilling, at: datetime
) -> AutomatedBilling:
    """Stores when an account is billed by itself, and returns it with its new revision."""
    values = {
        "enabled": automated.enabled,
        "billing_day": automated.billing_day,
        "include_usage": automated.include_usage,
        "auto_payment": automated.auto_payment,
        "send_notifications": automated.send_notifications,
        "grace_hours": automated.grace_hours,
        "updated_at": at,
    }
    statement = insert(automated_table).values(
        tenant_id=tenant_id, account_id=automated.account_id, revision=1, **values
    )
    key = [automated_table.c.tenant_id, automated_table.c.account_id]
    changed = {**values, "revision": automated_table.c.revision + 1}
    await tx.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))
    return await find_automated(tx, tenant_id, automated.account_id)


def particulars_bytes(particulars: Particulars) -> bytes:
    """Returns what is sealed."""
    address = particulars.address
    return json.dumps(
        {
            "legal_name": particulars.legal_name,
            "address": None
            if address is None
            else {name: getattr(address, name) for name in Address.__slots__},
            "tax_ids": [[tax_id.kind, tax_id.value] for tax_id in particulars.tax_ids],
            "contact_emails": list(particulars.contact_emails),
            "bank_details": particulars.bank_details,
        }
    ).encode()


def particulars_of(content: bytes) -> Particulars:
    """Returns the particulars of what was sealed."""
    body: dict[str, Any] = json.loads(content)
    return Particulars(
        legal_name=body["legal_name"],
        address=None if body["address"] is None else Address(**body["address"]),
        tax_ids=tuple(TaxId(kind, value) for kind, value in body["tax_ids"]),
        contact_emails=tuple(body["contact_emails"]),
        bank_details=body["bank_details"],
    )


def _row(account: BillingAccount) -> dict[str, Any]:
    return {
        "tenant_id": account.tenant_id,
        "account_id": account.account_id,
        "display_name": account.display_name,
        "department_id": account.department_id,
        "currency_code": account.currency_code,
        "time_zone": account.time_zone,
        "locale": account.locale,
        "collection_method": account.collection_method.value,
        "payment_terms_days": account.payment_terms_days,
        "rounding_mode": account.rounding_mode.value,
        "tax_mode": account.tax_mode.value,
        "dunning": {
            "attempt_days": list(account.dunning.attempt_days),
            "end_action": account.dunning.end_action.value,
            "grace_days": account.dunning.grace_days,
        },
        "credit_approval_limit": account.credit_approval_limit,
        "state": account.state.value,
        "revision": account.revision,
        "created_at": account.created_at,
        "updated_at": account.updated_at,
    }


def _account_of(row: RowMapping) -> StoredAccount:
    dunning = row["dunning"]
    account = BillingAccount(
        tenant_id=row["tenant_id"],
        account_id=row["account_id"],
        display_name=row["display_name"],
        department_id=row["department_id"],
        currency_code=row["currency_code"],
        time_zone=row["time_zone"],
        locale=row["locale"],
        collection_method=CollectionMethod(row["collection_method"]),
        payment_terms_days=row["payment_terms_days"],
        rounding_mode=RoundingMode(row["rounding_mode"]),
        tax_mode=TaxMode(row["tax_mode"]),
        dunning=Dunning(
            tuple(dunning["attempt_days"]), DunningEnd(dunning["end_action"]), dunning["grace_days"]
        ),
        credit_approval_limit=row["credit_approval_limit"],
        state=AccountState(row["state"]),
        open_balance=row["open_balance"],
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
    return StoredAccount(account, row["particulars"])


async def find_department_account(
    tx: Transaction, tenant_id: str, department_id: str
) -> str | None:
    """Returns the id of a department's own running account, None where it has none."""
    statement = select(table.c.account_id).where(
        table.c.tenant_id == tenant_id,
        table.c.department_id == department_id,
        table.c.state == AccountState.ACTIVE.value,
    )
    return await tx.scalar(statement)
