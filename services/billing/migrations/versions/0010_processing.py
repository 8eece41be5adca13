"""Keeps debits that take days, and up to when each account's events were read.

A debit that the bank works on is an attempt under way: nothing else is charged meanwhile.
"""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

PROCESSING = """
ALTER TABLE billing.payment_attempt DROP CONSTRAINT payment_attempt_state_check;
ALTER TABLE billing.payment_attempt ADD CONSTRAINT payment_attempt_state_check CHECK (state IN
    ('started', 'processing', 'succeeded', 'declined', 'action_required', 'error'));
DROP INDEX billing.payment_attempt_running;
CREATE UNIQUE INDEX payment_attempt_running ON billing.payment_attempt (tenant_id, invoice_id)
    WHERE state IN ('started', 'processing');

-- By whose settings an account is read: one account may bill many tenants.
CREATE TABLE billing.provider_events_read (
    tenant_id text PRIMARY KEY,
    read_until timestamptz NOT NULL
);
"""


def upgrade() -> None:
    """Widens the state, and creates the table."""
    run_script(op, PROCESSING)
    protect(op, "billing.provider_events_read")
