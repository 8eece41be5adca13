"""Invoices as callers meet them: the whole service, a real usage service beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from finops.billing.v1 import (
    account_model_pb2,
    account_service_pb2,
    account_service_pb2_grpc,
    billing_service_pb2_grpc,
    credit_note_model_pb2,
    credit_note_service_pb2,
    credit_note_service_pb2_grpc,
    invoice_line_model_pb2,
    invoice_messages_pb2,
    invoice_model_pb2,
    invoice_service_pb2,
    invoice_service_pb2_grpc,
    subscription_messages_pb2,
    subscription_model_pb2,
)
from finops.common.v1.money_pb2 import Money
from finops.usage.v1 import usage_model_pb2, usage_service_pb2, usage_service_pb2_grpc

from services.billing.convert.cost_changes import cost_changes
from services.billing.service.metering import Metering
from services.kernel.client import PeerChannel
from services.kernel.database import Database
from tests.billing.conftest import Billing, nothing_is_lost
from tests.billing.invoicing_stage import per_unit, stage_of
from tests.support.server import LocalServer, refused, service_token_of

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


async def record(channel: grpc.aio.Channel, at: datetime, quantity: int, event_id: str) -> None:
    """Records usage of tokens."""
    stub: Any = usage_service_pb2_grpc.UsageServiceStub(channel)
    event = usage_model_pb2.UsageEvent(
        event_id=event_id,
        source="gateway",
        resource_type="llm",
        resource_id="gpt-5",
        quantity=str(quantity),
        unit="token",
        user_id="ada",
        tags={"env": "prod"},
        cost=usage_model_pb2.UsageCost(currency_code="USD", billed="0.5"),
    )
    event.start_time.FromDatetime(at)
    answer = await stub.RecordUsage(usage_service_pb2.RecordUsageRequest(events=[event]))
    assert list(answer.statuses) == [usage_model_pb2.RECORD_STATUS_ACCEPTED]


async def meter(database: Database, usage_server: LocalServer, tenant: str) -> None:
    """Follows the real feed until the tenant's usage has come."""
    channel = usage_server.channel_with(service_token_of("billing", tenant=""))
    metering = Metering(database, cost_changes(channel), nothing_is_lost)
    after = await metering.consumer.position()
    async for page in cost_changes(channel)(after):
        await metering.consumer.consume(page, after=after)
        after = page.position
        if any(item.tenant_id == tenant for item in page.items):
            break


@pytest.fixture
async def subscribed(
    billing: Billing, billing_database: Database, usage_channel: PeerChannel
) -> Billing:
    """A tenant with an account, a plan and a subscription since February, seen in March."""
    now = billing.clock.now()
    billing.clock.advance(FEBRUARY - now)
    stage = stage_of(billing_database, billing.clock, billing.tenant)
    accounts: Any = account_service_pb2_grpc.AccountServiceStub(billing.channel())
    await accounts.CreateBillingAccount(
        account_service_pb2.CreateBillingAccountRequest(
            account=account_model_pb2.BillingAccount(
                display_name="Acme",
                currency_code="USD",
                contact_emails=["bills@acme.example"],
                collection_method=account_model_pb2.COLLECTION_METHOD_SEND_INVOICE,
            )
        )
    )
    plan_id = await stage.plan(per_unit("0.01"))
    stub: Any = billing_service_pb2_grpc.BillingServiceStub(billing.channel())
    await stub.CreateSubscription(
        subscription_messages_pb2.CreateSubscriptionRequest(
            subscription=subscription_model_pb2.Subscription(plan_id=plan_id)
        )
    )
    await record(usage_channel, FEBRUARY + timedelta(days=2, minutes=5), 1000, "one")
    await record(usage_channel, FEBRUARY + timedelta(days=3), 500, "two")
    billing.clock.advance(now - FEBRUARY)
    return billing


async def generated(billing: Billing, *, finalize: bool = True) -> invoice_model_pb2.Invoice:
    stub: Any = billing_service_pb2_grpc.BillingServiceStub(billing.seller())
    answer = await stub.GenerateInvoice(
        invoice_messages_pb2.GenerateInvoiceRequest(
            tenant_id=billing.tenant, month="2026-02", finalize=finalize
        )
    )
    invoice: invoice_model_pb2.Invoice = answer.invoice
    return invoice


