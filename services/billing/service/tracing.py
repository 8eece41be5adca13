"""Leads from an invoice line down to usage events, and from an event up to its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from services.billing.domain.invoice_record import Invoice, InvoiceLine
from services.billing.domain.metering import Dimension, Metered, hour_of, metered_period
from services.billing.errors import InvoiceLineNotFound, InvoiceNotFound
from services.billing.errors.metered import UsageEventUnknown
from services.billing.service.whereabouts import Whereabouts, whereabouts
from services.billing.store import invoices as rows
from services.billing.store import metering
from services.kernel.database import Database, Transaction
from services.kernel.money import EXACT
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period

LATE = "late_usage"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """One event as the usage service has it. dimension: its attributes, without the id."""

    source: str
    event_id: str
    start_at: datetime
    recorded_at: datetime
    quantity: Decimal
    cost: Decimal
    dimension: Dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedUsage:
    """One event behind a line, and its exact share of the line's amount."""

    source: str
    event_id: str
    start_at: datetime
    user_id: str
    resource_id: str
    quantity: Decimal
    amount: Decimal


class UsageEvents(Protocol):
    """Reads usage events; the usage service, at the process edge."""

    async def page(
        self,
        tenant_id: str,
        dimension: Dimension,
        hours: Period,
        *,
        filter_text: str,
        token: str,
        limit: int,
    ) -> tuple[Sequence[UsageEvent], str]:
        """Returns a page of one dimension's events, oldest first, and the next page's token."""

    async def find(self, tenant_id: str, source: str, event_id: str) -> UsageEvent | None:
        """Returns one event, None where it is unknown."""


class Tracing:
    """The use cases of following money to usage and back."""

    def __init__(self, database: Database, events: UsageEvents, *, tokens: PageTokens) -> None:
        """Takes the usage service's events."""
        self._database = database
        self._events = events
        self._tokens = tokens

    async def list_invoice_line_usage(
        self, page: PageRequest, invoice_id: str, line_id: str
    ) -> tuple[Page[TracedUsage], Invoice]:
        """Returns a page of the events behind a line, oldest first within each kind of usage.

        Raises InvoiceNotFound, InvoiceLineNotFound, InvalidPageToken.
        """
        tenant_id = page.tenant_id
        async with self._database.read(tenant_id) as tx:
            invoice, line = await _line(tx, tenant_id, invoice_id, line_id)
            parts = await rows.line_usage(tx, tenant_id, invoice_id, line_id)
            known = await metering.dimensions_of(tx, [(tenant_id, part[1]) for part in parts])
            since = await _counted_before(tx, invoice, line)
        hours = metered_period(line.period)
        key = self._tokens.decode(page)
        place, token = (0, "") if key is None else (int(str(key[0])), str(key[1]))
        found: list[TracedUsage] = []
        while hours is not None and place < len(parts) and len(found) < page.limit:
            _, dimension_id, amount = parts[place]
            events, token = await self._events.page(
                tenant_id,
                known[tenant_id, dimension_id],
                hours,
                filter_text=page.filter,
                token=token,
                limit=page.limit - len(found),
            )
            found += [
                _traced(event, line, amount, parts)
                for event in events
                if _is_counted(event, invoice, since)
            ]
            place += not token
        if hours is None or place >= len(parts):
            return Page(found), invoice
        return Page(found, self._tokens.encode(page, (place, token))), invoice

    async def find_invoice_lines(
        self, tenant_id: str, source: str, event_id: str
    ) -> tuple[list[tuple[Invoice, InvoiceLine]], Whereabouts]:
        """Returns the lines that bill an event, and what becomes of it.

        Raises UsageEventUnknown.
        """
        event = await self._events.find(tenant_id, source, event_id)
        if event is None:
            raise UsageEventUnknown(source=source, event_id=event_id)
        hour_at = hour_of(event.start_at)
        async with self._database.read(tenant_id) as tx:
            ids = await metering.dimension_ids(tx, tenant_id, event.dimension)
            found = await rows.lines_of_dimension(tx, tenant_id, ids, hour_at)
            billing: list[tuple[Invoice, InvoiceLine]] = []
            for invoice_id, line in found:
                invoice = await _invoice(tx, tenant_id, invoice_id)
                hours = metered_period(line.period)
                since = await _counted_before(tx, invoice, line)
                if hours is not None and hour_at in hours and _is_counted(event, invoice, since):
                    billing.append((invoice, line))
            if billing:
                numbers = sorted({invoice.number or "a draft" for invoice, _ in billing})
                return billing, Whereabouts(explanation=f"It is billed on {', '.join(numbers)}.")
            return [], await whereabouts(
                tx, tenant_id, ids, event.start_at, recorded_at=event.recorded_at
            )


async def _line(
    tx: Transaction, tenant_id: str, invoice_id: str, line_id: str
) -> tuple[Invoice, InvoiceLine]:
    invoice = await _invoice(tx, tenant_id, invoice_id)
    lines = await rows.invoice_lines(tx, tenant_id, invoice_id, line_ids=[line_id])
    if not lines:
        raise InvoiceLineNotFound(invoice_id=invoice_id, line_id=line_id)
    return invoice, lines[0]


async def _invoice(tx: Transaction, tenant_id: str, invoice_id: str) -> Invoice:
    invoice = await rows.find_invoice(tx, tenant_id, invoice_id)
    if invoice is None:
        raise InvoiceNotFound(invoice_id=invoice_id)
    return invoice


async def _counted_before(tx: Transaction, invoice: Invoice, line: InvoiceLine) -> datetime | None:
    """Returns when the usage of a late line's period was billed first; None for other lines."""
    if line.kind != LATE:
        return None
    return await rows.usage_billed_at(
        tx, invoice.tenant_id, invoice.subscription_id, line.period, invoice.invoice_id
    )


def _is_counted(event: UsageEvent, invoice: Invoice, since: datetime | None) -> bool:
    until = invoice.usage_as_of_at
    is_in_time = until is None or event.recorded_at <= until
    return is_in_time and (since is None or event.recorded_at > since)


def _traced(
    event: UsageEvent,
    line: InvoiceLine,
    amount: Metered,
    parts: Sequence[tuple[str, str, Metered]],
) -> TracedUsage:
    """Shares the line's amount by quantity, or by cost where it is priced by cost."""
    is_cost = line.quantity is None
    whole = sum(((part[2].cost if is_cost else part[2].quantity) for part in parts), Decimal(0))
    own = event.cost if is_cost else event.quantity
    share = EXACT.divide(EXACT.multiply(line.exact_amount, own), whole) if whole else Decimal(0)
    if not whole and amount.events:
        share = EXACT.divide(line.exact_amount, Decimal(line.events or amount.events))
    return TracedUsage(
        source=event.source,
        event_id=event.event_id,
        start_at=event.start_at,
        user_id=event.dimension.user_id,
        resource_id=event.dimension.resource_id,
        quantity=event.quantity,
        amount=EXACT.quantize(share, Decimal(1).scaleb(-18)),
    )
