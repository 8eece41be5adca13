"""The tables of the usage service, as queries see them; migrations create them.

Every table of a tenant has `tenant_id` first in its key and is bound by row-level security.
"""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import UserDefinedType

SCHEMA = "usage"
GLOBAL_TENANT = "*"  # owns prices that hold for every tenant; no caller can be this tenant
metadata = MetaData(schema=SCHEMA)

_Money = Numeric(38, 18)
_Instant = DateTime(timezone=True)


class TransactionId(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id, which orders a feed."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Returns the type's name in SQL."""
        return "xid8"


def _measures() -> list[Column[object]]:
    """What is summed over events, the same in changes and roll-ups."""
    return [
        Column("events", BigInteger, nullable=False),
        Column("failed_events", BigInteger, nullable=False),
        Column("unpriced_events", BigInteger, nullable=False),
        Column("retries", BigInteger, nullable=False),
        Column("quantity", Numeric, nullable=False),
        Column("billed_cost", Numeric, nullable=False),
        Column("effective_cost", Numeric, nullable=False),
        Column("list_cost", Numeric, nullable=False),
        Column("contracted_cost", Numeric, nullable=False),
        Column("latency_ms_sum", BigInteger, nullable=False),
        Column("latency_samples", BigInteger, nullable=False),
        Column("utilization_sum", Double, nullable=False),
        Column("utilization_samples", BigInteger, nullable=False),
        Column("capacity_sum", Numeric, nullable=False),
        Column("capacity_samples", BigInteger, nullable=False),
    ]


MEASURES = tuple(str(column.name) for column in _measures())

tenant = Table(
    "tenant",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    # Counts changes of the tenant's prices, so that every replica knows when to read them again.
    Column("price_revision", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", _Instant, nullable=False),
)

department = Table(
    "department",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("department_id", Text, primary_key=True),
    Column("parent_id", Text, nullable=False),
    Column("display_name", Text, nullable=False),
)

directory_user = Table(
    "directory_user",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("department_id", Text, nullable=False),
    Column("manager_id", Text, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("secret_digest", LargeBinary, nullable=False),
    Column("expires_at", _Instant),
    Column("created_at", _Instant, nullable=False),
    Column("revoked_at", _Instant),
)

dimension = Table(
    "dimension",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("dimension_id", BigInteger, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("resource_type", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("department", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("service_category", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("sub_account_id", Text, nullable=False),
    Column("charge_category", Text, nullable=False),
    Column("tags", JSONB, nullable=False),
)

rate_plan = Table(
    "rate_plan",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("rate_plan_id", BigInteger, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("lines", JSONB, nullable=False),
)

event_identity = Table(
    "event_identity",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("start_at", _Instant, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("revision", SmallInteger, nullable=False),
    Column("is_voided", Boolean, nullable=False),
)

# One row a revision and one a reversal: `weight` is 1, or -1 where the row takes another back.
event = Table(
    "event",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("start_at", _Instant, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("end_at", _Instant, nullable=False),
    Column("dimension_id", BigInteger, nullable=False),
    Column("recorded_at", _Instant, nullable=False),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("quantity", _Money, nullable=False),
    Column("billed_cost", _Money, nullable=False),
    Column("effective_cost", _Money),
    Column("list_cost", _Money),
    Column("contracted_cost", _Money),
    Column("rate_plan_id", BigInteger),
    Column("outcome", SmallInteger, nullable=False),
    Column("retries", Integer, nullable=False),
    Column("latency_ms", BigInteger),
    Column("error_code", Text),
    Column("utilization", Double),
    Column("capacity", _Money),
    Column("components", JSONB),
    Column("is_unpriced", Boolean, nullable=False),
    Column("revision", SmallInteger, nullable=False),
    Column("weight", SmallInteger, nullable=False),
    Column("amend_reason", Text),
    # JSON of the columns that only a bill's row has, in the row's own text; null for other usage.
    Column("bill_columns", Text),
)

# Names of the columns in `event.bill_columns`, so that a table of them can begin with its header.
bill_column = Table(
    "bill_column",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("column_name", Text, primary_key=True),
)

cost_change = Table(
    "cost_change",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("transaction_id", TransactionId, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("hour_at", _Instant, nullable=False),
    Column("dimension_id", BigInteger, nullable=False),
    Column("recorded_at", _Instant, nullable=False),
    *_measures(),
    Column("is_correction", Boolean, nullable=False),
    Column("traceparent", Text),
)

rollup_hour = Table(
    "rollup_hour",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("hour_at", _Instant, primary_key=True),
    Column("dimension_id", BigInteger, primary_key=True),
    *_measures(),
)

rollup_day = Table(
    "rollup_day",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("dimension_id", BigInteger, primary_key=True),
    *_measures(),
)

# Changes up to this position are in the roll-ups; queries add those above it.
rollup_mark = Table(
    "rollup_mark",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("transaction_id", TransactionId, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("rolled_up_at", _Instant, nullable=False),
)

price_book = Table(
    "price_book",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("price_book_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
)

price = Table(
    "price",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("price_id", Text, primary_key=True),
    Column("price_book_id", Text, nullable=False),
    Column("resource_type", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("tiers", JSONB, nullable=False),
    Column("per_quantity", _Money, nullable=False),
    Column("effective_start_at", _Instant),
    Column("effective_end_at", _Instant),
    Column("peak_schedule_id", Text, nullable=False),
    Column("charge_on", Text, nullable=False),
    Column("threshold_meters", ARRAY(Text), nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("recorded_at", _Instant, primary_key=True),
    Column("superseded_at", _Instant),
)

peak_schedule = Table(
    "peak_schedule",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("peak_schedule_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("windows", JSONB, nullable=False),
    Column("exception_dates", ARRAY(Date), nullable=False),
)

# Running quantity a price has seen in a calendar month, for tiered prices.
price_month = Table(
    "price_month",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("price_id", Text, primary_key=True),
    Column("month", Date, primary_key=True),
    Column("quantity", _Money, nullable=False),
)

allocation_rule = Table(
    "allocation_rule",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("allocation_rule_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("source", JSONB, nullable=False),
    Column("method", Text, nullable=False),
    Column("target_dimension", Text, nullable=False),
    Column("targets", JSONB, nullable=False),
    Column("driver_resource_type", Text, nullable=False),
    Column("driver_unit", Text, nullable=False),
    Column("effective_start_at", _Instant),
    Column("effective_end_at", _Instant),
    Column("recorded_at", _Instant, nullable=False),
)

import_file = Table(
    "import_file",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("import_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("trace_start_at", _Instant),
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("received_bytes", BigInteger, nullable=False),
    Column("total_bytes", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("duplicate", BigInteger, nullable=False),
    Column("conflict", BigInteger, nullable=False),
    Column("invalid", BigInteger, nullable=False),
    Column("failure", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("updated_at", _Instant, nullable=False),
)

import_part = Table(
    "import_part",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("import_id", Text, primary_key=True),
    Column("offset_bytes", BigInteger, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

import_reject = Table(
    "import_reject",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("import_id", Text, primary_key=True),
    Column("row_number", BigInteger, primary_key=True),
    Column("field", Text, nullable=False),
    Column("reject_reason", Text, nullable=False),
    Column("excerpt", Text, nullable=False),
)

archived_month = Table(
    "archived_month",
    metadata,
    Column("month", Date, primary_key=True),
    Column("events", BigInteger, nullable=False),
    Column("file_bytes", BigInteger, nullable=False),
    Column("file_path", Text, nullable=False),
    Column("archived_at", _Instant, nullable=False),
)
