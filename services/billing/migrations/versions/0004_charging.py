"""Says why an attempt failed and who asked for it, claims events, forgets imports of statements.

A statement's rows count once by their references; the table of whole statements was only written.
"""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CHARGING = """
ALTER TABLE billing.payment_attempt ADD COLUMN error text NOT NULL DEFAULT '';
ALTER TABLE billing.payment_attempt ADD COLUMN request_id text NOT NULL DEFAULT '';
-- A call that is repeated finds the attempt it began.
CREATE UNIQUE INDEX payment_attempt_asked ON billing.payment_attempt (tenant_id, request_id)
    WHERE request_id <> '';

-- Until then one worker handles the event, and with it all events of the same object.
ALTER TABLE billing.webhook_event ADD COLUMN claimed_until timestamptz;
CREATE INDEX webhook_event_claimed ON billing.webhook_event (tenant_id, object_id, claimed_until)
    WHERE claimed_until IS NOT NULL;

DROP TABLE billing.payment_import;
"""


def upgrade() -> None:
    """Adds the columns, and drops the table that nobody read."""
    run_script(op, CHARGING)
