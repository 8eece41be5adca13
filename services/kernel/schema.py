"""The tables every service has, and what a migration calls to make them safe.

A released function here never changes what it creates: a service's first migration calls it, so a
change is a new function that a new migration calls.
"""

from __future__ import annotations

from typing import Any, Protocol

from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment
from pgqueuer.domain.settings import DBSettings
from pgqueuer.domain.types import Channel
from sqlalchemy import Connection, Executable

TENANT_SETTING = "app.tenant_id"


class Operations(Protocol):
    """What is used of Alembic's `op`, which is a module."""

    def execute(
        self, sqltext: Executable | str, *, execution_options: dict[str, Any] | None = None
    ) -> None:
        """Runs one statement."""

    def get_bind(self) -> Connection:
        """Returns the connection the migration runs on."""


def run_script(op: Operations, script: str) -> None:
    """Runs several statements, separated by semicolons, in the migration's transaction."""
    op.execute("SELECT 1")  # the driver begins the transaction with its first prepared statement
    connection: Any = op.get_bind().connection.dbapi_connection
    connection.run_async(lambda driver: driver.execute(script))


def service_role(schema: str) -> str:
    """Returns the role that answers a service's calls, bound to one tenant a transaction."""
    return f"finops_{schema}"


def worker_role(schema: str) -> str:
    """Returns the role that does a service's background work over all tenants."""
    return f"finops_{schema}_worker"


def protect(op: Operations, table: str, *, shared_tenant: str | None = None) -> None:
    """Binds a tenant table to row-level security.

    table: `schema.table` with a `tenant_id` column; a partition needs the same call as its parent,
    because whoever names the partition itself passes the parent's policies by.
    shared_tenant: a tenant whose rows everybody reads, and only itself writes.
    """
    schema, _, name = table.partition(".")
    if not name:
        raise ValueError(f"protect needs schema.table, not {table!r}")
    role, worker = service_role(schema), worker_role(schema)
    # NULLIF: after a transaction the setting is the empty string, which must match no row.
    own = f"tenant_id = NULLIF(current_setting('{TENANT_SETTING}', true), '')"
    script = f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
        CREATE POLICY tenant_isolation ON {table} TO {role} USING ({own}) WITH CHECK ({own});
        CREATE POLICY worker_access ON {table} TO {worker} USING (true) WITH CHECK (true);
        -- Migrations and SECURITY DEFINER functions run as the owner, which FORCE would blind.
        CREATE POLICY owner_access ON {table} TO CURRENT_USER USING (true) WITH CHECK (true);
    """
    if shared_tenant is not None:
        script += f"""
        CREATE POLICY shared_rows ON {table} FOR SELECT TO {role}
            USING (tenant_id = '{shared_tenant}');
        """
    run_script(op, script)


def create_kernel_tables(op: Operations, schema: str) -> None:
    """Creates audit, idempotency, feed cursor and job tables in a service's schema."""
    _create_audit(op, schema)
    _create_idempotency(op, schema)
    _create_feeds(op, schema)
    _create_jobs(op, schema)


def create_feed_table(op: Operations, table: str) -> None:
    """Creates an append-only feed of encoded facts. table: `schema.table`."""
    schema = table.partition(".")[0]
    run_script(
        op,
        f"""
        CREATE TABLE {table} (
            tenant_id text NOT NULL,
            transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
            sequence bigint GENERATED ALWAYS AS IDENTITY,
            appended_at timestamptz NOT NULL DEFAULT now(),
            traceparent text,
            kind text NOT NULL,
            payload bytea NOT NULL,
            PRIMARY KEY (tenant_id, transaction_id, sequence)
        );
        -- Workers read across tenants, in feed order.
        CREATE INDEX ON {table} (transaction_id, sequence);
        REVOKE UPDATE, DELETE ON {table} FROM {service_role(schema)};
        """,
    )
    protect(op, table)


