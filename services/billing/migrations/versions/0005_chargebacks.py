"""Keeps with a chargeback which departments it charges, and whether they are told."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import run_script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CHARGEBACKS = """
-- Empty for all departments that have cost.
ALTER TABLE billing.billing_run ADD COLUMN department_ids text[] NOT NULL DEFAULT '{}';
ALTER TABLE billing.billing_run ADD COLUMN send_notifications boolean NOT NULL DEFAULT false;
"""


def upgrade() -> None:
    """Adds the columns."""
    run_script(op, CHARGEBACKS)
