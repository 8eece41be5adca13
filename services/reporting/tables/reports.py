"""Reports, their sections and files, and the schedules that make them."""

from __future__ import annotations

from sqlalchemy import ARRAY, Boolean, Column, DateTime, Integer, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from services.reporting.tables import metadata

_Instant = DateTime(timezone=True)

report = Table(
    "report",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("report_id", Text, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("title", Text, nullable=False),
    # As it was asked for; empty where the title was made.
    Column("wished_title", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("group_by", ARRAY(Text), nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("formats", ARRAY(SmallInteger), nullable=False),
    Column("locale", Text, nullable=False),
    Column("theme", Text, nullable=False),
    Column("start_at", _Instant, nullable=False),
    Column("end_at", _Instant, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("done_units", Integer, nullable=False),
    Column("total_units", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("updated_at", _Instant, nullable=False),
    Column("error", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("schedule_id", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("ended_at", _Instant),
    Column("expires_at", _Instant, nullable=False),
)

report_section = Table(
    "report_section",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("report_id", Text, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("content", JSONB, nullable=False),
)

report_file = Table(
    "report_file",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("report_id", Text, primary_key=True),
    Column("format", SmallInteger, primary_key=True),
    Column("file_id", Text, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("byte_count", Integer, nullable=False),
)

report_schedule = Table(
    "report_schedule",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("schedule_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("cron", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("period_kind", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("group_by", ARRAY(Text), nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("formats", ARRAY(SmallInteger), nullable=False),
    Column("locale", Text, nullable=False),
    Column("recipients", ARRAY(Text), nullable=False),
    Column("channel_ids", ARRAY(Text), nullable=False),
    Column("disabled", Boolean, nullable=False),
    # Null where it is disabled, or its expression never comes again.
    Column("next_run_at", _Instant),
    Column("last_run_at", _Instant),
    Column("last_report_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", _Instant, nullable=False),
)