def create_data_key_table(op: Operations, schema: str) -> None:
    """Creates the table of wrapped data keys that kernel.envelope keeps secrets with."""
    run_script(
        op,
        f"""
        CREATE TABLE {schema}.data_key (
            tenant_id text NOT NULL,
            -- Empty for the tenant's own.
            key_name text NOT NULL,
            data_key_id bytea NOT NULL,
            master_key_id text NOT NULL,
            wrapped bytea NOT NULL,
            is_current boolean NOT NULL DEFAULT true,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant_id, key_name, data_key_id)
        );
        CREATE UNIQUE INDEX ON {schema}.data_key (tenant_id, key_name) WHERE is_current;
        """,
    )
    protect(op, f"{schema}.data_key")


def create_record_tables(op: Operations, schema: str) -> None:
    """Creates what kernel.audit_subjects and kernel.records_keeping keep beside other tables."""
    role = service_role(schema)
    run_script(
        op,
        f"""
        -- Whose the tokens in audit entries are; an erasure puts a pseudonym here.
        CREATE TABLE {schema}.audit_subject (
            tenant_id text NOT NULL,
            token text NOT NULL,
            subject_id text NOT NULL,
            PRIMARY KEY (tenant_id, token)
        );
        CREATE UNIQUE INDEX ON {schema}.audit_subject (tenant_id, subject_id);
        REVOKE DELETE ON {schema}.audit_subject FROM {role}, {role}_worker;
        -- The legal holds that compliance named last, for removals that it does not ask for.
        CREATE TABLE {schema}.record_hold (
            tenant_id text NOT NULL,
            collection text NOT NULL,
            held_filters text[] NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant_id, collection)
        );
        """,
    )
    protect(op, f"{schema}.audit_subject")
    protect(op, f"{schema}.record_hold")


def _create_audit(op: Operations, schema: str) -> None:
    run_script(op, _AUDIT_SCRIPT.format(schema=schema, role=service_role(schema)))
    protect(op, f"{schema}.audit_entry")
    protect(op, f"{schema}.audit_head")


# The database itself numbers and links the entries, in a trigger that runs as the owner: a service
# can add an entry, but neither choose its place and hash nor touch the head or an older entry.
# services/kernel/audit.py computes the same hash to verify the chain.
_AUDIT_SCRIPT = """
    CREATE TABLE {schema}.audit_head (
        tenant_id text PRIMARY KEY,
        sequence bigint NOT NULL,
        hash bytea NOT NULL
    );
    CREATE TABLE {schema}.audit_entry (
        tenant_id text NOT NULL,
        sequence bigint NOT NULL,
        recorded_at timestamptz NOT NULL,
        actor text NOT NULL,
        credential_id text NOT NULL,
        action text NOT NULL,
        resource text NOT NULL,
        request_id text NOT NULL,
        trace_id text NOT NULL,
        before json,
        after json,
        previous_hash bytea NOT NULL,
        hash bytea NOT NULL,
        PRIMARY KEY (tenant_id, sequence)
    );
    CREATE INDEX ON {schema}.audit_entry (tenant_id, resource, sequence);

    CREATE FUNCTION {schema}.audit_frame(field text) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT CASE WHEN field IS NULL THEN int8send(-1)
            ELSE int8send(octet_length(convert_to(field, 'UTF8'))) || convert_to(field, 'UTF8') END
    $$;

    CREATE FUNCTION {schema}.audit_link() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
    BEGIN
        INSERT INTO audit_head AS head (tenant_id, sequence, hash)
        VALUES (NEW.tenant_id, 0, decode(repeat('00', 32), 'hex'))
        ON CONFLICT (tenant_id) DO NOTHING;
        SELECT head.sequence + 1, head.hash INTO NEW.sequence, NEW.previous_hash
        FROM audit_head AS head WHERE head.tenant_id = NEW.tenant_id FOR UPDATE;
        NEW.recorded_at := clock_timestamp();
        NEW.hash := sha256(
            NEW.previous_hash
            || audit_frame(NEW.tenant_id)
            || audit_frame(NEW.sequence::text)
            || audit_frame((extract(epoch FROM NEW.recorded_at) * 1000000)::bigint::text)
            || audit_frame(NEW.actor)
            || audit_frame(NEW.credential_id)
            || audit_frame(NEW.action)
            || audit_frame(NEW.resource)
            || audit_frame(NEW.request_id)
            || audit_frame(NEW.trace_id)
            || audit_frame(NEW.before::text)
            || audit_frame(NEW.after::text));
        UPDATE audit_head AS head SET sequence = NEW.sequence, hash = NEW.hash
        WHERE head.tenant_id = NEW.tenant_id;
        RETURN NEW;
    END $$;
    REVOKE ALL ON FUNCTION {schema}.audit_link() FROM PUBLIC;
    CREATE TRIGGER audit_link BEFORE INSERT ON {schema}.audit_entry
        FOR EACH ROW EXECUTE FUNCTION {schema}.audit_link();

    CREATE FUNCTION {schema}.audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'audit entries are append-only' USING ERRCODE = 'insufficient_privilege';
    END $$;
    CREATE TRIGGER audit_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.audit_entry
        FOR EACH STATEMENT EXECUTE FUNCTION {schema}.audit_refuse();
    CREATE TRIGGER audit_refuse BEFORE DELETE OR TRUNCATE ON {schema}.audit_head
        FOR EACH STATEMENT EXECUTE FUNCTION {schema}.audit_refuse();

    REVOKE ALL ON {schema}.audit_entry, {schema}.audit_head FROM {role}, {role}_worker;
    GRANT SELECT, INSERT ON {schema}.audit_entry TO {role}, {role}_worker;
    GRANT SELECT ON {schema}.audit_head TO {role}, {role}_worker;
"""


