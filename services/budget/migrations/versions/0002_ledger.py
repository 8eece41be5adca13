"""Creates authorizations, ledger entries, cost histories and reconciliations."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "budget"

LEDGER = """
ALTER TABLE budget.budget_period
    -- The part of spent that stands on settlements which no usage event has replaced yet.
    ADD COLUMN settled numeric(38, 18) NOT NULL DEFAULT 0,
    -- Before it a throttled budget admits nothing more.
    ADD COLUMN throttled_until timestamptz;
CREATE TABLE budget.spend_authorization (
    tenant_id text NOT NULL,
    authorization_id text NOT NULL,
    state smallint NOT NULL,
    outcome smallint NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    request_id text NOT NULL,
    digest bytea NOT NULL,
    user_id text NOT NULL,
    department_id text NOT NULL,
    project text NOT NULL,
    resource_type text NOT NULL,
    resource_id text NOT NULL,
    service text NOT NULL,
    provider text NOT NULL,
    region text NOT NULL,
    tags text NOT NULL,
    budget_ids text[] NOT NULL,
    currency_code text NOT NULL,
    held numeric(38, 18) NOT NULL,
    -- What was decided on which figures, as JSON that nothing queries.
    decision text NOT NULL,
    -- What each budget holds or has taken by the settlement, as JSON.
    holds text NOT NULL,
    usage_source text NOT NULL,
    usage_event_id text NOT NULL,
    settled_currency text NOT NULL DEFAULT '',
    settled numeric(38, 18),
    excess numeric(38, 18) NOT NULL DEFAULT 0,
    is_settled_late boolean NOT NULL DEFAULT false,
    is_replaced boolean NOT NULL DEFAULT false,
    -- When to ask whether the usage event has arrived; NULL when nothing is awaited.
    claim_at timestamptz,
    end_request_id text NOT NULL DEFAULT '',
    end_digest bytea NOT NULL DEFAULT '',
    release_reason text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, authorization_id)
) WITH (fillfactor = 80);
-- A refusal had no effect, so a repetition of its request is decided anew.
CREATE UNIQUE INDEX spend_authorization_request
    ON budget.spend_authorization (tenant_id, request_id) WHERE request_id <> '' AND state <> 5;
CREATE UNIQUE INDEX spend_authorization_end_request
    ON budget.spend_authorization (tenant_id, end_request_id) WHERE end_request_id <> '';
-- The worker looks across tenants for holds that ran out and events that are awaited.
CREATE INDEX spend_authorization_expiring ON budget.spend_authorization (expires_at)
    WHERE state = 1;
CREATE INDEX spend_authorization_claim ON budget.spend_authorization (claim_at)
    WHERE claim_at IS NOT NULL;
CREATE TABLE budget.ledger_entry (
    tenant_id text NOT NULL,
    budget_id text NOT NULL,
    entry_id bigint GENERATED ALWAYS AS IDENTITY,
    kind smallint NOT NULL,
    period_start timestamptz NOT NULL,
    currency_code text NOT NULL,
    spent_change numeric(38, 18) NOT NULL,
    held_change numeric(38, 18) NOT NULL,
    source_currency text NOT NULL,
    source_amount numeric(38, 18),
    rate numeric,
    rate_date text NOT NULL,
    authorization_id text NOT NULL,
    usage_event_id text NOT NULL,
    feed_sequence text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, budget_id, entry_id)
);
-- How often work of a kind cost how much, by week, so that old prices fade.
CREATE TABLE budget.cost_history (
    tenant_id text NOT NULL,
    resource_type text NOT NULL,
    resource_id text NOT NULL,
    currency_code text NOT NULL,
    week date NOT NULL,
    upper numeric(38, 18) NOT NULL,
    samples bigint NOT NULL,
    PRIMARY KEY (tenant_id, resource_type, resource_id, currency_code, week, upper)
) WITH (fillfactor = 70);
-- Transactions of the usage service whose changes are counted, to tell whether one event is.
CREATE TABLE budget.counted_transaction (
    tenant_id text NOT NULL,
    recorded_at timestamptz NOT NULL,
    is_whole boolean NOT NULL,
    PRIMARY KEY (tenant_id, recorded_at)
);
CREATE TABLE budget.reconciliation (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    state smallint NOT NULL,
    started_by smallint NOT NULL,
    is_repairing boolean NOT NULL,
    budget_ids text[] NOT NULL,
    start_at timestamptz,
    end_at timestamptz NOT NULL,
    done_units bigint NOT NULL DEFAULT 0,
    total_units bigint NOT NULL DEFAULT 0,
    drift_count integer NOT NULL DEFAULT 0,
    repaired_count integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    author text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (tenant_id, reconciliation_id)
);
CREATE TABLE budget.budget_drift (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    budget_id text NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    currency_code text NOT NULL,
    ledger_spent numeric(38, 18) NOT NULL,
    usage_spent numeric(38, 18) NOT NULL,
    difference numeric(38, 18) NOT NULL,
    cause text NOT NULL,
    is_repaired boolean NOT NULL,
    entry_id bigint,
    PRIMARY KEY (tenant_id, reconciliation_id, budget_id, period_start)
);
"""

TENANT_TABLES = (
    "spend_authorization",
    "ledger_entry",
    "cost_history",
    "counted_transaction",
    "reconciliation",
    "budget_drift",
)


def upgrade() -> None:
    """Creates the tables and their row-level security."""
    run_script(op, LEDGER)
    for table in TENANT_TABLES:
        protect(op, f"{SCHEMA}.{table}")
