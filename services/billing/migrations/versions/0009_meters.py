"""Lets a provider's meters price usage: from when to when, what it was told, what it invoiced.

An hour of usage is either within a route, and Stripe's to price, or it is ours. That is decided
once, in the transaction that begins the route, so that nothing is billed twice.
"""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

METERS = """
CREATE TABLE billing.meter_route (
    tenant_id text NOT NULL,
    route_id text NOT NULL,
    subscription_id text NOT NULL,
    account_id text NOT NULL,
    plan_id text NOT NULL,
    plan_version integer NOT NULL,
    currency_code char(3) NOT NULL,
    provider text NOT NULL,
    state text NOT NULL CHECK (state IN ('opening', 'open', 'closing', 'closed', 'refused')),
    -- Whole hours, half-open; no end while it goes on.
    starts_at timestamptz NOT NULL,
    ends_at timestamptz,
    customer_id text NOT NULL DEFAULT '',
    provider_subscription_id text NOT NULL DEFAULT '',
    report_count integer NOT NULL DEFAULT 0,
    opened_at timestamptz,
    error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, route_id),
    CHECK (ends_at >= starts_at)
);
-- Two at once would have two subscriptions there price the same meter.
CREATE UNIQUE INDEX meter_route_running ON billing.meter_route (tenant_id, subscription_id)
    WHERE state IN ('opening', 'open', 'closing');
CREATE INDEX meter_route_of_subscription
    ON billing.meter_route (tenant_id, subscription_id, starts_at);
-- A webhook names the subscription there, and not whose it is.
CREATE INDEX meter_route_there ON billing.meter_route (provider, provider_subscription_id)
    WHERE provider_subscription_id <> '';

CREATE TABLE billing.meter_report (
    tenant_id text NOT NULL,
    route_id text NOT NULL,
    number integer NOT NULL,
    charge_id text NOT NULL,
    -- The part of a period whose usage it tells.
    part_start_at timestamptz NOT NULL,
    quantity bigint NOT NULL CHECK (quantity <> 0),
    -- When the provider is to count it.
    occurred_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('sending', 'sent', 'canceling', 'canceled', 'failed')),
    error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, route_id, number)
);

CREATE TABLE billing.metered_invoice (
    tenant_id text NOT NULL,
    provider_invoice_id text NOT NULL,
    route_id text NOT NULL,
    subscription_id text NOT NULL,
    account_id text NOT NULL,
    number text NOT NULL,
    state text NOT NULL CHECK (state IN ('draft', 'open', 'paid', 'uncollectible', 'void')),
    currency_code char(3) NOT NULL,
    start_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL,
    -- Before tax: the provider's, and ours of what it was told.
    subtotal numeric(38, 18) NOT NULL,
    rated numeric(38, 18) NOT NULL,
    total numeric(38, 18) NOT NULL,
    amount_paid numeric(38, 18) NOT NULL,
    hosted_url text NOT NULL,
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, provider_invoice_id)
);
CREATE INDEX metered_invoice_of_time
    ON billing.metered_invoice (tenant_id, created_at, provider_invoice_id);

ALTER TABLE billing.subscription ADD COLUMN provider_subscription_id text NOT NULL DEFAULT '';
"""

TENANT_TABLES = ("meter_route", "meter_report", "metered_invoice")


def upgrade() -> None:
    """Creates the tables, and binds them to their tenant."""
    run_script(op, METERS)
    for table in TENANT_TABLES:
        protect(op, f"billing.{table}")
