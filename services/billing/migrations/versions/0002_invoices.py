"""Creates metered usage, invoices, credit notes and billing runs.

Usage is kept by hour and dimension while the invoice of its period is not locked; what comes later
is kept apart, and claimed by the invoice that bills it. `metering` says up to which hour a tenant's
usage is billed; who adds usage and who locks an invoice both hold its row, so that no change falls
between the two.
"""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "billing"

METERING = """
CREATE TABLE billing.metering (
    tenant_id text PRIMARY KEY,
    billed_until timestamptz NOT NULL,
    -- Newest change of the cost feed that is counted in.
    as_of_sequence text NOT NULL DEFAULT '',
    as_of_at timestamptz
);
CREATE TABLE billing.metered_dimension (
    tenant_id text NOT NULL,
    dimension_id text NOT NULL,
    resource_type text NOT NULL,
    unit text NOT NULL,
    currency_code text NOT NULL,
    user_id text NOT NULL,
    department text NOT NULL,
    project text NOT NULL,
    resource_id text NOT NULL,
    service text NOT NULL,
    service_category text NOT NULL,
    provider text NOT NULL,
    region text NOT NULL,
    sub_account_id text NOT NULL,
    charge_category text NOT NULL,
    tags jsonb NOT NULL,
    PRIMARY KEY (tenant_id, dimension_id)
);
CREATE TABLE billing.metered_usage (
    tenant_id text NOT NULL,
    hour_at timestamptz NOT NULL,
    dimension_id text NOT NULL,
    quantity numeric NOT NULL,
    cost numeric NOT NULL,
    events bigint NOT NULL,
    unpriced_events bigint NOT NULL,
    PRIMARY KEY (tenant_id, hour_at, dimension_id)
);
CREATE TABLE billing.late_usage (
    tenant_id text NOT NULL,
    -- Empty until an invoice bills it.
    invoice_id text NOT NULL DEFAULT '',
    hour_at timestamptz NOT NULL,
    dimension_id text NOT NULL,
    quantity numeric NOT NULL,
    cost numeric NOT NULL,
    events bigint NOT NULL,
    unpriced_events bigint NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id, hour_at, dimension_id)
);
"""

