"""Lines that wait for an account's next invoice, exact as they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from services.billing.domain.invoice import ExactLine, LineKind
from services.billing.tables.subscriptions import pending_line as table
from services.kernel.database import Transaction
from services.kernel.money import format_decimal
from services.kernel.period import Period


async def add_pending(
    tx: Transaction,
    tenant_id: str,
    account_id: str,
    lines: Sequence[ExactLine],
    *,
    currency_code: str,
    at: datetime,
    subscription_id: str = "",
    change: str = "",
) -> None:
    """Adds lines to an account's next invoice. change: keeps keys of several changes apart.

    A line whose key is there already is not added again, so that a repetition changes nothing.
    """
    for line in lines:
        key = f"{line.key}:{change}" if change else line.key
        statement = insert(table).values(
            tenant_id=tenant_id,
            account_id=account_id,
            line_key=key,
            subscription_id=subscription_id,
            currency_code=currency_code,
            line=line_json(replace(line, key=key)),
            created_at=at,
        )
        await tx.execute(statement.on_conflict_do_nothing())


async def pending_lines(
    tx: Transaction, tenant_id: str, account_id: str, *, until: datetime
) -> list[ExactLine]:
    """Returns the lines that no invoice has taken, in the order they came.

    until: lines of periods that begin later wait for a later invoice.
    """
    found = await tx.execute(
        select(table.c.line)
        .where(
            table.c.tenant_id == tenant_id,
            table.c.account_id == account_id,
            table.c.invoice_id.is_(None),
        )
        .order_by(table.c.created_at, table.c.line_key)
    )
    lines = [line_of(body) for body in found.scalars()]
    return [line for line in lines if line.period is None or line.period.start <= until]


async def take_pending(
    tx: Transaction, tenant_id: str, account_id: str, keys: Sequence[str], invoice_id: str
) -> int:
    """Marks lines as taken by an invoice, and returns how many no other had taken."""
    taken = await tx.execute(
        update(table)
        .where(
            table.c.tenant_id == tenant_id,
            table.c.account_id == account_id,
            table.c.line_key.in_(keys),
            table.c.invoice_id.is_(None),
        )
        .values(invoice_id=invoice_id)
        .returning(table.c.line_key)
    )
    return len(taken.all())


async def give_back_pending(tx: Transaction, tenant_id: str, invoice_id: str) -> None:
    """Lets the lines of an invoice that is void wait again."""
    await tx.execute(
        update(table)
        .where(table.c.tenant_id == tenant_id, table.c.invoice_id == invoice_id)
        .values(invoice_id=None)
    )


async def fees_of_period(
    tx: Transaction, tenant_id: str, account_id: str, period: Period
) -> list[ExactLine]:
    """Returns the fees and prorations of a period with their discounts, invoiced or not."""
    kinds = (LineKind.FLAT, LineKind.PRORATION, LineKind.DISCOUNT)
    found = await tx.execute(
        select(table.c.line).where(
            table.c.tenant_id == tenant_id,
            table.c.account_id == account_id,
            table.c.line["kind"].astext.in_([kind.value for kind in kinds]),
        )
    )
    lines = [line_of(body) for body in found.scalars()]
    return [line for line in lines if line.period is not None and line.period.start in period]


def line_json(line: ExactLine) -> dict[str, Any]:
    """Returns a line as JSON; its exact amount is a fraction, `numerator/denominator`."""
    period = line.period
    return {
        "key": line.key,
        "kind": line.kind.value,
        "description": line.description,
        "exact": str(line.exact),
        "period": None if period is None else [period.start.isoformat(), period.end.isoformat()],
        "charge_id": line.charge_id,
        "quantity": None if line.quantity is None else format_decimal(line.quantity),
        "unit_price": None if line.unit_price is None else format_decimal(line.unit_price),
        "tax_code": line.tax_code,
        "proration_of": line.proration_of,
        "is_discountable": line.is_discountable,
        "is_net": line.is_net,
        "reduces": line.reduces,
        "is_taxed": line.is_taxed,
    }


def line_of(body: Mapping[str, Any]) -> ExactLine:
    """Returns the line of its JSON."""
    period = body["period"]
    return ExactLine(
        key=body["key"],
        kind=LineKind(body["kind"]),
        description=body["description"],
        exact=Fraction(body["exact"]),
        period=None if period is None else Period(*map(datetime.fromisoformat, period)),
        charge_id=body["charge_id"],
        quantity=None if body["quantity"] is None else Decimal(body["quantity"]),
        unit_price=None if body["unit_price"] is None else Decimal(body["unit_price"]),
        tax_code=body["tax_code"],
        proration_of=body["proration_of"],
        is_discountable=body["is_discountable"],
        is_net=body["is_net"],
        reduces=body["reduces"],
        is_taxed=body["is_taxed"],
    )
