"""Creates what is kept of payment providers: settings, steps, payments, the inbox, reconciliation.

A step at a provider is a row before it is a request, so that a crash at any point leaves a trace
of what may have happened. Secrets and bodies of webhooks are sealed.
"""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "billing"

PROVIDER = """
CREATE TABLE billing.provider_settings (
    tenant_id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('offline', 'stripe')),
    live_mode boolean NOT NULL,
    -- Sealed, like the webhook secrets below.
    api_key bytea,
    api_key_hint text NOT NULL DEFAULT '',
    publishable_key text NOT NULL DEFAULT '',
    webhook_secret bytea,
    previous_webhook_secret bytea,
    api_version text NOT NULL,
    endpoint_id text NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL
);
-- A webhook comes without a tenant: its address tells whose it is.
CREATE UNIQUE INDEX provider_endpoint ON billing.provider_settings (endpoint_id);

-- Our objects as the provider knows them: one customer an account and currency, because Stripe's
-- customers cannot mix currencies.
CREATE TABLE billing.provider_object (
    tenant_id text NOT NULL,
    kind text NOT NULL,
    local_id text NOT NULL,
    provider text NOT NULL,
    live_mode boolean NOT NULL,
    provider_object_id text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, kind, local_id, provider, live_mode)
);
CREATE UNIQUE INDEX provider_object_there
    ON billing.provider_object (tenant_id, provider, provider_object_id);

CREATE TABLE billing.provider_operation (
    tenant_id text NOT NULL,
    operation_key text NOT NULL,
    step text NOT NULL,
    state text NOT NULL
        CHECK (state IN ('sending', 'succeeded', 'retrying', 'read_back', 'failed')),
    attempt integer NOT NULL CHECK (attempt >= 1),
    idempotency_key text NOT NULL,
    request_hash text NOT NULL,
    invoice_id text NOT NULL DEFAULT '',
    provider text NOT NULL,
    provider_object_id text NOT NULL DEFAULT '',
    http_status integer NOT NULL DEFAULT 0,
    provider_request_id text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '',
    first_sent_at timestamptz NOT NULL,
    next_attempt_at timestamptz,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, operation_key)
);
CREATE INDEX provider_operation_of_time
    ON billing.provider_operation (tenant_id, first_sent_at, operation_key);
CREATE INDEX provider_operation_of_invoice ON billing.provider_operation (tenant_id, invoice_id);
-- The worker looks over all tenants for steps whose outcome is not known.
CREATE INDEX provider_operation_open ON billing.provider_operation (next_attempt_at)
    WHERE state IN ('sending', 'retrying', 'read_back');
"""

PAYMENTS = """
CREATE TABLE billing.payment_method (
    tenant_id text NOT NULL,
    payment_method_id text NOT NULL,
    account_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('card', 'bank_debit', 'bank_transfer', 'other')),
    is_detached boolean NOT NULL DEFAULT false,
    brand text NOT NULL,
    last4 text NOT NULL,
    expire_month integer NOT NULL,
    expire_year integer NOT NULL,
    is_default boolean NOT NULL,
    reference text NOT NULL DEFAULT '',
    provider text NOT NULL,
    provider_payment_method_id text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, payment_method_id)
);
CREATE INDEX payment_method_of_account ON billing.payment_method (tenant_id, account_id);
CREATE UNIQUE INDEX payment_method_default ON billing.payment_method (tenant_id, account_id)
    WHERE is_default;
CREATE UNIQUE INDEX payment_method_there
    ON billing.payment_method (tenant_id, provider, provider_payment_method_id)
    WHERE provider_payment_method_id <> '';

CREATE TABLE billing.payment (
    tenant_id text NOT NULL,
    payment_id text NOT NULL,
    account_id text NOT NULL,
    invoice_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('charge', 'transfer', 'refund')),
    state text NOT NULL CHECK (state IN ('pending', 'succeeded', 'failed', 'disputed')),
    currency_code char(3) NOT NULL,
    amount numeric(38, 18) NOT NULL CHECK (amount > 0),
    refunded numeric(38, 18) NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount),
    fee numeric(38, 18),
    reference text NOT NULL,
    payment_method_id text NOT NULL DEFAULT '',
    provider text NOT NULL,
    provider_payment_id text NOT NULL DEFAULT '',
    -- The payment that a refund gives back.
    refund_of text NOT NULL DEFAULT '',
    credit_note_id text NOT NULL DEFAULT '',
    value_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, payment_id)
);
CREATE INDEX payment_of_time ON billing.payment (tenant_id, created_at, payment_id);
CREATE INDEX payment_of_invoice ON billing.payment (tenant_id, invoice_id);
-- What the provider or the bank tells twice counts once.
CREATE UNIQUE INDEX payment_there ON billing.payment (tenant_id, provider, provider_payment_id)
    WHERE provider_payment_id <> '';
CREATE UNIQUE INDEX payment_reference ON billing.payment (tenant_id, kind, reference);

CREATE TABLE billing.payment_attempt (
    tenant_id text NOT NULL,
    attempt_id text NOT NULL,
    invoice_id text NOT NULL,
    attempt_number integer NOT NULL CHECK (attempt_number >= 0),
    state text NOT NULL
        CHECK (state IN ('started', 'succeeded', 'declined', 'action_required', 'error')),
    currency_code char(3) NOT NULL,
    amount numeric(38, 18) NOT NULL,
    payment_method_id text NOT NULL,
    decline_code text NOT NULL DEFAULT '',
    retryable boolean NOT NULL DEFAULT false,
    attempted_at timestamptz NOT NULL,
    next_attempt_at timestamptz,
    PRIMARY KEY (tenant_id, attempt_id)
);
-- One payable at a time: a second attempt waits for the outcome of the first.
CREATE UNIQUE INDEX payment_attempt_running ON billing.payment_attempt (tenant_id, invoice_id)
    WHERE state = 'started';
CREATE UNIQUE INDEX payment_attempt_number
    ON billing.payment_attempt (tenant_id, invoice_id, attempt_number) WHERE attempt_number > 0;
CREATE INDEX payment_attempt_of_time
    ON billing.payment_attempt (tenant_id, attempted_at, attempt_id);

CREATE TABLE billing.payment_import (
    tenant_id text NOT NULL,
    digest text NOT NULL,
    result jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, digest)
);
"""

