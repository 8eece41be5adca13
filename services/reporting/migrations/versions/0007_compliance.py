"""Creates cases about persons, retention policies, legal holds and removals, with their keys."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import protect, run_script
from services.kernel.schema import create_data_key_table

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = "reporting"

SUBJECTS = """
-- What makes pseudonyms: without it nobody can tell whose one is.
CREATE TABLE reporting.subject_key (
    tenant_id text PRIMARY KEY,
    sealed bytea NOT NULL
);
CREATE TABLE reporting.subject_case (
    tenant_id text NOT NULL,
    subject_case_id text NOT NULL,
    kind smallint NOT NULL,
    state smallint NOT NULL,
    pseudonym text NOT NULL,
    -- The person's id under the case's own key; gone once the case has ended.
    sealed_subject bytea,
    dry_run boolean NOT NULL,
    reason text NOT NULL,
    author text NOT NULL,
    is_erasing boolean NOT NULL,
    message text NOT NULL,
    error text NOT NULL,
    content_hash text NOT NULL,
    file_id text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at timestamptz,
    expires_at timestamptz,
    PRIMARY KEY (tenant_id, subject_case_id),
    -- States 3 and 4 are ends.
    CHECK (sealed_subject IS NULL OR state NOT IN (3, 4))
);
CREATE INDEX ON reporting.subject_case (tenant_id, created_at, subject_case_id);
CREATE INDEX ON reporting.subject_case (tenant_id, pseudonym);
-- What is not done is looked for over all tenants.
CREATE INDEX ON reporting.subject_case (tenant_id, updated_at) WHERE sealed_subject IS NOT NULL;
CREATE TABLE reporting.subject_step (
    tenant_id text NOT NULL,
    subject_case_id text NOT NULL,
    service text NOT NULL,
    place integer NOT NULL,
    stage smallint NOT NULL,
    passes integer NOT NULL,
    found jsonb NOT NULL,
    changed jsonb NOT NULL,
    PRIMARY KEY (tenant_id, subject_case_id, service),
    FOREIGN KEY (tenant_id, subject_case_id) REFERENCES reporting.subject_case ON DELETE CASCADE
);
"""

RETENTION = """
CREATE TABLE reporting.retention_policy (
    tenant_id text NOT NULL,
    policy_id text NOT NULL,
    collection text NOT NULL,
    retention_days integer NOT NULL CHECK (retention_days > 0),
    filter text NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, policy_id)
);
CREATE UNIQUE INDEX retention_policy_once
    ON reporting.retention_policy (tenant_id, collection, md5(filter));
CREATE TABLE reporting.legal_hold (
    tenant_id text NOT NULL,
    legal_hold_id text NOT NULL,
    display_name text NOT NULL,
    collections text[] NOT NULL,
    subject_id text NOT NULL,
    filter text NOT NULL,
    author text NOT NULL,
    release_reason text NOT NULL,
    created_at timestamptz NOT NULL,
    released_at timestamptz,
    PRIMARY KEY (tenant_id, legal_hold_id)
);
CREATE TABLE reporting.retention_run (
    tenant_id text NOT NULL,
    run_id text NOT NULL,
    state smallint NOT NULL,
    dry_run boolean NOT NULL,
    author text NOT NULL,
    message text NOT NULL,
    error text NOT NULL,
    evidence_hash text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (tenant_id, run_id)
);
CREATE INDEX ON reporting.retention_run (tenant_id, created_at, run_id);
CREATE TABLE reporting.retention_step (
    tenant_id text NOT NULL,
    run_id text NOT NULL,
    place integer NOT NULL,
    service text NOT NULL,
    policy_id text NOT NULL,
    collection text NOT NULL,
    filter text NOT NULL,
    before_at timestamptz NOT NULL,
    is_removing boolean NOT NULL,
    is_done boolean NOT NULL,
    legal_hold_ids text[] NOT NULL,
    record_count bigint NOT NULL,
    held_count bigint NOT NULL,
    PRIMARY KEY (tenant_id, run_id, place),
    FOREIGN KEY (tenant_id, run_id) REFERENCES reporting.retention_run ON DELETE CASCADE
);
"""

TABLES = (
    *("subject_key", "subject_case", "subject_step", "retention_policy", "legal_hold"),
    *("retention_run", "retention_step"),
)


def upgrade() -> None:
    """Creates the tables and their row-level security."""
    run_script(op, SUBJECTS)
    run_script(op, RETENTION)
    create_data_key_table(op, SCHEMA)
    for table in TABLES:
        protect(op, f"{SCHEMA}.{table}")
