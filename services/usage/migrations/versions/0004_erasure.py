"""Keeps who was erased, unreadably, so that usage of theirs that comes later is not theirs."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import create_data_key_table, protect, run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "usage"

ERASURE = """
-- What ids are digested with: sealed, or behind a zero byte where no master key is configured.
CREATE TABLE usage.erasure_key (
    tenant_id text PRIMARY KEY,
    sealed bytea NOT NULL
);
-- digest: HMAC-SHA256 of the person's id under that key.
CREATE TABLE usage.erased_user (
    tenant_id text NOT NULL,
    digest bytea NOT NULL,
    pseudonym text NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, digest)
);
"""


def upgrade() -> None:
    """Creates the tables, and that of data keys."""
    run_script(op, ERASURE)
    for table in ("erasure_key", "erased_user"):
        protect(op, f"{SCHEMA}.{table}")
    create_data_key_table(op, SCHEMA)
