"""Lists of authorizations, ledger entries, reconciliations and drifts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, func, literal, select

from services.budget.domain.ledger_entry import LedgerEntry, LedgerEntryKind
from services.budget.domain.spend import AuthorizationState, SpendAuthorization, SpendOutcome
from services.budget.store.authorizations import stored_of
from services.budget.tables.budgets import budget_period
from services.budget.tables.ledger import ledger_entry, spend_authorization
from services.kernel.database import Transaction
from services.kernel.filter import Comparator, FieldType, FilterField, FilterValue
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period

_a = spend_authorization.c
_e = ledger_entry.c


def _covers(comparator: Comparator, value: FilterValue) -> ColumnElement[bool] | None:
    if comparator not in (Comparator.EQUAL, Comparator.HAS) or not isinstance(value, str):
        return None
    return literal(value) == func.any(_a.budget_ids)


def _choices(kind: Any) -> Mapping[str, int]:
    return {each.name: int(each) for each in kind}


_AUTHORIZATIONS: Final = Listing(
    filters={
        **{
            name: FilterField(FieldType.STRING, _a[name])
            for name in ("user_id", "department_id", "resource_type", "resource_id", "request_id")
        },
        "state": FilterField(FieldType.CHOICE, _a.state, choices=_choices(AuthorizationState)),
        "outcome": FilterField(FieldType.CHOICE, _a.outcome, choices=_choices(SpendOutcome)),
        "budget_id": FilterField(FieldType.STRING, meaning=_covers),
        "create_time": FilterField(FieldType.TIMESTAMP, _a.created_at),
    },
    orders={
        # Ids rise with time, so that the newest page is read from the key.
        "create_time": _a.created_at,
        "expire_time": _a.expires_at,
        "authorization_id": _a.authorization_id,
    },
    default_order="create_time desc",
    tie_break="authorization_id",
)

_ENTRIES: Final = Listing(
    filters={
        "kind": FilterField(FieldType.CHOICE, _e.kind, choices=_choices(LedgerEntryKind)),
        "period_start_time": FilterField(FieldType.TIMESTAMP, _e.period_start),
        "authorization_id": FilterField(FieldType.STRING, _e.authorization_id),
        "usage_event_id": FilterField(FieldType.STRING, _e.usage_event_id),
        "create_time": FilterField(FieldType.TIMESTAMP, _e.created_at),
    },
    # Entries are numbered as they come, so the number is the order of their times.
    orders={"create_time": _e.entry_id},
    default_order="create_time desc",
    tie_break="create_time",
)


async def list_authorizations(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[SpendAuthorization]:
    """Returns a page of decisions."""
    statement = select(spend_authorization).where(_a.tenant_id == page.tenant_id)
    found = await _AUTHORIZATIONS.page(tx, statement, page, tokens)
    items = [stored_of(row).authorization for row in found.items]
    return Page(items, found.next_page_token)


async def list_entries(
    tx: Transaction, page: PageRequest, tokens: PageTokens, budget_id: str
) -> Page[LedgerEntry]:
    """Returns a page of what moved a budget's totals."""
    p = budget_period.c
    source = ledger_entry.join(
        budget_period,
        (p.tenant_id == _e.tenant_id)
        & (p.budget_id == _e.budget_id)
        & (p.period_start == _e.period_start),
    )
    statement = (
        select(ledger_entry, p.period_end)
        .select_from(source)
        .where(_e.tenant_id == page.tenant_id, _e.budget_id == budget_id)
    )
    found = await _ENTRIES.page(tx, statement, page, tokens)
    return Page([_entry(row) for row in found.items], found.next_page_token)


def _entry(row: Mapping[Any, Any]) -> LedgerEntry:
    return LedgerEntry(
        entry_id=row["entry_id"],
        budget_id=row["budget_id"],
        kind=LedgerEntryKind(row["kind"]),
        period=Period(row["period_start"], row["period_end"]),
        currency_code=row["currency_code"],
        spent_change=row["spent_change"],
        held_change=row["held_change"],
        source_currency=row["source_currency"],
        source_amount=row["source_amount"],
        rate=row["rate"],
        rate_date=row["rate_date"],
        authorization_id=row["authorization_id"],
        usage_event_id=row["usage_event_id"],
        feed_sequence=row["feed_sequence"],
        created_at=row["created_at"],
    )