INVOICES = """
CREATE TABLE billing.number_series (
    tenant_id text NOT NULL,
    series text NOT NULL,
    last_number bigint NOT NULL CHECK (last_number > 0),
    PRIMARY KEY (tenant_id, series)
);
CREATE TABLE billing.invoice (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    account_id text NOT NULL,
    department_id text NOT NULL DEFAULT '',
    subscription_id text NOT NULL DEFAULT '',
    run_id text NOT NULL DEFAULT '',
    number text NOT NULL DEFAULT '',
    kind text NOT NULL CHECK (kind IN ('period', 'final', 'proration', 'chargeback')),
    state text NOT NULL CHECK (state IN ('draft', 'rated', 'locked', 'pushing', 'open',
        'processing', 'past_due', 'paid', 'uncollectible', 'void', 'part_credited', 'credited',
        'blocked')),
    -- The state a blocked invoice goes on from; empty otherwise.
    blocked_from text NOT NULL DEFAULT '' CHECK ((state = 'blocked') = (blocked_from <> '')),
    period_start_at timestamptz NOT NULL,
    period_end_at timestamptz NOT NULL CHECK (period_start_at < period_end_at),
    currency_code char(3) NOT NULL,
    subtotal numeric(38, 18) NOT NULL,
    discount_total numeric(38, 18) NOT NULL,
    credit_total numeric(38, 18) NOT NULL,
    tax_total numeric(38, 18) NOT NULL,
    total numeric(38, 18) NOT NULL CHECK (subtotal + tax_total = total),
    amount_paid numeric(38, 18) NOT NULL DEFAULT 0 CHECK (amount_paid >= 0),
    amount_credited numeric(38, 18) NOT NULL DEFAULT 0 CHECK (amount_credited >= 0),
    line_count integer NOT NULL,
    unpriced_events bigint NOT NULL DEFAULT 0,
    plan_id text NOT NULL DEFAULT '',
    plan_version integer NOT NULL DEFAULT 0,
    provider_invoice_id text NOT NULL DEFAULT '',
    hosted_url text NOT NULL DEFAULT '',
    block_reason text NOT NULL DEFAULT '',
    void_reason text NOT NULL DEFAULT '',
    attempt_count integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    content_hash text NOT NULL DEFAULT '',
    -- When its usage was summed up last: later changes are not in it.
    usage_as_of_at timestamptz,
    revision integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    grace_end_at timestamptz,
    issued_at timestamptz,
    due_at timestamptz,
    paid_at timestamptz,
    -- What lists are ordered by: what is not issued or due yet stands where it was made.
    issued_order timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(issued_at, created_at)) STORED,
    due_order timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(due_at, created_at)) STORED,
    PRIMARY KEY (tenant_id, invoice_id),
    CHECK (amount_credited <= greatest(total, 0)),
    -- A number is taken by the lock and kept for ever; what was voided before has none.
    CHECK (number <> '' OR state IN ('draft', 'rated', 'void', 'blocked'))
);
-- One valid invoice a period: whoever comes second finds it.
CREATE UNIQUE INDEX invoice_of_period
    ON billing.invoice (tenant_id, subscription_id, period_start_at)
    WHERE state <> 'void' AND kind IN ('period', 'final');
CREATE UNIQUE INDEX invoice_of_department
    ON billing.invoice (tenant_id, department_id, period_start_at)
    WHERE state <> 'void' AND kind = 'chargeback';
CREATE UNIQUE INDEX invoice_number ON billing.invoice (tenant_id, number) WHERE number <> '';
CREATE INDEX invoice_of_account ON billing.invoice (tenant_id, account_id, period_start_at);
CREATE INDEX invoice_in_arrears ON billing.invoice (tenant_id, subscription_id)
    WHERE state IN ('past_due', 'uncollectible');
-- Workers look over all tenants for drafts whose grace has ended and for what is to be collected.
CREATE INDEX invoice_in_grace ON billing.invoice (grace_end_at)
    WHERE state IN ('draft', 'rated');
CREATE INDEX invoice_unpaid ON billing.invoice (due_at) WHERE state = 'open';
CREATE INDEX invoice_to_collect ON billing.invoice (next_attempt_at)
    WHERE next_attempt_at IS NOT NULL;
CREATE INDEX invoice_of_run ON billing.invoice (run_id) WHERE run_id <> '';

CREATE TABLE billing.invoice_line (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    position integer NOT NULL,
    line_id text NOT NULL,
    line_key text NOT NULL,
    kind text NOT NULL,
    description text NOT NULL,
    period_start_at timestamptz NOT NULL,
    period_end_at timestamptz NOT NULL,
    charge_id text NOT NULL DEFAULT '',
    department_id text NOT NULL DEFAULT '',
    project text NOT NULL DEFAULT '',
    resource_type text NOT NULL DEFAULT '',
    quantity numeric(38, 18),
    included_quantity numeric(38, 18),
    unit text NOT NULL DEFAULT '',
    tiers jsonb NOT NULL DEFAULT '[]',
    unit_price numeric(38, 18),
    source_currency char(3),
    source_amount numeric,
    exact_amount numeric NOT NULL,
    amount numeric(38, 18) NOT NULL,
    tax_amount numeric(38, 18) NOT NULL DEFAULT 0,
    tax_rate_id text NOT NULL DEFAULT '',
    proration_of text NOT NULL DEFAULT '',
    route text NOT NULL DEFAULT 'rated',
    events bigint NOT NULL DEFAULT 0,
    -- What credit notes took of it, before tax, and of its tax.
    credited numeric(38, 18) NOT NULL DEFAULT 0,
    tax_credited numeric(38, 18) NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, invoice_id, line_id),
    UNIQUE (tenant_id, invoice_id, position),
    -- Never more than was invoiced: between nothing and the whole line, whatever its sign.
    CHECK (credited BETWEEN least(amount, 0) AND greatest(amount, 0)),
    CHECK (tax_credited BETWEEN least(tax_amount, 0) AND greatest(tax_amount, 0))
);
CREATE TABLE billing.invoice_line_usage (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    line_id text NOT NULL,
    dimension_id text NOT NULL,
    quantity numeric NOT NULL,
    cost numeric NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id, line_id, dimension_id)
);
CREATE INDEX invoice_line_of_dimension
    ON billing.invoice_line_usage (tenant_id, dimension_id, invoice_id);
CREATE TABLE billing.invoice_tax (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    position integer NOT NULL,
    tax_rate_id text NOT NULL,
    display_name text NOT NULL,
    rate_ratio numeric(38, 18) NOT NULL,
    taxable numeric(38, 18) NOT NULL,
    amount numeric(38, 18) NOT NULL,
    reverse_charge boolean NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id, position)
);
CREATE TABLE billing.invoice_exchange_rate (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    from_currency text NOT NULL,
    to_currency text NOT NULL,
    rate numeric NOT NULL CHECK (rate > 0),
    rate_date date NOT NULL,
    source text NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id, from_currency, to_currency)
);
CREATE TABLE billing.invoice_event (
    tenant_id text NOT NULL,
    invoice_id text NOT NULL,
    event_id text NOT NULL,
    -- Events of one instant come in the order they were added.
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    from_state text NOT NULL,
    to_state text NOT NULL,
    actor text NOT NULL,
    description text NOT NULL,
    operation_key text NOT NULL DEFAULT '',
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, invoice_id, event_id)
);
REVOKE UPDATE, DELETE ON billing.invoice_event FROM finops_billing, finops_billing_worker;
"""

