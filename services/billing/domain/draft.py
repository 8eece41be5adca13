"""Drafts of invoices: what a computed invoice comes to as lines that are kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from services.billing.domain.charges import to_decimal
from services.billing.domain.invoice import BilledLine, ComputedInvoice
from services.billing.domain.invoice_record import (
    ExchangeRate,
    Invoice,
    InvoiceLine,
    InvoiceTax,
    LineTier,
)
from services.billing.domain.invoice_state import InvoiceKind
from services.billing.domain.metering import Dimension, Metered
from services.kernel.money import format_decimal
from services.kernel.period import Period

LINE_ID_LENGTH = 20  # 80 bits of a hash of the key: unique among the lines of one invoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What an invoice would be now.

    usage: line, dimension and amount. pending_keys: the waiting lines it takes. late: the late
    hours and dimensions that it bills. metered_until: usage of hours before it is counted in.
    """

    computed: ComputedInvoice
    kind: InvoiceKind
    period: Period
    lines: Sequence[InvoiceLine]
    usage: Sequence[tuple[str, str, Metered]] = ()
    exchange_rates: Sequence[ExchangeRate] = ()
    unpriced_events: int = 0
    plan_id: str = ""
    plan_version: int = 0
    pending_keys: Sequence[str] = ()
    late: Sequence[tuple[datetime, str]] = ()
    metered_until: datetime | None = None

    def filled(self, invoice: Invoice) -> Invoice:
        """Returns the invoice with what it comes to now."""
        computed = self.computed
        return replace(
            invoice,
            kind=self.kind,
            period=self.period,
            currency_code=computed.currency_code,
            subtotal=computed.subtotal,
            discount_total=computed.discount_total,
            credit_total=computed.credit_total,
            tax_total=computed.tax_total,
            total=computed.total,
            line_count=len(self.lines),
            unpriced_events=self.unpriced_events,
            plan_id=self.plan_id,
            plan_version=self.plan_version,
            taxes=tuple(
                InvoiceTax(
                    tax_rate_id=tax.tax_rate_id,
                    display_name=tax.display_name,
                    rate_ratio=tax.rate_ratio,
                    taxable=tax.taxable,
                    amount=tax.amount,
                    reverse_charge=tax.reverse_charge,
                )
                for tax in computed.taxes
            ),
            exchange_rates=tuple(self.exchange_rates),
        )


def kept_lines(computed: ComputedInvoice, period: Period) -> list[InvoiceLine]:
    """Returns the lines of a computed invoice as they are kept. period: of lines without one."""
    return [_kept(billed, period) for billed in computed.lines]


def line_id_of(key: str) -> str:
    """Returns the id of a line: the same whenever the invoice is computed again."""
    return hashlib.sha256(key.encode()).hexdigest()[:LINE_ID_LENGTH]


def usage_of_lines(
    lines: Sequence[InvoiceLine],
    members: Mapping[str, Sequence[tuple[Dimension, Metered]]],
) -> list[tuple[str, str, Metered]]:
    """Returns line, dimension and amount of all usage. members: by the lines' keys."""
    return [
        (line.line_id, dimension.dimension_id, amount)
        for line in lines
        for dimension, amount in members.get(line.line_key, ())
    ]


def content_hash(invoice: Invoice, lines: Sequence[InvoiceLine]) -> str:
    """Returns the SHA-256 over number, lines, taxes and rates, hexadecimal."""
    body = {
        "number": invoice.number,
        "currency_code": invoice.currency_code,
        "period": [invoice.period.start.isoformat(), invoice.period.end.isoformat()],
        "totals": _texts(invoice.subtotal, invoice.tax_total, invoice.total),
        "lines": [
            [
                *(line.position, line.kind, line.description, line.charge_id, line.tax_rate_id),
                *_texts(line.exact_amount, line.amount, line.tax_amount),
            ]
            for line in lines
        ],
        "taxes": [
            [tax.tax_rate_id, *_texts(tax.rate_ratio, tax.taxable, tax.amount)]
            for tax in invoice.taxes
        ],
        "rates": [
            [rate.from_currency, rate.to_currency, f"{rate.rate}", rate.rate_date.isoformat()]
            for rate in invoice.exchange_rates
        ],
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def number_of(series: str, tenant_id: str, number: int) -> str:
    """Returns a printed number such as `INV-7C6A2F91-000042`, at most 26 characters.

    A series is a tenant's own and has no gaps; the part in the middle tells tenants apart.
    """
    middle = hashlib.sha256(tenant_id.encode()).hexdigest()[:8].upper()
    return f"{series}-{middle}-{number:06d}"


def numbers_in(text: str, series: str) -> set[str]:
    """Returns the numbers of a series that a text names, whole ones only.

    Payers write them in small letters, and with a space for the hyphen or nothing.
    """
    pattern = rf"(?<![0-9A-Z]){series}[- ]?([0-9A-F]{{8}})[- ]?([0-9]{{6,}})(?![0-9A-Z])"
    return {f"{series}-{middle}-{number}" for middle, number in re.findall(pattern, text.upper())}


def _texts(*amounts: Decimal) -> list[str]:
    return [format_decimal(amount) for amount in amounts]


def _kept(billed: BilledLine, period: Period) -> InvoiceLine:
    line = billed.line
    source = line.source_amount
    return InvoiceLine(
        line_id=line_id_of(line.key),
        line_key=line.key,
        position=billed.position,
        kind=line.kind.value,
        description=line.description,
        period=line.period or period,
        charge_id=line.charge_id,
        department_id=line.department_id,
        project=line.project,
        resource_type=line.resource_type,
        quantity=line.quantity,
        included_quantity=line.included_quantity,
        unit=line.unit,
        tiers=tuple(
            LineTier(
                from_quantity=tier.from_quantity,
                quantity=tier.quantity,
                unit_price=tier.unit_price,
                flat_price=tier.flat_price,
                amount=tier.amount,
            )
            for tier in line.tiers
        ),
        unit_price=line.unit_price,
        source_currency=source.currency_code if source is not None else "",
        source_amount=source.amount if source is not None else None,
        exact_amount=to_decimal(line.exact),
        amount=billed.amount,
        tax_amount=billed.tax_amount,
        tax_rate_id=billed.tax_rate_id,
        proration_of=line.proration_of,
        route=line.route.value,
        events=line.event_count,
    )
