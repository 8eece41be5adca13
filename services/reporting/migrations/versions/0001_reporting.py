"""Creates the forecasts that were made."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import create_kernel_tables, protect, run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "reporting"

FORECASTS = """
CREATE TABLE reporting.made_forecast (
    tenant_id text NOT NULL,
    question_key text NOT NULL,
    horizon_start timestamptz NOT NULL,
    horizon_end timestamptz NOT NULL,
    horizon_days integer NOT NULL CHECK (horizon_days > 0),
    filter text NOT NULL,
    cost_type text NOT NULL,
    currency_code text NOT NULL,
    made_at timestamptz NOT NULL,
    model text NOT NULL,
    expected numeric(38, 18) NOT NULL,
    lower numeric(38, 18) NOT NULL,
    upper numeric(38, 18) NOT NULL,
    level numeric NOT NULL,
    PRIMARY KEY (tenant_id, question_key, horizon_start),
    CHECK (lower <= expected AND expected <= upper)
);
"""


def upgrade() -> None:
    """Creates the table, its row-level security and the kernel's tables."""
    run_script(op, FORECASTS)
    protect(op, f"{SCHEMA}.made_forecast")
    create_kernel_tables(op, SCHEMA)