CREDIT_NOTES = """
CREATE TABLE billing.credit_note (
    tenant_id text NOT NULL,
    credit_note_id text NOT NULL,
    invoice_id text NOT NULL,
    account_id text NOT NULL,
    number text NOT NULL DEFAULT '',
    state text NOT NULL CHECK (state IN ('awaiting_approval', 'issued', 'settled', 'void')),
    reason text NOT NULL,
    settlement text NOT NULL
        CHECK (settlement IN ('refund', 'balance', 'out_of_band', 'reduce_due')),
    currency_code char(3) NOT NULL,
    subtotal numeric(38, 18) NOT NULL,
    tax_total numeric(38, 18) NOT NULL,
    total numeric(38, 18) NOT NULL CHECK (subtotal + tax_total = total AND total > 0),
    author text NOT NULL,
    approver text NOT NULL DEFAULT '' CHECK (approver <> author),
    note text NOT NULL DEFAULT '',
    void_reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    settled_at timestamptz,
    PRIMARY KEY (tenant_id, credit_note_id)
);
CREATE INDEX credit_note_of_invoice ON billing.credit_note (tenant_id, invoice_id);
CREATE UNIQUE INDEX credit_note_number ON billing.credit_note (tenant_id, number)
    WHERE number <> '';
CREATE TABLE billing.credit_note_line (
    tenant_id text NOT NULL,
    credit_note_id text NOT NULL,
    position integer NOT NULL,
    line_id text NOT NULL,
    amount numeric(38, 18) NOT NULL,
    tax_amount numeric(38, 18) NOT NULL,
    PRIMARY KEY (tenant_id, credit_note_id, position)
);
"""

# A run is the platform's: its tenant is `*`. Its items belong to the tenants that it bills.
RUNS = """
CREATE TABLE billing.billing_run (
    tenant_id text NOT NULL,
    run_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('invoices', 'chargeback')),
    state text NOT NULL CHECK (state IN ('pending', 'locking', 'pushing', 'degraded', 'succeeded',
        'partially_failed', 'cancelled', 'failed')),
    month text NOT NULL,
    finalize boolean NOT NULL,
    dry_run boolean NOT NULL,
    plan_id text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '',
    actor text NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    PRIMARY KEY (tenant_id, run_id)
);
CREATE INDEX billing_run_of_time ON billing.billing_run (tenant_id, created_at, run_id);
CREATE TABLE billing.billing_run_item (
    tenant_id text NOT NULL,
    run_id text NOT NULL,
    item_id text NOT NULL,
    account_id text NOT NULL,
    department_id text NOT NULL DEFAULT '',
    state text NOT NULL CHECK (state IN ('pending', 'running', 'done', 'skipped', 'failed')),
    invoice_id text NOT NULL DEFAULT '',
    currency_code char(3),
    total numeric(38, 18),
    error text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, run_id, item_id)
);
CREATE INDEX billing_run_item_of_run ON billing.billing_run_item (run_id, state, tenant_id);
"""

OWN = (
    *("metering", "metered_dimension", "metered_usage", "late_usage", "number_series"),
    *("invoice", "invoice_line", "invoice_line_usage", "invoice_tax"),
    *("invoice_exchange_rate", "invoice_event", "credit_note", "credit_note_line"),
    *("billing_run_item",),
)


def upgrade() -> None:
    """Creates the tables, and binds each to its tenant."""
    for script in (METERING, INVOICES, CREDIT_NOTES, RUNS):
        run_script(op, script)
    for table in OWN:
        protect(op, f"{SCHEMA}.{table}")
    protect(op, f"{SCHEMA}.billing_run", shared_tenant="*")
