"""Lets the worker put pseudonyms in invoices' events, and remove those of invoices past their time.

What happened, when and to which invoice stays as it was written: only whose name stands there may
change.
"""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import run_script

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ERASURE = """
GRANT UPDATE (actor, description), DELETE ON billing.invoice_event TO finops_billing_worker;
"""


def upgrade() -> None:
    """Grants the two columns and the removal."""
    run_script(op, ERASURE)