async def test_usage_of_the_feed_is_invoiced_and_traced_both_ways(
    subscribed: Billing, billing_database: Database, usage_server: LocalServer
) -> None:
    await meter(billing_database, usage_server, subscribed.tenant)
    invoice = await generated(subscribed)
    stub: Any = invoice_service_pb2_grpc.InvoiceServiceStub(subscribed.channel())

    lines = await stub.ListInvoiceLines(
        invoice_service_pb2.ListInvoiceLinesRequest(invoice_id=invoice.invoice_id)
    )
    [line] = lines.lines
    down = await stub.ListInvoiceLineUsage(
        invoice_service_pb2.ListInvoiceLineUsageRequest(
            invoice_id=invoice.invoice_id, line_id=line.line_id
        )
    )
    up = await stub.FindInvoiceLines(
        invoice_service_pb2.FindInvoiceLinesRequest(usage_source="gateway", usage_event_id="two")
    )

    assert invoice.total == Money(currency_code="USD", amount="15")
    assert line.kind == invoice_line_model_pb2.INVOICE_LINE_KIND_USAGE
    assert [(event.usage_event_id, event.exact_amount.amount) for event in down.usage] == [
        ("one", "10"),
        ("two", "5"),
    ]
    assert [found.line_id for found in up.lines] == [line.line_id]
    assert not up.pending


async def test_an_invoice_has_a_pdf_a_csv_and_a_history(
    subscribed: Billing, billing_database: Database, usage_server: LocalServer
) -> None:
    await meter(billing_database, usage_server, subscribed.tenant)
    invoice = await generated(subscribed)
    stub: Any = invoice_service_pb2_grpc.InvoiceServiceStub(subscribed.channel())
    billing: Any = billing_service_pb2_grpc.BillingServiceStub(subscribed.channel())

    pdf = await billing.GetInvoicePdf(
        invoice_messages_pb2.GetInvoicePdfRequest(invoice_id=invoice.invoice_id, locale="de-CH")
    )
    chunks = stub.GetInvoiceCsv(
        invoice_service_pb2.GetInvoiceCsvRequest(invoice_id=invoice.invoice_id)
    )
    csv = b"".join([chunk.data async for chunk in chunks]).decode()
    events = await stub.ListInvoiceEvents(
        invoice_service_pb2.ListInvoiceEventsRequest(invoice_id=invoice.invoice_id)
    )

    assert pdf.data.startswith(b"%PDF")
    assert csv.splitlines()[1].startswith(f"{invoice.number},1,usage,Tokens,")
    assert [event.to_state for event in events.events] == [
        invoice_model_pb2.INVOICE_STATE_DRAFT,
        invoice_model_pb2.INVOICE_STATE_RATED,
        invoice_model_pb2.INVOICE_STATE_LOCKED,
    ]


async def test_a_preview_is_what_the_invoice_will_be_and_stores_nothing(
    subscribed: Billing, billing_database: Database, usage_server: LocalServer
) -> None:
    await meter(billing_database, usage_server, subscribed.tenant)
    stub: Any = billing_service_pb2_grpc.BillingServiceStub(subscribed.channel())

    preview = await stub.PreviewInvoice(invoice_messages_pb2.PreviewInvoiceRequest(month="2026-02"))
    listed = await stub.ListInvoices(invoice_messages_pb2.ListInvoicesRequest())
    invoice = await generated(subscribed)

    assert preview.invoice.preview
    assert preview.invoice.total == invoice.total
    assert not listed.invoices


async def test_a_credit_note_needs_an_issued_invoice(subscribed: Billing) -> None:
    invoice = await generated(subscribed, finalize=False)
    stub: Any = credit_note_service_pb2_grpc.CreditNoteServiceStub(subscribed.channel())

    refusal = await refused(
        stub.PreviewCreditNote(
            credit_note_service_pb2.PreviewCreditNoteRequest(
                credit_note=credit_note_model_pb2.CreditNote(
                    invoice_id=invoice.invoice_id, reason="wrong"
                )
            )
        )
    )

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "INVOICE_STATE_FORBIDS"


async def test_an_unknown_invoice_is_not_found(subscribed: Billing) -> None:
    stub: Any = billing_service_pb2_grpc.BillingServiceStub(subscribed.channel())

    refusal = await refused(
        stub.GetInvoice(invoice_messages_pb2.GetInvoiceRequest(invoice_id="nobody"))
    )

    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == "INVOICE_NOT_FOUND"
    assert refusal.metadata == {"invoice_id": "nobody"}
