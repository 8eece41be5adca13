"""Creates accounts, plans, coupons, taxes, subscriptions, prepaid credit, history and the feed.

Plans, coupons and tax rates belong to the seller, the tenant `*`, and every tenant reads them. A
tenant redeems a coupon through a function that runs as the owner, so that the limit over all
tenants holds although no tenant may write the coupon.
"""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import (
    create_data_key_table,
    create_feed_table,
    create_kernel_tables,
    protect,
    run_script,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "billing"

ACCOUNTS = """
CREATE TABLE billing.account (
    tenant_id text NOT NULL,
    account_id text NOT NULL,
    display_name text NOT NULL,
    department_id text NOT NULL DEFAULT '',
    currency_code char(3) NOT NULL,
    time_zone text NOT NULL,
    locale text NOT NULL,
    collection_method text NOT NULL,
    payment_terms_days integer NOT NULL,
    rounding_mode text NOT NULL,
    tax_mode text NOT NULL,
    dunning jsonb NOT NULL,
    credit_approval_limit numeric(38, 18),
    -- Sealed: legal name, address, tax ids, contacts and bank details.
    particulars bytea,
    state text NOT NULL,
    -- What the account owes; every entry of the history moves it.
    open_balance numeric(38, 18) NOT NULL DEFAULT 0,
    revision integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, account_id)
);
-- One running account for the whole tenant, and one a department.
CREATE UNIQUE INDEX account_of_department ON billing.account (tenant_id, department_id)
    WHERE state = 'active';
CREATE TABLE billing.automated_billing (
    tenant_id text NOT NULL,
    account_id text NOT NULL,
    enabled boolean NOT NULL,
    billing_day integer NOT NULL,
    include_usage boolean NOT NULL,
    auto_payment boolean NOT NULL,
    send_notifications boolean NOT NULL,
    grace_hours integer NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, account_id)
);
"""

CATALOGUE = """
CREATE TABLE billing.pricing_plan (
    tenant_id text NOT NULL,
    plan_id text NOT NULL,
    version integer NOT NULL,
    display_name text NOT NULL,
    description text NOT NULL,
    state text NOT NULL,
    billing_interval text NOT NULL,
    rates jsonb NOT NULL,
    currency_codes text[] NOT NULL,
    trial_days integer NOT NULL,
    features text[] NOT NULL,
    restricted boolean NOT NULL,
    effective_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, plan_id, version)
);
CREATE TABLE billing.coupon (
    tenant_id text NOT NULL,
    coupon_id text NOT NULL,
    -- In upper case: codes do not mind it.
    code text NOT NULL,
    display_name text NOT NULL,
    discount_ratio numeric(38, 18),
    amount numeric(38, 18),
    currency_code char(3),
    duration_periods integer NOT NULL,
    plan_ids text[] NOT NULL,
    redemptions_max integer NOT NULL,
    redemption_count integer NOT NULL DEFAULT 0,
    expire_at timestamptz,
    ended_at timestamptz,
    created_at timestamptz NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, coupon_id),
    UNIQUE (tenant_id, code)
);
CREATE TABLE billing.coupon_redemption (
    tenant_id text NOT NULL,
    subscription_id text NOT NULL,
    coupon_id text NOT NULL,
    redeemed_at timestamptz NOT NULL,
    -- First instant at which it takes nothing off any more; null for ever.
    ends_at timestamptz,
    PRIMARY KEY (tenant_id, subscription_id, coupon_id)
);
CREATE TABLE billing.tax_rate (
    tenant_id text NOT NULL,
    tax_rate_id text NOT NULL,
    country_code char(2) NOT NULL,
    subdivision_code text NOT NULL,
    tax_code text NOT NULL,
    display_name text NOT NULL,
    rate_ratio numeric(38, 18) NOT NULL,
    reverse_charge boolean NOT NULL,
    inclusive boolean NOT NULL,
    start_date date NOT NULL,
    end_date date,
    revision integer NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, tax_rate_id)
);
CREATE INDEX tax_rate_of_place
    ON billing.tax_rate (tenant_id, country_code, subdivision_code, tax_code, start_date);

-- Counts one redemption unless the coupon has ended, lapsed or reached its limit.
CREATE FUNCTION billing.redeem_coupon(wanted text, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = billing, pg_temp AS $$
BEGIN
    UPDATE coupon SET redemption_count = redemption_count + 1
    WHERE tenant_id = '*' AND coupon_id = wanted AND ended_at IS NULL
        AND (expire_at IS NULL OR at <= expire_at)
        AND (redemptions_max = 0 OR redemption_count < redemptions_max);
    RETURN FOUND;
END $$;
REVOKE ALL ON FUNCTION billing.redeem_coupon(text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.redeem_coupon(text, timestamptz)
    TO finops_billing, finops_billing_worker;
"""

SUBSCRIPTIONS = """
CREATE TABLE billing.subscription (
    tenant_id text NOT NULL,
    subscription_id text NOT NULL,
    account_id text NOT NULL,
    plan_id text NOT NULL,
    plan_version integer NOT NULL,
    currency_code char(3) NOT NULL,
    quantity numeric(38, 18) NOT NULL,
    state text NOT NULL,
    started_at timestamptz NOT NULL,
    trial_end_at timestamptz,
    trial_end_behavior text NOT NULL,
    billing_interval text NOT NULL,
    billing_day integer NOT NULL,
    time_zone text NOT NULL,
    -- The local day from whose month intervals count.
    anchored_on date NOT NULL,
    cancel_at_period_end boolean NOT NULL,
    discounts jsonb NOT NULL,
    labels jsonb NOT NULL,
    period_start_at timestamptz NOT NULL,
    period_end_at timestamptz NOT NULL,
    paused_at timestamptz,
    resume_at timestamptz,
    ended_at timestamptz,
    -- What waits for the next period; null when nothing does.
    next_plan_id text,
    next_plan_version integer,
    next_quantity numeric(38, 18),
    revision integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id)
);
-- An account runs one subscription at a time.
CREATE UNIQUE INDEX subscription_of_account ON billing.subscription (tenant_id, account_id)
    WHERE state NOT IN ('canceled', 'incomplete_expired');
-- The worker looks for periods, trials and pauses that end, over all tenants.
CREATE INDEX subscription_due ON billing.subscription (period_end_at)
    WHERE state NOT IN ('canceled', 'incomplete_expired');
CREATE TABLE billing.subscription_event (
    tenant_id text NOT NULL,
    subscription_id text NOT NULL,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    from_state text NOT NULL,
    to_state text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    plan_id text NOT NULL,
    plan_version integer NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id, sequence)
);
-- Which plan, quantity and mode held when: what prices the usage of a period.
CREATE TABLE billing.subscription_phase (
    tenant_id text NOT NULL,
    subscription_id text NOT NULL,
    start_at timestamptz NOT NULL,
    end_at timestamptz,
    plan_id text NOT NULL,
    plan_version integer NOT NULL,
    quantity numeric(38, 18) NOT NULL,
    mode text NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id, start_at)
);
CREATE TABLE billing.subscription_preview (
    tenant_id text NOT NULL,
    preview_id text NOT NULL,
    subscription_id text NOT NULL,
    revision integer NOT NULL,
    request jsonb NOT NULL,
    total numeric(38, 18) NOT NULL,
    effective_at timestamptz NOT NULL,
    expire_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, preview_id)
);
-- Lines that wait for the account's next invoice: prorations, residues, carried amounts.
CREATE TABLE billing.pending_line (
    tenant_id text NOT NULL,
    account_id text NOT NULL,
    line_key text NOT NULL,
    subscription_id text NOT NULL,
    currency_code char(3) NOT NULL,
    line jsonb NOT NULL,
    invoice_id text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, account_id, line_key)
);
CREATE INDEX pending_line_of_invoice ON billing.pending_line (tenant_id, invoice_id);
"""

CREDIT = """
CREATE TABLE billing.credit_grant (
    tenant_id text NOT NULL,
    credit_grant_id text NOT NULL,
    account_id text NOT NULL,
    currency_code char(3) NOT NULL,
    amount numeric(38, 18) NOT NULL CHECK (amount > 0),
    remaining numeric(38, 18) NOT NULL CHECK (remaining >= 0 AND remaining <= amount),
    display_name text NOT NULL,
    priority integer NOT NULL,
    start_at timestamptz NOT NULL,
    expire_at timestamptz,
    paid boolean NOT NULL,
    charge_ids text[] NOT NULL,
    voided_at timestamptz,
    void_reason text NOT NULL DEFAULT '',
    expired_at timestamptz,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, credit_grant_id)
);
CREATE INDEX credit_grant_of_account ON billing.credit_grant (tenant_id, account_id, priority);
CREATE TABLE billing.credit_transaction (
    tenant_id text NOT NULL,
    transaction_id text NOT NULL,
    account_id text NOT NULL,
    credit_grant_id text NOT NULL,
    kind text NOT NULL,
    currency_code char(3) NOT NULL,
    amount numeric(38, 18) NOT NULL,
    balance numeric(38, 18) NOT NULL,
    invoice_id text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, transaction_id)
);
CREATE INDEX credit_transaction_of_account
    ON billing.credit_transaction (tenant_id, account_id, created_at);
CREATE INDEX credit_transaction_of_invoice
    ON billing.credit_transaction (tenant_id, invoice_id, credit_grant_id);
-- One time line of all that happened to an account.
CREATE TABLE billing.billing_history (
    tenant_id text NOT NULL,
    entry_id text NOT NULL,
    account_id text NOT NULL,
    kind text NOT NULL,
    resource_id text NOT NULL,
    invoice_id text NOT NULL,
    subscription_id text NOT NULL,
    title text NOT NULL,
    currency_code char(3) NOT NULL,
    amount numeric(38, 18),
    balance numeric(38, 18) NOT NULL,
    state text NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, entry_id)
);
CREATE INDEX billing_history_of_time ON billing.billing_history (tenant_id, occurred_at, entry_id);
CREATE INDEX billing_history_of_resource ON billing.billing_history (tenant_id, kind, resource_id);
"""

SHARED = ("pricing_plan", "coupon", "tax_rate")
OWN = (
    "account",
    "automated_billing",
    "coupon_redemption",
    "subscription",
    "subscription_event",
    "subscription_phase",
    "subscription_preview",
    "pending_line",
    "credit_grant",
    "credit_transaction",
    "billing_history",
)


def upgrade() -> None:
    """Creates the tables, and binds each to its tenant."""
    create_kernel_tables(op, SCHEMA)
    create_data_key_table(op, SCHEMA)
    for script in (ACCOUNTS, CATALOGUE, SUBSCRIPTIONS, CREDIT):
        run_script(op, script)
    for table in SHARED:
        protect(op, f"{SCHEMA}.{table}", shared_tenant="*")
    for table in OWN:
        protect(op, f"{SCHEMA}.{table}")
    create_feed_table(op, f"{SCHEMA}.billing_change")
