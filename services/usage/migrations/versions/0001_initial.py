"""Creates the directory, prices, events, changes and roll-ups.

Events are partitioned by month of usage. Partitions belong to the owner and are made and dropped
through functions that run as the owner, so the service's own role can read a partition only
through the parent table, where row-level security binds it.
"""

from __future__ import annotations

from alembic import op

from services.kernel.migrate import create_kernel_tables, protect, run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "usage"

MEASURES = """
    events bigint NOT NULL,
    failed_events bigint NOT NULL,
    unpriced_events bigint NOT NULL,
    retries bigint NOT NULL,
    quantity numeric NOT NULL,
    billed_cost numeric NOT NULL,
    effective_cost numeric NOT NULL,
    list_cost numeric NOT NULL,
    contracted_cost numeric NOT NULL,
    latency_ms_sum bigint NOT NULL,
    latency_samples bigint NOT NULL,
    utilization_sum double precision NOT NULL,
    utilization_samples bigint NOT NULL,
    capacity_sum numeric NOT NULL,
    capacity_samples bigint NOT NULL
"""

DIRECTORY = """
CREATE TABLE usage.tenant (
    tenant_id text PRIMARY KEY,
    display_name text NOT NULL,
    time_zone text NOT NULL,
    currency_code text NOT NULL,
    price_revision bigint NOT NULL DEFAULT 0,
    revision integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE usage.department (
    tenant_id text NOT NULL,
    department_id text NOT NULL,
    parent_id text NOT NULL DEFAULT '',
    display_name text NOT NULL,
    PRIMARY KEY (tenant_id, department_id)
);
CREATE INDEX department_below ON usage.department (tenant_id, parent_id);
CREATE TABLE usage.directory_user (
    tenant_id text NOT NULL,
    user_id text NOT NULL,
    display_name text NOT NULL,
    email text NOT NULL DEFAULT '',
    department_id text NOT NULL DEFAULT '',
    manager_id text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX user_in_department ON usage.directory_user (tenant_id, department_id);
CREATE INDEX user_below ON usage.directory_user (tenant_id, manager_id);
CREATE TABLE usage.api_key (
    tenant_id text NOT NULL,
    key_id text NOT NULL UNIQUE,
    display_name text NOT NULL,
    roles text[] NOT NULL,
    scopes text[] NOT NULL,
    secret_digest bytea NOT NULL,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    PRIMARY KEY (tenant_id, key_id)
);
CREATE TABLE usage.dimension (
    tenant_id text NOT NULL,
    dimension_id bigint GENERATED ALWAYS AS IDENTITY,
    digest bytea NOT NULL,
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
    PRIMARY KEY (tenant_id, dimension_id),
    UNIQUE (tenant_id, digest)
);
CREATE TABLE usage.rate_plan (
    tenant_id text NOT NULL,
    rate_plan_id bigint GENERATED ALWAYS AS IDENTITY,
    digest bytea NOT NULL,
    lines jsonb NOT NULL,
    PRIMARY KEY (tenant_id, rate_plan_id),
    UNIQUE (tenant_id, digest)
);
"""