def _create_idempotency(op: Operations, schema: str) -> None:
    run_script(
        op,
        f"""
        CREATE TABLE {schema}.idempotent_response (
            tenant_id text NOT NULL,
            method text NOT NULL,
            request_id text NOT NULL,
            digest bytea NOT NULL,
            -- Empty only inside the transaction that claims the request_id.
            response bytea NOT NULL DEFAULT '',
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant_id, method, request_id)
        );
        CREATE INDEX ON {schema}.idempotent_response (tenant_id, created_at);
        """,
    )
    protect(op, f"{schema}.idempotent_response")


def _create_feeds(op: Operations, schema: str) -> None:
    run_script(
        op,
        f"""
        CREATE TABLE {schema}.feed_cursor (
            name text PRIMARY KEY,
            position text NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now()
        );
        -- Which transactions were certain when: the age of facts without an instant of their own.
        CREATE TABLE {schema}.feed_mark (
            feed text NOT NULL,
            marked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            transaction_id xid8 NOT NULL,
            PRIMARY KEY (feed, marked_at)
        );
        -- Before it, facts were trimmed.
        CREATE TABLE {schema}.feed_floor (
            feed text PRIMARY KEY,
            transaction_id xid8 NOT NULL,
            sequence bigint NOT NULL
        );
        REVOKE ALL ON {schema}.feed_cursor, {schema}.feed_mark, {schema}.feed_floor
            FROM {service_role(schema)};
        GRANT SELECT ON {schema}.feed_floor TO {service_role(schema)};
        """,
    )


def job_settings(schema: str) -> DBSettings:
    """Returns where PgQueuer's tables of a service are; its channel is the service's own."""
    return DBSettings(db_schema=schema, channel=Channel(f"{schema}_jobs"))


def _create_jobs(op: Operations, schema: str) -> None:
    environment = QueryBuilderEnvironment(job_settings(schema))
    run_script(op, environment.build_install_query(create_schema=False))
    names = environment.qualified
    role = service_role(schema)
    run_script(
        op,
        f"""
        -- Which ticks of which schedule were queued, so that of many workers one does it.
        CREATE TABLE {schema}.job_tick (
            schedule text NOT NULL,
            tick_at timestamptz NOT NULL,
            PRIMARY KEY (schedule, tick_at)
        );
        -- A job may be any tenant's: the service's role adds jobs and reads no payload.
        REVOKE ALL ON {names.queue_table}, {names.queue_table_log}, {names.statistics_table},
            {names.schedules_table}, {schema}.job_tick FROM {role};
        GRANT INSERT, SELECT (id, entrypoint, priority, dedupe_key, status)
            ON {names.queue_table} TO {role};
        GRANT INSERT ON {names.queue_table_log} TO {role};
        """,
    )
