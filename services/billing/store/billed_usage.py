"""What invoices bill of usage, and what was metered for them, as rows."""

from __future__ import annotations

from services.billing.domain.metering import Metered
from services.kernel.database import Transaction
from services.kernel.period import Period

_PERIODS = """
SELECT invoice_id, subscription_id, period_start_at, period_end_at FROM billing.invoice
WHERE tenant_id = $1 AND kind IN ('period', 'final') AND usage_as_of_at IS NOT NULL
    AND state NOT IN ('draft', 'rated', 'void') AND period_end_at > $2 AND period_start_at < $3
    AND EXISTS (SELECT FROM billing.invoice_line_usage AS usage
        WHERE usage.tenant_id = $1 AND usage.invoice_id = invoice.invoice_id)
ORDER BY period_start_at, invoice_id
"""

# A late line of a later invoice bills the period that its usage happened in.
_OF_LINES = """
SELECT usage.dimension_id, sum(usage.quantity) AS quantity, sum(usage.cost) AS cost,
    sum(usage.events)::bigint AS events
FROM billing.invoice
JOIN billing.invoice_line AS line USING (tenant_id, invoice_id)
JOIN billing.invoice_line_usage AS usage USING (tenant_id, invoice_id, line_id)
WHERE invoice.tenant_id = $1 AND invoice.subscription_id = $2
    AND invoice.state NOT IN ('draft', 'rated', 'void')
    AND line.period_start_at >= $3 AND line.period_end_at <= $4
GROUP BY usage.dimension_id
"""

_OF_METER = """
SELECT dimension_id, sum(quantity) AS quantity, sum(cost) AS cost, sum(events)::bigint AS events
FROM (
    SELECT dimension_id, quantity, cost, events FROM billing.metered_usage
    WHERE tenant_id = $1 AND hour_at >= $2 AND hour_at < $3
    UNION ALL
    SELECT dimension_id, quantity, cost, events FROM billing.late_usage
    WHERE tenant_id = $1 AND hour_at >= $2 AND hour_at < $3 AND invoice_id <> ''
) AS usage
GROUP BY dimension_id
"""


async def billed_periods(
    tx: Transaction, tenant_id: str, window: Period
) -> list[tuple[str, str, Period]]:
    """Returns invoice, subscription and period of what bills usage that touches the window."""
    rows = await tx.driver.fetch(_PERIODS, tenant_id, window.start, window.end)
    return [
        (
            row["invoice_id"],
            row["subscription_id"],
            Period(row["period_start_at"], row["period_end_at"]),
        )
        for row in rows
    ]


async def of_lines(
    tx: Transaction, tenant_id: str, subscription_id: str, period: Period
) -> dict[str, Metered]:
    """Returns what all lines together bill of a period, by dimension."""
    return await _sums(tx, _OF_LINES, tenant_id, subscription_id, period.start, period.end)


async def of_meter(tx: Transaction, tenant_id: str, hours: Period) -> dict[str, Metered]:
    """Returns what was metered of hours and is not waiting for an invoice, by dimension."""
    return await _sums(tx, _OF_METER, tenant_id, hours.start, hours.end)


async def _sums(tx: Transaction, statement: str, *values: object) -> dict[str, Metered]:
    rows = await tx.driver.fetch(statement, *values)
    return {
        row["dimension_id"]: Metered(
            quantity=row["quantity"], cost=row["cost"], events=row["events"]
        )
        for row in rows
    }
