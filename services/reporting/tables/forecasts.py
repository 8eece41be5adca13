"""Forecasts that were made, to be compared with what came."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Integer, Numeric, Table, Text

from services.reporting.tables import metadata

_Money = Numeric(38, 18)
_Instant = DateTime(timezone=True)

made_forecast = Table(
    "made_forecast",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    # Digest of filter, cost type, currency and horizon: what may be compared with each other.
    Column("question_key", Text, primary_key=True),
    # First instant that was forecast; of several forecasts of one day the first is kept.
    Column("horizon_start", _Instant, primary_key=True),
    Column("horizon_end", _Instant, nullable=False),
    Column("horizon_days", Integer, nullable=False),
    Column("filter", Text, nullable=False),
    Column("cost_type", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("made_at", _Instant, nullable=False),
    Column("model", Text, nullable=False),
    Column("expected", _Money, nullable=False),
    Column("lower", _Money, nullable=False),
    Column("upper", _Money, nullable=False),
    Column("level", Numeric, nullable=False),
)
