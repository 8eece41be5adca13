"""Budgets, their versions, temporary increases and periods."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Integer,
    Numeric,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.budget.tables import metadata

_Money = Numeric(38, 18)
_Instant = DateTime(timezone=True)

# Counts every change of a tenant's budgets, versions and increases: an index of them that was read
# at this number is complete as long as the number stands.
tenant_revision = Table(
    "tenant_revision",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    # Newest change of the tenant in the cost feed that its consumer has counted.
    Column("counted_sequence", Text, nullable=False),
)

budget = Table(
    "budget",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("budget_id", Text, primary_key=True),
    Column("revision", Integer, nullable=False),
    # DRAFT is stored; the other states follow from these instants and now.
    Column("is_draft", Boolean, nullable=False),
    Column("started_at", _Instant),
    Column("ended_at", _Instant),
    Column("created_by", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
)

budget_version = Table(
    "budget_version",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("budget_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("effective_at", _Instant, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("terms", JSONB, nullable=False),
    # What lists filter and order by, read from the terms by the database itself.
    Column("display_name", Text, Computed("terms ->> 'display_name'")),
    Column("amount", _Money, Computed("(terms ->> 'amount')::numeric")),
    Column("currency_code", Text, Computed("terms ->> 'currency_code'")),
    Column("enforcement", Text, Computed("terms ->> 'enforcement'")),
    Column("cadence", Text, Computed("terms -> 'rule' ->> 'cadence'")),
    Column("department_id", Text, Computed("terms -> 'scope' ->> 'department_id'")),
    Column("user_id", Text, Computed("terms -> 'scope' ->> 'user_id'")),
    Column("resource_type", Text, Computed("terms -> 'scope' ->> 'resource_type'")),
    Column("project", Text, Computed("terms -> 'scope' ->> 'project'")),
)

budget_increase = Table(
    "budget_increase",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("budget_id", Text, primary_key=True),
    Column("increase_id", Text, primary_key=True),
    Column("amount", _Money, nullable=False),
    Column("start_at", _Instant, nullable=False),
    Column("end_at", _Instant, nullable=False),
    Column("revoked_at", _Instant),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
)

# The row that authorizations lock and change: all that a decision compares stands in it, so that
# one statement over the rows of all covering budgets, ordered by budget_id, decides.
budget_period = Table(
    "budget_period",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("budget_id", Text, primary_key=True),
    Column("period_start", _Instant, primary_key=True),
    Column("period_end", _Instant, nullable=False),
    Column("version", Integer, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("amount", _Money, nullable=False),
    Column("rolled_over", _Money, nullable=False),
    Column("increased", _Money, nullable=False),
    # Generated: amount + rolled_over + increased.
    Column("limit_amount", _Money, Computed("amount + rolled_over + increased")),
    # Amount and increased hold before this instant; from it on the row is opened again.
    Column("limit_until", _Instant, nullable=False),
    Column("spent", _Money, nullable=False),
    Column("held", _Money, nullable=False),
    Column("excess", _Money, nullable=False),
    Column("unpriced_events", BigInteger, nullable=False),
    Column("denied_count", BigInteger, nullable=False),
    # Changes of the cost feed up to here are in `spent` already: the consumer skips them.
    Column("filled_sequence", Text, nullable=False),
    Column("closed_at", _Instant),
    Column("revision", BigInteger, nullable=False),
)