# The sequence steps by more than the largest batch: one call numbers a batch.
EVENTS = """
CREATE SEQUENCE usage.event_sequence INCREMENT BY 16384;
CREATE TABLE usage.event_identity (
    tenant_id text NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    digest bytea NOT NULL,
    start_at timestamptz NOT NULL,
    sequence bigint NOT NULL,
    revision smallint NOT NULL DEFAULT 1,
    is_voided boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, source, event_id)
);
CREATE TABLE usage.event (
    tenant_id text NOT NULL,
    start_at timestamptz NOT NULL,
    sequence bigint NOT NULL,
    end_at timestamptz NOT NULL,
    dimension_id bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    source text NOT NULL,
    event_id text NOT NULL,
    quantity numeric(38, 18) NOT NULL,
    billed_cost numeric(38, 18) NOT NULL,
    effective_cost numeric(38, 18),
    list_cost numeric(38, 18),
    contracted_cost numeric(38, 18),
    rate_plan_id bigint,
    outcome smallint NOT NULL DEFAULT 1,
    retries integer NOT NULL DEFAULT 0,
    latency_ms bigint,
    error_code text,
    utilization double precision,
    capacity numeric(38, 18),
    components jsonb,
    is_unpriced boolean NOT NULL DEFAULT false,
    revision smallint NOT NULL DEFAULT 1,
    weight smallint NOT NULL DEFAULT 1,
    amend_reason text,
    PRIMARY KEY (tenant_id, start_at, sequence)
) PARTITION BY RANGE (start_at);
CREATE INDEX event_failed ON usage.event (tenant_id, start_at) WHERE outcome = 2;
CREATE TABLE usage.archived_month (
    month date PRIMARY KEY,
    events bigint NOT NULL,
    file_bytes bigint NOT NULL,
    file_path text NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION usage.make_event_partition(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    name text := 'event_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass('usage.' || quote_ident(name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('usage.make_event_partition'));
    -- Not to_regclass: the session remembers its answer from above until it locks a table.
    IF EXISTS (SELECT FROM pg_class
        WHERE relname = name AND relnamespace = 'usage'::regnamespace) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE usage.%I PARTITION OF usage.event FOR VALUES FROM (%L) TO (%L)',
        name, first || ' 00:00:00+00', (first + interval '1 month')::date || ' 00:00:00+00');
    EXECUTE format('REVOKE ALL ON usage.%I FROM PUBLIC, finops_usage, finops_usage_worker', name);
    RETURN true;
END $$;

CREATE FUNCTION usage.lock_event_partition(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    EXECUTE format('LOCK TABLE usage.%I IN ACCESS EXCLUSIVE MODE',
        'event_' || to_char(month, 'YYYY_MM'));
END $$;

CREATE FUNCTION usage.drop_event_partition(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    first date := date_trunc('month', month)::date;
BEGIN
    DELETE FROM usage.event_identity
        WHERE start_at >= (first::text || ' 00:00:00+00')::timestamptz
          AND start_at < ((first + interval '1 month')::date::text || ' 00:00:00+00')::timestamptz;
    EXECUTE format('DROP TABLE usage.%I', 'event_' || to_char(first, 'YYYY_MM'));
END $$;

-- A month holds every tenant's events: only the worker, which archives them, may drop it.
REVOKE ALL ON FUNCTION usage.lock_event_partition, usage.drop_event_partition
    FROM PUBLIC, finops_usage;

CREATE FUNCTION usage.event_partition_months() RETURNS SETOF date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT to_date(substr(c.relname, 7), 'YYYY_MM')
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'usage.event'::regclass ORDER BY 1
$$;
"""

CHANGES = f"""
CREATE SEQUENCE usage.cost_change_sequence CACHE 1000;
CREATE TABLE usage.cost_change (
    tenant_id text NOT NULL,
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    sequence bigint NOT NULL DEFAULT nextval('usage.cost_change_sequence'),
    hour_at timestamptz NOT NULL,
    dimension_id bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    {MEASURES},
    is_correction boolean NOT NULL DEFAULT false,
    traceparent text,
    PRIMARY KEY (tenant_id, transaction_id, sequence)
);
CREATE INDEX cost_change_position ON usage.cost_change (transaction_id);
CREATE TABLE usage.rollup_hour (
    tenant_id text NOT NULL,
    hour_at timestamptz NOT NULL,
    dimension_id bigint NOT NULL,
    {MEASURES},
    PRIMARY KEY (tenant_id, hour_at, dimension_id)
);
CREATE TABLE usage.rollup_day (
    tenant_id text NOT NULL,
    day date NOT NULL,
    dimension_id bigint NOT NULL,
    {MEASURES},
    PRIMARY KEY (tenant_id, day, dimension_id)
);
CREATE TABLE usage.rollup_mark (
    tenant_id text PRIMARY KEY,
    transaction_id xid8 NOT NULL DEFAULT '0',
    sequence bigint NOT NULL DEFAULT 0,
    rolled_up_at timestamptz NOT NULL DEFAULT now()
);
"""

