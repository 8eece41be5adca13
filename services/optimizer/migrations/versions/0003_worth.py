"""Keeps what advice is worth in the tenant's currency, and the same cause once a currency."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import run_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Advice in another currency is compared in its own until the next run finds it again.
SCRIPT = """
ALTER TABLE optimizer.recommendation ADD COLUMN worth numeric(38, 18) NOT NULL DEFAULT 0;
UPDATE optimizer.recommendation SET worth = saving_expected;
DROP INDEX optimizer.recommendation_cause;
CREATE UNIQUE INDEX recommendation_cause
    ON optimizer.recommendation (tenant_id, detector_id, finding_key, kind, currency_code)
    WHERE state NOT IN (4, 5, 6);
"""


def upgrade() -> None:
    """Adds the column and renews the index."""
    run_script(op, SCRIPT)
