"""Creates budgets, their versions, increases and periods, and the feed of their changes."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import (
    create_feed_table,
    create_kernel_tables,
    protect,
    run_script,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "budget"

BUDGETS = """
CREATE TABLE budget.tenant_revision (
    tenant_id text PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 0,
    counted_sequence text NOT NULL DEFAULT ''
);
CREATE TABLE budget.budget (
    tenant_id text NOT NULL,
    budget_id text NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    is_draft boolean NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, budget_id)
);
CREATE TABLE budget.budget_version (
    tenant_id text NOT NULL,
    budget_id text NOT NULL,
    version integer NOT NULL,
    effective_at timestamptz NOT NULL,
    author text NOT NULL,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    terms jsonb NOT NULL,
    display_name text NOT NULL GENERATED ALWAYS AS (terms ->> 'display_name') STORED,
    amount numeric(38, 18) NOT NULL
        GENERATED ALWAYS AS ((terms ->> 'amount')::numeric(38, 18)) STORED,
    currency_code text NOT NULL GENERATED ALWAYS AS (terms ->> 'currency_code') STORED,
    enforcement text NOT NULL GENERATED ALWAYS AS (terms ->> 'enforcement') STORED,
    cadence text NOT NULL GENERATED ALWAYS AS (terms -> 'rule' ->> 'cadence') STORED,
    department_id text NOT NULL
        GENERATED ALWAYS AS (terms -> 'scope' ->> 'department_id') STORED,
    user_id text NOT NULL GENERATED ALWAYS AS (terms -> 'scope' ->> 'user_id') STORED,
    resource_type text NOT NULL
        GENERATED ALWAYS AS (terms -> 'scope' ->> 'resource_type') STORED,
    project text NOT NULL GENERATED ALWAYS AS (terms -> 'scope' ->> 'project') STORED,
    PRIMARY KEY (tenant_id, budget_id, version),
    FOREIGN KEY (tenant_id, budget_id) REFERENCES budget.budget
);
CREATE TABLE budget.budget_increase (
    tenant_id text NOT NULL,
    budget_id text NOT NULL,
    increase_id text NOT NULL,
    amount numeric(38, 18) NOT NULL CHECK (amount > 0),
    start_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL CHECK (end_at > start_at),
    revoked_at timestamptz,
    reason text NOT NULL,
    author text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, budget_id, increase_id),
    FOREIGN KEY (tenant_id, budget_id) REFERENCES budget.budget
);
CREATE TABLE budget.budget_period (
    tenant_id text NOT NULL,
    budget_id text NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL CHECK (period_end > period_start),
    version integer NOT NULL,
    currency_code text NOT NULL,
    amount numeric(38, 18) NOT NULL,
    rolled_over numeric(38, 18) NOT NULL DEFAULT 0,
    increased numeric(38, 18) NOT NULL DEFAULT 0,
    limit_amount numeric(38, 18) NOT NULL
        GENERATED ALWAYS AS (amount + rolled_over + increased) STORED,
    limit_until timestamptz NOT NULL,
    spent numeric(38, 18) NOT NULL DEFAULT 0,
    held numeric(38, 18) NOT NULL DEFAULT 0 CHECK (held >= 0),
    excess numeric(38, 18) NOT NULL DEFAULT 0,
    unpriced_events bigint NOT NULL DEFAULT 0,
    denied_count bigint NOT NULL DEFAULT 0,
    filled_sequence text NOT NULL DEFAULT '',
    closed_at timestamptz,
    revision bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, budget_id, period_start)
)
-- Every authorization updates a row: room on the page keeps the update off the indexes.
WITH (fillfactor = 50);
-- The worker looks across tenants for periods that are over and limits that change.
CREATE INDEX budget_period_due ON budget.budget_period (limit_until) WHERE closed_at IS NULL;
"""

TENANT_TABLES = (
    "tenant_revision",
    "budget",
    "budget_version",
    "budget_increase",
    "budget_period",
)


def upgrade() -> None:
    """Creates the tables, their row-level security and the kernel's tables."""
    run_script(op, BUDGETS)
    for table in TENANT_TABLES:
        protect(op, f"{SCHEMA}.{table}")
    create_feed_table(op, f"{SCHEMA}.budget_change")
    create_kernel_tables(op, SCHEMA)
