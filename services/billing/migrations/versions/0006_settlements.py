"""Keeps what the provider paid out for a payment: its fee, and what its exchange rate cost."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SETTLEMENTS = """
-- In the currency that the provider pays out in, beside the invoices' ledger.
CREATE TABLE billing.settlement (
    tenant_id text NOT NULL,
    payment_id text NOT NULL,
    provider_transaction_id text NOT NULL,
    currency_code char(3) NOT NULL,
    gross numeric(38, 18) NOT NULL,
    fee numeric(38, 18) NOT NULL,
    net numeric(38, 18) NOT NULL,
    exchange_rate numeric(20, 10),
    -- Gross, less the payment at the ECB's rate of the day: a loss where it is below zero. Null
    -- where no exchange was made, or that bank has no rate.
    exchange_difference numeric(38, 18),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, payment_id),
    CHECK (net = gross - fee)
);
-- A dispute stops what is charged by itself.
CREATE INDEX payment_disputed ON billing.payment (tenant_id, account_id) WHERE state = 'disputed';
-- A webhook names a charge, and not whose it is.
CREATE INDEX payment_of_provider ON billing.payment (provider, provider_payment_id)
    WHERE provider_payment_id <> '';
"""


def upgrade() -> None:
    """Creates the table, and binds it to its tenant."""
    run_script(op, SETTLEMENTS)
    protect(op, "billing.settlement")
