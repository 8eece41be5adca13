"""What a status shows beside the period's own row, and the list of statuses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import case, func, literal, select

from services.budget.domain.status import FiredThreshold
from services.budget.domain.threshold import Basis, Threshold
from services.budget.store.budget_lists import budgets_in_force
from services.budget.tables.budgets import budget_period as period_table
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens

# Orders by an instant that is always there: without a runway it is the last one.
_NEVER = datetime.fromisoformat("9999-12-31T00:00:00+00:00")

_FIRED = """
SELECT budget_id, basis, threshold_ratio, limit_amount, fired_at, alert_id FROM budget.alert
WHERE tenant_id = $1 AND (budget_id, period_start) IN (
    SELECT * FROM unnest($2::text[], $3::timestamptz[])) AND threshold_ratio IS NOT NULL
ORDER BY fired_at
"""


# An older reconciliation's difference is no longer one when a newer one did not find it.
_DRIFTS = """
SELECT asked.budget_id, drift.difference
FROM unnest($2::text[], $3::timestamptz[]) AS asked(budget_id, period_start)
CROSS JOIN LATERAL (
    SELECT reconciliation_id FROM budget.reconciliation
    WHERE tenant_id = $1 AND ended_at IS NOT NULL AND error = ''
    AND (budget_ids = '{}' OR asked.budget_id = ANY(budget_ids))
    ORDER BY reconciliation_id DESC LIMIT 1
) AS last
JOIN budget.budget_drift AS drift ON drift.tenant_id = $1
    AND drift.reconciliation_id = last.reconciliation_id
    AND drift.budget_id = asked.budget_id AND drift.period_start = asked.period_start
WHERE NOT drift.is_repaired
"""


class PeriodKey(NamedTuple):
    """A budget's period."""

    budget_id: str
    start: datetime


async def fired_thresholds(
    tx: Transaction, tenant_id: str, keys: Sequence[PeriodKey]
) -> Mapping[str, list[FiredThreshold]]:
    """Returns the thresholds that fired in the periods, by budget."""
    rows = await tx.driver.fetch(
        _FIRED, tenant_id, [key.budget_id for key in keys], [key.start for key in keys]
    )
    found: dict[str, list[FiredThreshold]] = defaultdict(list)
    for row in rows:
        ratio = row["threshold_ratio"].normalize()
        threshold = Threshold(ratio, Basis(row["basis"]))
        amount = (row["limit_amount"] or Decimal(0)) * ratio
        found[row["budget_id"]].append(
            FiredThreshold(threshold, amount, row["fired_at"], row["alert_id"])
        )
    return found


async def open_drifts(
    tx: Transaction, tenant_id: str, keys: Sequence[PeriodKey]
) -> Mapping[str, Decimal]:
    """Returns the difference that the last reconciliation of a budget left, by budget."""
    rows = await tx.driver.fetch(
        _DRIFTS, tenant_id, [key.budget_id for key in keys], [key.start for key in keys]
    )
    return {row["budget_id"]: row["difference"] for row in rows}


async def alert_counts(
    tx: Transaction, tenant_id: str, keys: Sequence[PeriodKey]
) -> Mapping[PeriodKey, int]:
    """Returns how many alerts fired in each period that had any."""
    rows = await tx.driver.fetch(
        """
        SELECT budget_id, period_start, count(*) AS alerts FROM budget.alert
        WHERE tenant_id = $1 AND (budget_id, period_start) IN (
            SELECT * FROM unnest($2::text[], $3::timestamptz[])) GROUP BY 1, 2
        """,
        tenant_id,
        [key.budget_id for key in keys],
        [key.start for key in keys],
    )
    return {PeriodKey(row["budget_id"], row["period_start"]): row["alerts"] for row in rows}


async def list_running(
    tx: Transaction, page: PageRequest, tokens: PageTokens, now: datetime
) -> Page[str]:
    """Returns the ids of a page of budgets that have a period at an instant."""
    rows = _running(page.tenant_id, now)
    c = rows.c
    texts = (
        *("budget_id", "state", "enforcement", "department_id", "user_id", "resource_type"),
        "currency_code",
    )
    listing = Listing(
        filters={
            **{name: FilterField(FieldType.STRING, c[name]) for name in texts},
            "utilization_ratio": FilterField(FieldType.NUMBER, c.utilization_ratio),
        },
        orders={
            name: c[name]
            for name in (
                *("utilization_ratio", "remaining", "runway_time", "display_name"),
                "budget_id",
            )
        },
        default_order="utilization_ratio desc",
        tie_break="budget_id",
    )
    found = await listing.page(tx, select(rows), page, tokens)
    return Page([row["budget_id"] for row in found.items], found.next_page_token)


def _running(tenant_id: str, now: datetime) -> Any:
    """Selects each budget that has a period at an instant, with what statuses are listed by."""
    b = budgets_in_force(tenant_id, now).c
    p = period_table.c
    moment = literal(now, p.period_start.type)
    elapsed = func.greatest(func.extract("epoch", moment - p.period_start), 3600)
    left = p.limit_amount - p.spent - p.held
    seconds = case((p.spent > 0, func.greatest(left, 0) * elapsed / p.spent))
    runway = func.coalesce(
        moment + func.make_interval(0, 0, 0, 0, 0, 0, func.least(seconds, 3_000_000_000)),
        literal(_NEVER, p.period_start.type),
    )
    utilization: Any = case((p.limit_amount > 0, p.spent / p.limit_amount), else_=Decimal(10**6))
    return (
        select(
            b.budget_id,
            b.display_name,
            utilization.label("utilization_ratio"),
            left.label("remaining"),
            runway.label("runway_time"),
        )
        .join(
            period_table,
            (p.tenant_id == tenant_id)
            & (p.budget_id == b.budget_id)
            & (p.period_start <= moment)
            & (p.period_end > moment),
        )
        .add_columns(
            func.upper(b.state).label("state"),
            func.upper(b.enforcement).label("enforcement"),
            b.department_id,
            b.user_id,
            b.resource_type,
            b.currency_code,
        )
        .subquery("s")
    )
