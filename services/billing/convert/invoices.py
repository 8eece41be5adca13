"""Invoices between contract and domain."""

from __future__ import annotations

from collections.abc import Sequence

from finops.billing.v1 import invoice_line_model_pb2 as line_model
from finops.billing.v1 import invoice_messages_pb2 as messages
from finops.billing.v1 import invoice_model_pb2 as model
from finops.billing.v1 import invoice_service_pb2 as service_messages

from services.billing.convert.values import (
    from_amount,
    from_decimal,
    from_instant,
    from_period,
    to_period,
)
from services.billing.domain.invoice_record import (
    ExchangeRate,
    Invoice,
    InvoiceEvent,
    InvoiceLine,
    InvoiceTax,
    LineTier,
)
from services.billing.domain.invoice_state import InvoiceState
from services.billing.service.invoicing import Wanted
from services.billing.service.tracing import TracedUsage
from services.billing.service.whereabouts import Whereabouts
from services.kernel.listing import ListRequest, page_request
from services.kernel.money import format_decimal
from services.kernel.pagination import Page, PageRequest

_SERVICE = "finops.billing.v1.InvoiceService"


def to_wanted(request: messages.GenerateInvoiceRequest, tenant_id: str) -> Wanted:
    """Converts which invoice to make."""
    return Wanted(
        tenant_id=tenant_id,
        account_id=request.account_id,
        month=request.month,
        period=to_period(request.period) if request.HasField("period") else None,
        finalize=request.finalize,
    )


def to_previewed(request: messages.PreviewInvoiceRequest, tenant_id: str) -> Wanted:
    """Converts which invoice to preview."""
    return Wanted(tenant_id=tenant_id, account_id=request.account_id, month=request.month)


def to_page(
    request: ListRequest, tenant_id: str, method: str, *, service: str = _SERVICE
) -> PageRequest:
    """Converts which page is asked for. method: the RPC's own name."""
    return page_request(request, tenant_id=tenant_id, method=f"{service}/{method}")


def from_found(
    found: Sequence[tuple[Invoice, InvoiceLine]], where: Whereabouts
) -> service_messages.FindInvoiceLinesResponse:
    """Converts where a usage event is billed."""
    answer = service_messages.FindInvoiceLinesResponse(
        lines=[from_line(line, invoice) for invoice, line in found],
        pending=where.pending,
        explanation=where.explanation,
    )
    if where.metered is not None:
        answer.metered.CopyFrom(
            service_messages.MeteredUsage(
                subscription_id=where.metered.subscription_id,
                charge_id=where.metered.charge_id,
                route_id=where.metered.route_id,
                event_name=where.metered.event_name,
                provider_subscription_id=where.metered.provider_subscription_id,
                provider_invoice_ids=where.metered.provider_invoice_ids,
            )
        )
    return answer


def from_invoice(invoice: Invoice) -> model.Invoice:
    """Converts an invoice."""
    code = invoice.currency_code
    return model.Invoice(
        invoice_id=invoice.invoice_id,
        tenant_id=invoice.tenant_id,
        account_id=invoice.account_id,
        department_id=invoice.department_id,
        subscription_id=invoice.subscription_id,
        number=invoice.number,
        kind=model.InvoiceKind.Value(f"INVOICE_KIND_{invoice.kind.name}"),
        state=from_state(invoice.state),
        period=from_period(invoice.period),
        currency_code=code,
        subtotal=from_amount(code, invoice.subtotal),
        discount_total=from_amount(code, invoice.discount_total),
        credit_total=from_amount(code, invoice.credit_total),
        taxes=[_from_tax(code, tax) for tax in invoice.taxes],
        tax_total=from_amount(code, invoice.tax_total),
        total=from_amount(code, invoice.total),
        amount_paid=from_amount(code, invoice.amount_paid),
        amount_credited=from_amount(code, invoice.amount_credited),
        amount_due=from_amount(code, invoice.amount_due),
        exchange_rates=[_from_rate(rate) for rate in invoice.exchange_rates],
        line_count=invoice.line_count,
        unpriced_event_count=invoice.unpriced_events,
        plan_id=invoice.plan_id,
        plan_version=invoice.plan_version,
        provider_invoice_id=invoice.provider_invoice_id,
        hosted_url=invoice.hosted_url,
        block_reason=invoice.block_reason,
        void_reason=invoice.void_reason,
        attempt_count=invoice.attempt_count,
        next_attempt_time=from_instant(invoice.next_attempt_at),
        preview=invoice.is_preview,
        content_hash=invoice.content_hash,
        create_time=from_instant(invoice.created_at),
        grace_end_time=from_instant(invoice.grace_end_at),
        issue_time=from_instant(invoice.issued_at),
        due_time=from_instant(invoice.due_at),
        pay_time=from_instant(invoice.paid_at),
        etag="" if invoice.is_preview else str(invoice.revision),
    )


