"""Prepaid credit between contract and domain."""

from __future__ import annotations

from datetime import datetime

from finops.billing.v1 import account_service_pb2 as messages
from finops.billing.v1 import credit_model_pb2 as models

from services.billing.convert.values import (
    from_amount,
    from_instant,
    from_money,
    to_instant,
    to_money,
)
from services.billing.domain.credit import CreditGrant, CreditTransaction
from services.kernel.pagination import Page


def to_grant(message: models.CreditGrant, now: datetime) -> CreditGrant:
    """Converts new credit. Raises InvalidCreditGrant, UnknownCurrency."""
    money = to_money(message.amount)
    return CreditGrant(
        credit_grant_id="",
        account_id=message.account_id,
        currency_code=money.currency_code,
        amount=money.amount,
        remaining=money.amount,
        display_name=message.display_name,
        priority=message.priority,
        start_at=to_instant(message.start_time) if message.HasField("start_time") else now,
        expire_at=to_instant(message.expire_time) if message.HasField("expire_time") else None,
        paid=message.paid,
        charge_ids=tuple(message.charge_ids),
        created_at=now,
    )


def from_grant(grant: CreditGrant, now: datetime) -> models.CreditGrant:
    """Converts stored credit. now: the instant of its state."""
    return models.CreditGrant(
        credit_grant_id=grant.credit_grant_id,
        account_id=grant.account_id,
        amount=from_amount(grant.currency_code, grant.amount),
        display_name=grant.display_name,
        priority=grant.priority,
        start_time=from_instant(grant.start_at),
        expire_time=from_instant(grant.expire_at),
        paid=grant.paid,
        charge_ids=grant.charge_ids,
        remaining=from_amount(grant.currency_code, grant.remaining),
        state=models.CreditGrantState.Value(f"CREDIT_GRANT_STATE_{grant.state(now).name}"),
        create_time=from_instant(grant.created_at),
    )


def from_grants(page: Page[CreditGrant], now: datetime) -> messages.ListCreditGrantsResponse:
    """Converts a page."""
    return messages.ListCreditGrantsResponse(
        credit_grants=[from_grant(grant, now) for grant in page.items],
        next_page_token=page.next_page_token,
    )


def from_transactions(
    page: Page[CreditTransaction],
) -> messages.ListCreditTransactionsResponse:
    """Converts a page."""
    return messages.ListCreditTransactionsResponse(
        transactions=[
            models.CreditTransaction(
                transaction_id=move.transaction_id,
                account_id=move.account_id,
                credit_grant_id=move.credit_grant_id,
                kind=models.CreditTransactionKind.Value(
                    f"CREDIT_TRANSACTION_KIND_{move.kind.name}"
                ),
                amount=from_money(move.amount),
                balance=from_money(move.balance),
                invoice_id=move.invoice_id,
                create_time=from_instant(move.created_at),
            )
            for move in page.items
        ],
        next_page_token=page.next_page_token,
    )
