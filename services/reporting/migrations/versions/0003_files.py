"""Creates the files that reports and exports make, in chunks."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "reporting"

FILES = """
CREATE TABLE reporting.file (
    tenant_id text NOT NULL,
    file_id text NOT NULL,
    file_name text NOT NULL,
    media_type text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, file_id)
);
CREATE TABLE reporting.file_chunk (
    tenant_id text NOT NULL,
    file_id text NOT NULL,
    place integer NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (tenant_id, file_id, place),
    FOREIGN KEY (tenant_id, file_id) REFERENCES reporting.file ON DELETE CASCADE
);
-- Most files are compressed already; trying again would cost more than it saves.
ALTER TABLE reporting.file_chunk ALTER COLUMN content SET STORAGE EXTERNAL;
"""


def upgrade() -> None:
    """Creates the tables and their row-level security."""
    run_script(op, FILES)
    for table in ("file", "file_chunk"):
        protect(op, f"{SCHEMA}.{table}")
