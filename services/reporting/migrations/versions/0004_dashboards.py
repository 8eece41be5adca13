"""Creates the versions that tell which dashboards are out of date."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "reporting"

# One row a tenant, changed once a second at most; room in each page keeps those changes in place.
VERSIONS = """
CREATE TABLE reporting.dashboard_version (
    tenant_id text NOT NULL,
    version bigint NOT NULL,
    valid_from timestamptz NOT NULL,
    PRIMARY KEY (tenant_id)
) WITH (fillfactor = 50);
"""


def upgrade() -> None:
    """Creates the table and its row-level security."""
    run_script(op, VERSIONS)
    protect(op, f"{SCHEMA}.dashboard_version")
