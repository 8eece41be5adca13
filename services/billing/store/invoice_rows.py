"""Invoices and what they consist of, between rows and domain."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping

from services.billing.domain.invoice_record import (
    ExchangeRate,
    Invoice,
    InvoiceEvent,
    InvoiceLine,
    InvoiceTax,
    LineTier,
)
from services.billing.domain.invoice_state import InvoiceKind, InvoiceState
from services.kernel.money import format_decimal
from services.kernel.period import Period

_PLAIN = frozenset({"kind", "state", "period", "taxes", "exchange_rates", "is_preview", "tiers"})
_INVOICE_FIELDS = tuple(each.name for each in fields(Invoice) if each.name not in _PLAIN)
_LINE_FIELDS = tuple(each.name for each in fields(InvoiceLine) if each.name not in _PLAIN)

INVOICE_COLUMNS = (*_INVOICE_FIELDS, "kind", "state", "period_start_at", "period_end_at")
LINE_COLUMNS = (
    *("tenant_id", "invoice_id"),
    *_LINE_FIELDS,
    *("kind", "period_start_at", "period_end_at", "tiers"),
)
TAX_COLUMNS = (
    *("tenant_id", "invoice_id", "position", "tax_rate_id", "display_name"),
    *("rate_ratio", "taxable", "amount", "reverse_charge"),
)
RATE_COLUMNS = (
    *("tenant_id", "invoice_id", "from_currency", "to_currency"),
    *("rate", "rate_date", "source"),
)
EVENT_COLUMNS = (
    *("tenant_id", "invoice_id", "event_id", "kind", "from_state", "to_state", "actor"),
    *("description", "operation_key", "occurred_at"),
)

Row = RowMapping


def invoice_row(invoice: Invoice) -> tuple[Any, ...]:
    """Returns the values of INVOICE_COLUMNS."""
    return (
        *(getattr(invoice, name) for name in _INVOICE_FIELDS),
        invoice.kind.value,
        invoice.state.value,
        invoice.period.start,
        invoice.period.end,
    )


def invoice_of(
    row: Row, *, taxes: Sequence[Row] = (), exchange_rates: Sequence[Row] = ()
) -> Invoice:
    """Builds the invoice of its row and those of its taxes and rates, in order."""
    return Invoice(
        **{name: row[name] for name in _INVOICE_FIELDS},
        kind=InvoiceKind(row["kind"]),
        state=InvoiceState(row["state"]),
        period=Period(row["period_start_at"], row["period_end_at"]),
        taxes=tuple(_tax_of(tax) for tax in taxes),
        exchange_rates=tuple(_rate_of(rate) for rate in exchange_rates),
    )


def line_row(tenant_id: str, invoice_id: str, line: InvoiceLine) -> tuple[Any, ...]:
    """Returns the values of LINE_COLUMNS."""
    values = [getattr(line, name) for name in _LINE_FIELDS]
    values[_LINE_FIELDS.index("source_currency")] = line.source_currency or None
    return (
        tenant_id,
        invoice_id,
        *values,
        line.kind,
        line.period.start,
        line.period.end,
        json.dumps([_tier_row(tier) for tier in line.tiers]) if line.tiers else "[]",
    )


def line_of(row: Row) -> InvoiceLine:
    """Builds the line of a row."""
    values = {name: row[name] for name in _LINE_FIELDS}
    values["source_currency"] = row["source_currency"] or ""
    tiers = row["tiers"]
    return InvoiceLine(
        **values,
        kind=row["kind"],
        period=Period(row["period_start_at"], row["period_end_at"]),
        tiers=tuple(_tier_of(t) for t in (json.loads(tiers) if isinstance(tiers, str) else tiers)),
    )


def tax_row(tenant_id: str, invoice_id: str, position: int, tax: InvoiceTax) -> tuple[Any, ...]:
    """Returns the values of TAX_COLUMNS."""
    return (
        *(tenant_id, invoice_id, position, tax.tax_rate_id, tax.display_name),
        *(tax.rate_ratio, tax.taxable, tax.amount, tax.reverse_charge),
    )


def rate_row(tenant_id: str, invoice_id: str, rate: ExchangeRate) -> tuple[Any, ...]:
    """Returns the values of RATE_COLUMNS."""
    return (
        *(tenant_id, invoice_id, rate.from_currency, rate.to_currency),
        *(rate.rate, rate.rate_date, rate.source),
    )


def event_row(tenant_id: str, invoice_id: str, event: InvoiceEvent) -> tuple[Any, ...]:
    """Returns the values of EVENT_COLUMNS."""
    return (
        *(tenant_id, invoice_id, event.event_id, event.kind),
        event.from_state.value if event.from_state is not None else "",
        *(event.to_state.value, event.actor, event.description, event.operation_key),
        event.occurred_at,
    )


def event_of(row: Row) -> InvoiceEvent:
    """Builds the event of a row."""
    return InvoiceEvent(
        event_id=row["event_id"],
        kind=row["kind"],
        from_state=InvoiceState(row["from_state"]) if row["from_state"] else None,
        to_state=InvoiceState(row["to_state"]),
        actor=row["actor"],
        description=row["description"],
        operation_key=row["operation_key"],
        occurred_at=row["occurred_at"],
    )


def _tier_row(tier: LineTier) -> dict[str, str]:
    return {each.name: format_decimal(getattr(tier, each.name)) for each in fields(LineTier)}


def _tier_of(row: Mapping[str, str]) -> LineTier:
    return LineTier(**{name: Decimal(value) for name, value in row.items()})


def _tax_of(row: Row) -> InvoiceTax:
    return InvoiceTax(
        tax_rate_id=row["tax_rate_id"],
        display_name=row["display_name"],
        rate_ratio=row["rate_ratio"],
        taxable=row["taxable"],
        amount=row["amount"],
        reverse_charge=row["reverse_charge"],
    )


def _rate_of(row: Row) -> ExchangeRate:
    return ExchangeRate(
        from_currency=row["from_currency"],
        to_currency=row["to_currency"],
        rate=row["rate"],
        rate_date=row["rate_date"],
        source=row["source"],
    )
