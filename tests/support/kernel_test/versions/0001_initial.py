"""Creates the kernel's tables and those of the kernel's own tests."""
# ruff: noqa: INP001 - Alembic loads revisions by their path

from __future__ import annotations

from alembic import op

from services.kernel.migrate import (
    create_data_key_table,
    create_feed_table,
    create_kernel_tables,
    create_record_tables,
    protect,
    run_script,
)

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the schema, under whatever name the test migrates it."""
    schema = op.get_context().version_table_schema
    assert schema is not None
    create_kernel_tables(op, schema)
    create_record_tables(op, schema)
    create_data_key_table(op, schema)
    create_feed_table(op, f"{schema}.note_feed")
    run_script(
        op,
        f"""
        CREATE TABLE {schema}.note (
            tenant_id text NOT NULL,
            note_id text NOT NULL,
            text text NOT NULL,
            PRIMARY KEY (tenant_id, note_id)
        );
        CREATE TABLE {schema}.applied (
            tenant_id text NOT NULL,
            note_id text NOT NULL,
            times integer NOT NULL,
            PRIMARY KEY (tenant_id, note_id)
        );

        -- A row here ends its own connection in the commit, after the client has sent it.
        CREATE TABLE {schema}.dying (number integer);
        CREATE FUNCTION {schema}.die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            PERFORM pg_terminate_backend(pg_backend_pid());
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER die AFTER INSERT ON {schema}.dying
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.die();
        """,
    )
    protect(op, f"{schema}.note")
    protect(op, f"{schema}.applied")