def from_invoices(page: Page[Invoice]) -> messages.ListInvoicesResponse:
    """Converts a page of invoices."""
    return messages.ListInvoicesResponse(
        invoices=[from_invoice(invoice) for invoice in page.items],
        next_page_token=page.next_page_token,
    )


def from_state(state: InvoiceState | None) -> model.InvoiceState.ValueType:
    """Converts a state; None is unspecified."""
    name = "UNSPECIFIED" if state is None else state.name
    return model.InvoiceState.Value(f"INVOICE_STATE_{name}")


def from_lines(
    page: Page[InvoiceLine], invoice: Invoice
) -> service_messages.ListInvoiceLinesResponse:
    """Converts a page of an invoice's lines."""
    return service_messages.ListInvoiceLinesResponse(
        lines=[from_line(line, invoice) for line in page.items],
        next_page_token=page.next_page_token,
    )


def from_line(line: InvoiceLine, invoice: Invoice) -> line_model.InvoiceLine:
    """Converts a line of an invoice."""
    code = invoice.currency_code
    return line_model.InvoiceLine(
        line_id=line.line_id,
        invoice_id=invoice.invoice_id,
        position=line.position,
        kind=line_model.InvoiceLineKind.Value(f"INVOICE_LINE_KIND_{line.kind.upper()}"),
        description=line.description,
        period=from_period(line.period),
        charge_id=line.charge_id,
        department_id=line.department_id,
        project=line.project,
        resource_type=line.resource_type,
        quantity=from_decimal(line.quantity),
        included_quantity=from_decimal(line.included_quantity),
        unit=line.unit,
        tiers=[_from_tier(code, tier) for tier in line.tiers],
        unit_price=None if line.unit_price is None else from_amount(code, line.unit_price),
        source_amount=(
            None
            if line.source_amount is None
            else from_amount(line.source_currency, line.source_amount)
        ),
        exact_amount=from_amount(code, line.exact_amount),
        amount=from_amount(code, line.amount),
        tax_amount=from_amount(code, line.tax_amount),
        tax_rate_id=line.tax_rate_id,
        proration_of=line.proration_of,
        route=line.route,
        event_count=line.events,
        creditable=from_amount(code, line.creditable),
    )


def from_events(page: Page[InvoiceEvent]) -> service_messages.ListInvoiceEventsResponse:
    """Converts a page of what happened to an invoice."""
    return service_messages.ListInvoiceEventsResponse(
        events=[
            model.InvoiceEvent(
                event_id=event.event_id,
                kind=event.kind,
                from_state=from_state(event.from_state),
                to_state=from_state(event.to_state),
                actor=event.actor,
                description=event.description,
                operation_key=event.operation_key,
                event_time=from_instant(event.occurred_at),
            )
            for event in page.items
        ],
        next_page_token=page.next_page_token,
    )


def from_traced(
    page: Page[TracedUsage], currency_code: str
) -> service_messages.ListInvoiceLineUsageResponse:
    """Converts a page of the usage events behind a line."""
    return service_messages.ListInvoiceLineUsageResponse(
        usage=[
            line_model.InvoiceLineUsage(
                usage_source=event.source,
                usage_event_id=event.event_id,
                start_time=from_instant(event.start_at),
                user_id=event.user_id,
                resource_id=event.resource_id,
                quantity=format_decimal(event.quantity),
                exact_amount=from_amount(currency_code, event.amount),
            )
            for event in page.items
        ],
        next_page_token=page.next_page_token,
    )


def _from_tax(currency_code: str, tax: InvoiceTax) -> model.TaxTotal:
    return model.TaxTotal(
        tax_rate_id=tax.tax_rate_id,
        display_name=tax.display_name,
        rate_ratio=format_decimal(tax.rate_ratio),
        taxable=from_amount(currency_code, tax.taxable),
        amount=from_amount(currency_code, tax.amount),
        reverse_charge=tax.reverse_charge,
    )


def _from_rate(rate: ExchangeRate) -> model.InvoiceExchangeRate:
    return model.InvoiceExchangeRate(
        from_currency=rate.from_currency,
        to_currency=rate.to_currency,
        rate=format_decimal(rate.rate),
        rate_date=rate.rate_date.isoformat(),
        source=rate.source,
    )


def _from_tier(currency_code: str, tier: LineTier) -> line_model.InvoiceLineTier:
    return line_model.InvoiceLineTier(
        from_quantity=format_decimal(tier.from_quantity),
        quantity=format_decimal(tier.quantity),
        unit_price=from_amount(currency_code, tier.unit_price),
        flat_price=from_amount(currency_code, tier.flat_price) if tier.flat_price else None,
        amount=from_amount(currency_code, tier.amount),
    )
