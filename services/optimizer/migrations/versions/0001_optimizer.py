"""Creates usage statistics, catalogues, runs, recommendations and measurements."""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import (
    create_feed_table,
    create_kernel_tables,
    protect,
    run_script,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "optimizer"

STATISTICS = """
CREATE TABLE optimizer.tenant (
    tenant_id text PRIMARY KEY,
    time_zone text NOT NULL,
    currency_code text NOT NULL,
    refreshed_at timestamptz NOT NULL
);
CREATE TABLE optimizer.dimension (
    tenant_id text NOT NULL,
    series_id bigint NOT NULL,
    resource_type text NOT NULL,
    unit text NOT NULL,
    currency_code text NOT NULL,
    user_id text NOT NULL,
    department text NOT NULL,
    project text NOT NULL,
    resource_id text NOT NULL,
    service text NOT NULL,
    service_category text NOT NULL,
    provider text NOT NULL,
    region text NOT NULL,
    sub_account_id text NOT NULL,
    charge_category text NOT NULL,
    tags jsonb NOT NULL,
    PRIMARY KEY (tenant_id, series_id)
);
-- hours: 3 x 24 little-endian doubles: cost, quantity and events of each UTC hour. They weigh the
-- exact sums beside them and are no amounts.
CREATE TABLE optimizer.usage_day (
    tenant_id text NOT NULL,
    day date NOT NULL,
    series_id bigint NOT NULL,
    cost numeric NOT NULL,
    quantity numeric NOT NULL,
    events bigint NOT NULL,
    failed_events bigint NOT NULL,
    hours bytea NOT NULL,
    PRIMARY KEY (tenant_id, day, series_id)
);
-- Days whose failures or samples changed and are to be read again, event by event.
CREATE TABLE optimizer.changed_day (
    tenant_id text NOT NULL,
    day date NOT NULL,
    changes bigint NOT NULL DEFAULT 1,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, day)
);
-- minutes: of the UTC day, little-endian smallints; ratios: as many little-endian floats.
CREATE TABLE optimizer.utilization_day (
    tenant_id text NOT NULL,
    day date NOT NULL,
    resource_id text NOT NULL,
    measure text NOT NULL,
    capacity numeric,
    unit text NOT NULL,
    minutes bytea NOT NULL,
    ratios bytea NOT NULL,
    PRIMARY KEY (tenant_id, day, resource_id, measure)
);
CREATE INDEX utilization_of ON optimizer.utilization_day (tenant_id, resource_id, day);
CREATE TABLE optimizer.attempt_day (
    tenant_id text NOT NULL,
    day date NOT NULL,
    series_id bigint NOT NULL,
    hour smallint NOT NULL,
    error_code text NOT NULL,
    is_failed boolean NOT NULL,
    retries integer NOT NULL,
    operations bigint NOT NULL,
    cost numeric NOT NULL,
    PRIMARY KEY (tenant_id, day, series_id, hour, error_code, is_failed, retries)
);
"""

CATALOGUES = """
CREATE TABLE optimizer.catalogue (
    tenant_id text NOT NULL,
    catalogue_id text NOT NULL,
    provider text NOT NULL,
    currency_code text NOT NULL,
    type_count integer NOT NULL,
    content_hash text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, catalogue_id)
);
CREATE TABLE optimizer.instance_type (
    tenant_id text NOT NULL,
    catalogue_id text NOT NULL,
    instance_type text NOT NULL,
    region text NOT NULL,
    family text NOT NULL,
    provider text NOT NULL,
    vcpus numeric NOT NULL,
    memory_gib numeric NOT NULL,
    gpus numeric NOT NULL,
    gpu_model text NOT NULL,
    currency_code text NOT NULL,
    hourly_price numeric(38, 18) NOT NULL,
    reserved_hourly_price numeric(38, 18),
    architecture text NOT NULL,
    is_current boolean NOT NULL,
    is_burstable boolean NOT NULL,
    idle_watts numeric,
    busy_watts numeric,
    PRIMARY KEY (tenant_id, catalogue_id, instance_type, region),
    FOREIGN KEY (tenant_id, catalogue_id) REFERENCES optimizer.catalogue ON DELETE CASCADE
);
CREATE TABLE optimizer.emission_factor (
    tenant_id text NOT NULL,
    provider text NOT NULL,
    region text NOT NULL,
    resource_type text NOT NULL,
    unit text NOT NULL,
    factor numeric NOT NULL,
    source text NOT NULL,
    valid_from text NOT NULL,
    PRIMARY KEY (tenant_id, provider, region, resource_type, unit)
);
"""

RUNS = """
CREATE TABLE optimizer.detector_settings (
    tenant_id text NOT NULL,
    detector_id text NOT NULL,
    is_disabled boolean NOT NULL,
    headroom numeric NOT NULL,
    saving_min numeric NOT NULL,
    confidence_min numeric NOT NULL,
    history_days_min integer NOT NULL,
    excluded_resource_ids text[] NOT NULL,
    schedule text NOT NULL,
    revision integer NOT NULL,
    PRIMARY KEY (tenant_id, detector_id)
);
-- When a detector ran by its schedule, and when usage last asked for a run.
CREATE TABLE optimizer.due_run (
    tenant_id text NOT NULL,
    trigger text NOT NULL,
    due_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, trigger)
);
CREATE INDEX due_run_at ON optimizer.due_run (tenant_id, due_at);
CREATE TABLE optimizer.run (
    tenant_id text NOT NULL,
    run_id text NOT NULL,
    state smallint NOT NULL,
    trigger smallint NOT NULL,
    detector_ids text[] NOT NULL,
    filter text NOT NULL,
    start_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL,
    tenant_count integer NOT NULL,
    done_count integer NOT NULL DEFAULT 0,
    failed_count integer NOT NULL DEFAULT 0,
    event_count bigint NOT NULL DEFAULT 0,
    found_count integer NOT NULL DEFAULT 0,
    refreshed_count integer NOT NULL DEFAULT 0,
    expired_count integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (tenant_id, run_id)
);
CREATE INDEX run_by_age ON optimizer.run (tenant_id, created_at, run_id);
CREATE TABLE optimizer.run_target (
    tenant_id text NOT NULL,
    run_id text NOT NULL,
    target_id text NOT NULL,
    is_done boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, run_id, target_id),
    FOREIGN KEY (tenant_id, run_id) REFERENCES optimizer.run ON DELETE CASCADE
);
"""

RECOMMENDATIONS = """
CREATE TABLE optimizer.recommendation (
    tenant_id text NOT NULL,
    recommendation_id text NOT NULL,
    detector_id text NOT NULL,
    finding_key text NOT NULL,
    kind smallint NOT NULL,
    state smallint NOT NULL,
    currency_code text NOT NULL,
    saving_expected numeric(38, 18) NOT NULL,
    saving_lower numeric(38, 18) NOT NULL,
    saving_upper numeric(38, 18) NOT NULL,
    monthly_cost numeric(38, 18) NOT NULL,
    one_time_cost numeric(38, 18),
    monthly_kg_co2e numeric,
    confidence numeric NOT NULL,
    effort smallint NOT NULL,
    risk smallint NOT NULL,
    rank integer NOT NULL DEFAULT 0,
    department text NOT NULL,
    project text NOT NULL,
    resource_type text NOT NULL,
    resource_ids text[] NOT NULL,
    content jsonb NOT NULL,
    parts jsonb NOT NULL,
    owner text NOT NULL DEFAULT '',
    notes text NOT NULL DEFAULT '',
    snoozed_until timestamptz,
    dismissal_reason smallint NOT NULL DEFAULT 0,
    completed_at timestamptz,
    revision integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, recommendation_id)
);
-- The same cause has one recommendation that is alive; what was done stays as history beside it.
CREATE UNIQUE INDEX recommendation_cause
    ON optimizer.recommendation (tenant_id, detector_id, finding_key, kind)
    WHERE state NOT IN (4, 5, 6);
CREATE INDEX recommendation_rank ON optimizer.recommendation (tenant_id, rank, recommendation_id);
CREATE TABLE optimizer.recommendation_event (
    tenant_id text NOT NULL,
    recommendation_id text NOT NULL,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    from_state smallint,
    to_state smallint NOT NULL,
    actor text NOT NULL,
    note text NOT NULL,
    happened_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, recommendation_id, sequence)
);
CREATE TABLE optimizer.measurement (
    tenant_id text NOT NULL,
    measurement_id text NOT NULL,
    recommendation_id text NOT NULL,
    verdict smallint NOT NULL,
    currency_code text NOT NULL,
    before_start timestamptz NOT NULL,
    before_end timestamptz NOT NULL,
    after_start timestamptz NOT NULL,
    after_end timestamptz NOT NULL,
    claimed_expected numeric(38, 18) NOT NULL,
    claimed_lower numeric(38, 18) NOT NULL,
    claimed_upper numeric(38, 18) NOT NULL,
    realized_expected numeric(38, 18) NOT NULL,
    realized_lower numeric(38, 18) NOT NULL,
    realized_upper numeric(38, 18) NOT NULL,
    actual_cost numeric(38, 18) NOT NULL,
    counterfactual_cost numeric(38, 18) NOT NULL,
    volume_effect numeric NOT NULL,
    price_effect numeric NOT NULL,
    model text NOT NULL,
    error_ratio numeric NOT NULL,
    measured_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, measurement_id)
);
CREATE INDEX measurement_of
    ON optimizer.measurement (tenant_id, recommendation_id, measured_at, measurement_id);
"""

TENANT_TABLES = (
    *("tenant", "dimension", "usage_day", "changed_day", "utilization_day", "attempt_day"),
    *("catalogue", "instance_type", "emission_factor", "detector_settings", "due_run"),
    *("run", "run_target", "recommendation", "recommendation_event", "measurement"),
)


def upgrade() -> None:
    """Creates the tables, their row-level security, the feed and the kernel's tables."""
    for script in (STATISTICS, CATALOGUES, RUNS, RECOMMENDATIONS):
        run_script(op, script)
    for table in TENANT_TABLES:
        protect(op, f"{SCHEMA}.{table}")
    create_feed_table(op, f"{SCHEMA}.recommendation_change")
    create_kernel_tables(op, SCHEMA)
