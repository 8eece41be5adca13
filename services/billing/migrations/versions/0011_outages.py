"""Keeps which account of a payment provider does not answer, and lets its events wait.

One row stands for all events that wait, so that an outage costs no attempt of each.
"""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

OUTAGES = """
CREATE TABLE billing.provider_outage (
    tenant_id text PRIMARY KEY,
    began_at timestamptz NOT NULL,
    probe_count integer NOT NULL,
    next_probe_at timestamptz NOT NULL,
    error text NOT NULL
);
ALTER TABLE billing.webhook_event DROP CONSTRAINT webhook_event_state_check;
ALTER TABLE billing.webhook_event ADD CONSTRAINT webhook_event_state_check CHECK (state IN
    ('received', 'handled', 'ignored', 'foreign', 'waiting', 'retrying', 'dead'));
CREATE INDEX webhook_event_parked ON billing.webhook_event (tenant_id) WHERE state = 'waiting';
"""


def upgrade() -> None:
    """Creates the table, and widens the state."""
    run_script(op, OUTAGES)
    # Tenants that the seller bills see why nothing moves.
    protect(op, "billing.provider_outage", shared_tenant="platform")
