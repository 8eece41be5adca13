"""Finds, in one statement, what the totals of budget periods fire or make go away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from services.budget.domain.alert import RESOLVE_RATIO
from services.kernel.database import Transaction

# What a budget's first periods hold is history that its owner knows: nothing fires for a period
# that had ended before the budget was created.
_CANDIDATES = """
SELECT period.tenant_id, period.budget_id, period.period_start, period.period_end,
    period.currency_code, period.limit_amount, period.spent, period.held,
    version.display_name, version.department_id, version.terms -> 'channel_ids' AS budget_channels,
    version.terms -> 'recipients' AS recipients,
    version.terms ->> 'escalation_policy_id' AS escalation_policy_id,
    threshold.ratio, threshold.basis, threshold.severity, threshold.channel_ids,
    seen.observed, alert.alert_id, alert.state
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::numeric[])
    AS touched(tenant_id, budget_id, period_start, forecast)
JOIN budget.budget_period AS period USING (tenant_id, budget_id, period_start)
JOIN budget.budget USING (tenant_id, budget_id)
JOIN budget.budget_version AS version USING (tenant_id, budget_id, version)
CROSS JOIN LATERAL jsonb_to_recordset(version.terms -> 'thresholds')
    AS threshold(ratio numeric, basis text, severity text, channel_ids jsonb)
CROSS JOIN LATERAL (SELECT CASE threshold.basis
    WHEN 'actual' THEN period.spent
    WHEN 'committed' THEN period.spent + period.held
    ELSE touched.forecast END AS observed) AS seen
LEFT JOIN budget.alert ON alert.tenant_id = period.tenant_id
    AND alert.budget_id = period.budget_id AND alert.period_start = period.period_start
    AND alert.basis = threshold.basis AND alert.threshold_ratio = threshold.ratio
WHERE budget.created_at < period.period_end
AND CASE WHEN seen.observed >= threshold.ratio * period.limit_amount
    THEN alert.alert_id IS NULL OR alert.state = 'auto_resolved'
    ELSE alert.state IN ('open', 'acknowledged', 'snoozed', 'escalated')
        AND seen.observed < threshold.ratio * period.limit_amount * $5 END
ORDER BY period.tenant_id, period.budget_id, period.period_start, threshold.ratio
"""
_FORECASTED = """
SELECT period.tenant_id, period.budget_id, period.period_start
FROM budget.budget_period AS period
JOIN budget.budget_version AS version USING (tenant_id, budget_id, version)
WHERE period.closed_at IS NULL AND period.period_start <= $1 AND period.period_end > $1
AND version.terms -> 'thresholds' @> '[{"basis": "forecast"}]'
AND (period.tenant_id, period.budget_id) > ($2, $3)
ORDER BY period.tenant_id, period.budget_id LIMIT $4
"""
_ABOUT = """
SELECT period.period_end, period.currency_code, period.limit_amount, period.spent, period.held,
    version.display_name, version.department_id, version.terms -> 'channel_ids' AS budget_channels,
    version.terms -> 'recipients' AS recipients,
    version.terms ->> 'escalation_policy_id' AS escalation_policy_id
FROM budget.budget_period AS period
JOIN budget.budget_version AS version USING (tenant_id, budget_id, version)
WHERE period.tenant_id = $1 AND period.budget_id = $2 AND period.period_start = $3
"""


class PeriodKey(NamedTuple):
    """One period of one budget."""

    tenant_id: str
    budget_id: str
    period_start: datetime


async def candidates(tx: Transaction, forecasts: Mapping[PeriodKey, Decimal | None]) -> list[Any]:
    """Returns a row for each threshold of the periods that fires, is back, or is gone.

    forecasts: the periods, and what is expected at their end, None where that is not asked.
    A row without alert_id fires, with state `auto_resolved` is back, with another state is gone.
    """
    if not forecasts:
        return []
    tenants, budgets, starts = zip(*forecasts, strict=True)
    return await tx.driver.fetch(
        _CANDIDATES, tenants, budgets, starts, list(forecasts.values()), RESOLVE_RATIO
    )


async def forecast_periods(
    tx: Transaction, now: datetime, *, after: PeriodKey | None, limit: int
) -> list[PeriodKey]:
    """Returns running periods of all tenants with a threshold on the forecast, after one."""
    tenant_id, budget_id = (after.tenant_id, after.budget_id) if after is not None else ("", "")
    rows: Iterable[Any] = await tx.driver.fetch(_FORECASTED, now, tenant_id, budget_id, limit)
    return [PeriodKey(*row) for row in rows]


async def about_period(tx: Transaction, key: PeriodKey) -> Any:
    """Returns what an alert says of a period and its budget; None where there is none."""
    return await tx.driver.fetchrow(_ABOUT, *key)