PRICES = """
CREATE TABLE usage.price_book (
    tenant_id text NOT NULL,
    price_book_id text NOT NULL,
    display_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, price_book_id)
);
CREATE TABLE usage.price (
    tenant_id text NOT NULL,
    price_id text NOT NULL,
    price_book_id text NOT NULL,
    resource_type text NOT NULL,
    meter text NOT NULL,
    provider text NOT NULL DEFAULT '',
    service text NOT NULL DEFAULT '',
    region text NOT NULL DEFAULT '',
    resource_id text NOT NULL DEFAULT '',
    currency_code text NOT NULL,
    model text NOT NULL,
    tiers jsonb NOT NULL,
    per_quantity numeric(38, 18) NOT NULL DEFAULT 1,
    effective_start_at timestamptz,
    effective_end_at timestamptz,
    peak_schedule_id text NOT NULL DEFAULT '',
    charge_on text NOT NULL,
    threshold_meters text[] NOT NULL DEFAULT '{}',
    time_zone text NOT NULL DEFAULT 'UTC',
    recorded_at timestamptz NOT NULL DEFAULT now(),
    superseded_at timestamptz,
    PRIMARY KEY (tenant_id, price_id, recorded_at),
    FOREIGN KEY (tenant_id, price_book_id) REFERENCES usage.price_book
);
CREATE INDEX price_match ON usage.price (tenant_id, resource_type, meter, resource_id);
CREATE TABLE usage.peak_schedule (
    tenant_id text NOT NULL,
    peak_schedule_id text NOT NULL,
    display_name text NOT NULL,
    time_zone text NOT NULL,
    windows jsonb NOT NULL,
    exception_dates date[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, peak_schedule_id)
);
CREATE TABLE usage.price_month (
    tenant_id text NOT NULL,
    price_id text NOT NULL,
    month date NOT NULL,
    quantity numeric(38, 18) NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, price_id, month)
);
CREATE TABLE usage.allocation_rule (
    tenant_id text NOT NULL,
    allocation_rule_id text NOT NULL,
    version integer NOT NULL,
    display_name text NOT NULL,
    priority integer NOT NULL,
    source jsonb NOT NULL,
    method text NOT NULL,
    target_dimension text NOT NULL,
    targets jsonb NOT NULL,
    driver_resource_type text NOT NULL DEFAULT '',
    driver_unit text NOT NULL DEFAULT '',
    effective_start_at timestamptz,
    effective_end_at timestamptz,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, allocation_rule_id, version)
);
"""

IMPORTS = """
CREATE TABLE usage.import_file (
    tenant_id text NOT NULL,
    import_id text NOT NULL,
    kind text NOT NULL,
    file_name text NOT NULL,
    model text NOT NULL DEFAULT '',
    trace_start_at timestamptz,
    source text NOT NULL DEFAULT '',
    state text NOT NULL,
    received_bytes bigint NOT NULL DEFAULT 0,
    total_bytes bigint NOT NULL,
    rows bigint NOT NULL DEFAULT 0,
    accepted bigint NOT NULL DEFAULT 0,
    duplicate bigint NOT NULL DEFAULT 0,
    conflict bigint NOT NULL DEFAULT 0,
    invalid bigint NOT NULL DEFAULT 0,
    failure text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, import_id)
);
CREATE TABLE usage.import_part (
    tenant_id text NOT NULL,
    import_id text NOT NULL,
    offset_bytes bigint NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (tenant_id, import_id, offset_bytes),
    FOREIGN KEY (tenant_id, import_id) REFERENCES usage.import_file ON DELETE CASCADE
);
CREATE TABLE usage.import_reject (
    tenant_id text NOT NULL,
    import_id text NOT NULL,
    row_number bigint NOT NULL,
    field text NOT NULL,
    reject_reason text NOT NULL,
    excerpt text NOT NULL,
    PRIMARY KEY (tenant_id, import_id, row_number),
    FOREIGN KEY (tenant_id, import_id) REFERENCES usage.import_file ON DELETE CASCADE
);
"""

TENANT_TABLES = (
    "tenant",
    "department",
    "directory_user",
    "api_key",
    "dimension",
    "rate_plan",
    "event_identity",
    "event",
    "cost_change",
    "rollup_hour",
    "rollup_day",
    "rollup_mark",
    "price_book",
    "price",
    "peak_schedule",
    "price_month",
    "allocation_rule",
    "import_file",
    "import_part",
    "import_reject",
)

SHARED_TABLES = {"tenant", "price_book", "price", "peak_schedule"}


def upgrade() -> None:
    """Creates the schema's tables, their row-level security and the kernel's tables."""
    for script in (DIRECTORY, EVENTS, CHANGES, PRICES, IMPORTS):
        run_script(op, script)
    for table in TENANT_TABLES:
        # What the tenant `*` owns holds for everybody: all read it, only the worker role writes.
        shared = "*" if table in SHARED_TABLES else None
        protect(op, f"{SCHEMA}.{table}", shared_tenant=shared)
    run_script(op, "INSERT INTO usage.tenant VALUES ('*', 'Every tenant', 'UTC', 'USD')")
    create_kernel_tables(op, SCHEMA)
