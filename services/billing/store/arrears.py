"""Subscriptions whose state and whose unpaid invoices do not agree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.billing.domain.subscription import SubscriptionState
from services.kernel.database import Transaction

# Given up: the dunning ended so, and the days of grace after its last attempt are over.
_ARREARS = """
WITH unpaid AS (
    SELECT invoice.tenant_id, invoice.subscription_id,
        bool_or(
            invoice.state = 'uncollectible' AND invoice.issued_at + make_interval(days =>
                COALESCE((account.dunning->'attempt_days'->>-1)::integer, 0)
                + (account.dunning->>'grace_days')::integer) <= $1
        ) AS is_given_up,
        bool_or(account.dunning->>'end_action' = 'cancel') AS ends
    FROM billing.invoice JOIN billing.account USING (tenant_id, account_id)
    WHERE invoice.state IN ('past_due', 'uncollectible') AND invoice.subscription_id <> ''
    GROUP BY invoice.tenant_id, invoice.subscription_id
), wanted AS (
    SELECT subscription.tenant_id, subscription.subscription_id, subscription.state,
        CASE WHEN unpaid.tenant_id IS NULL THEN 'active'
            WHEN NOT unpaid.is_given_up THEN 'past_due'
            WHEN unpaid.ends THEN 'canceled' ELSE 'unpaid' END AS wanted
    FROM billing.subscription LEFT JOIN unpaid USING (tenant_id, subscription_id)
    WHERE subscription.state IN ('past_due', 'unpaid')
        OR (subscription.state = 'active' AND unpaid.tenant_id IS NOT NULL)
)
SELECT tenant_id, subscription_id, state, wanted FROM wanted
WHERE state <> wanted AND NOT (state = 'unpaid' AND wanted = 'past_due')
ORDER BY tenant_id, subscription_id LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Arrears:
    """A subscription and the state that its invoices ask for."""

    tenant_id: str
    subscription_id: str
    state: SubscriptionState
    wanted: SubscriptionState


async def arrears(tx: Transaction, at: datetime, limit: int) -> list[Arrears]:
    """Returns the subscriptions of all tenants that do not stand as their invoices say."""
    rows = await tx.driver.fetch(_ARREARS, at, limit)
    return [
        Arrears(
            row["tenant_id"],
            row["subscription_id"],
            SubscriptionState(row["state"]),
            SubscriptionState(row["wanted"]),
        )
        for row in rows
    ]