INBOX = """
-- The tenant of an event is that of the endpoint it came to, not of the object it is about.
CREATE TABLE billing.webhook_event (
    tenant_id text NOT NULL,
    webhook_event_id text NOT NULL,
    provider text NOT NULL,
    provider_event_id text NOT NULL,
    event_type text NOT NULL,
    object_id text NOT NULL,
    api_version text NOT NULL,
    live_mode boolean NOT NULL,
    state text NOT NULL CHECK (state IN ('received', 'handled', 'ignored', 'foreign', 'retrying',
        'dead')),
    attempt_count integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    -- Sealed; null once it is too old.
    body bytea,
    provider_created_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    handled_at timestamptz,
    next_attempt_at timestamptz,
    PRIMARY KEY (tenant_id, webhook_event_id),
    UNIQUE (tenant_id, provider, provider_event_id)
);
CREATE INDEX webhook_event_of_time
    ON billing.webhook_event (tenant_id, received_at, webhook_event_id);
-- The worker looks over all endpoints for what waits.
CREATE INDEX webhook_event_waiting ON billing.webhook_event (next_attempt_at)
    WHERE state IN ('received', 'retrying');
"""

RECONCILIATION = """
CREATE TABLE billing.reconciliation (
    tenant_id text NOT NULL,
    reconciliation_id text NOT NULL,
    scope text NOT NULL CHECK (scope IN ('light', 'full', 'usage')),
    cause text NOT NULL CHECK (cause IN ('hourly', 'nightly', 'recovery', 'request')),
    state text NOT NULL CHECK (state IN ('pending', 'running', 'succeeded', 'failed')),
    start_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL,
    repair boolean NOT NULL,
    compared_count bigint NOT NULL DEFAULT 0,
    total_count bigint NOT NULL DEFAULT 0,
    diff_count bigint NOT NULL DEFAULT 0,
    repaired_count bigint NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (tenant_id, reconciliation_id)
);
CREATE INDEX reconciliation_of_time
    ON billing.reconciliation (tenant_id, created_at, reconciliation_id);
CREATE TABLE billing.reconciliation_diff (
    tenant_id text NOT NULL,
    diff_id text NOT NULL,
    reconciliation_id text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'repaired', 'resolved')),
    invoice_id text NOT NULL DEFAULT '',
    provider_object_id text NOT NULL DEFAULT '',
    ours text NOT NULL,
    theirs text NOT NULL,
    currency_code text NOT NULL DEFAULT '',
    difference numeric(38, 18),
    action text NOT NULL,
    resolution text NOT NULL DEFAULT '',
    resolved_by text NOT NULL DEFAULT '',
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, diff_id)
);
CREATE INDEX reconciliation_diff_of_time
    ON billing.reconciliation_diff (tenant_id, created_at, diff_id);
-- A difference that is known and open is not found again by every reconciliation.
CREATE UNIQUE INDEX reconciliation_diff_open
    ON billing.reconciliation_diff (tenant_id, kind, invoice_id, provider_object_id, ours, theirs)
    WHERE state = 'open';
"""

OWN = (
    *("provider_object", "provider_operation", "payment_method", "payment"),
    *("payment_attempt", "payment_import", "webhook_event", "reconciliation"),
    "reconciliation_diff",
)


def upgrade() -> None:
    """Creates the tables, and binds each to its tenant."""
    for script in (PROVIDER, PAYMENTS, INBOX, RECONCILIATION):
        run_script(op, script)
    for table in OWN:
        protect(op, f"{SCHEMA}.{table}")
    # Tenants without settings of their own are billed through the seller's.
    protect(op, f"{SCHEMA}.provider_settings", shared_tenant="platform")
