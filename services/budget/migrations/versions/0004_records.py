"""Keeps the persons of the audit log beside its chain, and the legal holds of records."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import create_record_tables

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "budget"


def upgrade() -> None:
    """Creates the tables."""
    create_record_tables(op, SCHEMA)
