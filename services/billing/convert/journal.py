"""History, summary and feed between contract and domain."""

from __future__ import annotations

from dataclasses import replace

from finops.billing.v1 import billing_model_pb2 as models
from finops.billing.v1 import billing_service_pb2 as messages
from finops.billing.v1 import run_messages_pb2

from services.billing.convert.subscriptions import from_subscription
from services.billing.convert.values import from_instant, from_money, from_period
from services.billing.domain.journal import BillingFact, FactKind, HistoryEntry
from services.billing.service.summary import BillingPage, Summary
from services.kernel.listing import page_request
from services.kernel.pagination import Page, PageRequest

_HISTORY = "finops.billing.v1.BillingService/ListBillingHistory"
# Refunds are payments to the feed's readers, and kinds of their own in the history.
_EVENT_NAMES = {kind: kind.name for kind in FactKind} | {FactKind.REFUND: "PAYMENT"}


def to_history_page(request: messages.ListBillingHistoryRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked, bound to everything else that is asked."""
    page = page_request(request, tenant_id=tenant_id, method=_HISTORY)
    arguments = {"account_id": request.account_id, "start": request.start, "end": request.end}
    return replace(page, arguments=arguments)


def from_history(page: Page[HistoryEntry]) -> messages.ListBillingHistoryResponse:
    """Converts a page."""
    return messages.ListBillingHistoryResponse(
        entries=map(_from_entry, page.items), next_page_token=page.next_page_token
    )


def _from_entry(entry: HistoryEntry) -> models.BillingHistoryEntry:
    return models.BillingHistoryEntry(
        entry_id=entry.entry_id,
        kind=models.BillingHistoryKind.Value(f"BILLING_HISTORY_KIND_{entry.kind.name}"),
        resource_id=entry.resource_id,
        title=entry.title,
        amount=None if entry.amount is None else from_money(entry.amount),
        balance=from_money(entry.balance),
        state=entry.state,
        entry_time=from_instant(entry.occurred_at),
    )


def from_summary(summary: Summary) -> models.BillingSummary:
    """Converts how a tenant stands."""
    subscription = summary.subscription
    return models.BillingSummary(
        tenant_id=summary.tenant_id,
        account_id=summary.account_id,
        subscription=None if subscription is None else from_subscription(subscription),
        period=None if subscription is None else from_period(subscription.period),
        accrued=from_money(summary.accrued),
        forecast=from_money(summary.forecast),
        open_total=from_money(summary.open_total),
        past_due_total=from_money(summary.past_due_total),
        open_invoice_count=summary.open_invoice_count,
        credit_balance=from_money(summary.credit_balance),
        committed_remaining=None
        if summary.committed_remaining is None
        else from_money(summary.committed_remaining),
        paid_year_total=from_money(summary.paid_year_total),
        last_invoice_id=summary.last_invoice_id,
        next_billing_time=from_instant(summary.next_billing_at),
        payment_method_ready=summary.payment_method_ready,
        as_of_sequence=summary.as_of_sequence,
    )


def from_billing_page(page: BillingPage) -> run_messages_pb2.WatchBillingResponse:
    """Converts one fact, or a heartbeat without any."""
    message = run_messages_pb2.WatchBillingResponse(sequence=page.sequence)
    for tenant_id, fact in page.facts:
        message.event.CopyFrom(_from_fact(tenant_id, fact))
    return message


def _from_fact(tenant_id: str, fact: BillingFact) -> models.BillingEvent:
    return models.BillingEvent(
        kind=models.BillingEventKind.Value(f"BILLING_EVENT_KIND_{_EVENT_NAMES[fact.kind]}"),
        tenant_id=tenant_id,
        account_id=fact.account_id,
        resource_id=fact.resource_id,
        from_state=fact.from_state,
        to_state=fact.to_state,
        amount=None if fact.amount is None else from_money(fact.amount),
        event_time=from_instant(fact.occurred_at),
    )
