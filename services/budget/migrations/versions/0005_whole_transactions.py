"""Drops what said whether a transaction is counted whole: the feed divides none any more."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import run_script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WHOLE = """
DELETE FROM budget.counted_transaction WHERE NOT is_whole;
ALTER TABLE budget.counted_transaction DROP COLUMN is_whole;
"""


def upgrade() -> None:
    """Drops the column; a transaction of which a part is counted is noted with its rest."""
    run_script(op, WHOLE)
