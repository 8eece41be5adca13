"""Recommendations and their measurements as tables."""

from __future__ import annotations

from sqlalchemy import ARRAY, Column, DateTime, Integer, Numeric, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from services.optimizer.tables import metadata

_Instant = DateTime(timezone=True)
_Money = Numeric(38, 18)

recommendation = Table(
    "recommendation",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("recommendation_id", Text, primary_key=True),
    Column("detector_id", Text, nullable=False),
    Column("finding_key", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("saving_expected", _Money, nullable=False),
    Column("saving_lower", _Money, nullable=False),
    Column("saving_upper", _Money, nullable=False),
    Column("worth", _Money, nullable=False),
    Column("monthly_cost", _Money, nullable=False),
    Column("one_time_cost", _Money),
    Column("monthly_kg_co2e", Numeric),
    Column("confidence", Numeric, nullable=False),
    Column("effort", SmallInteger, nullable=False),
    Column("risk", SmallInteger, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("department", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("resource_type", Text, nullable=False),
    Column("resource_ids", ARRAY(Text), nullable=False),
    Column("content", JSONB, nullable=False),
    Column("parts", JSONB, nullable=False),
    Column("owner", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("snoozed_until", _Instant),
    Column("dismissal_reason", SmallInteger, nullable=False),
    Column("completed_at", _Instant),
    Column("revision", Integer, nullable=False),
    Column("created_at", _Instant, nullable=False),
    Column("updated_at", _Instant, nullable=False),
    Column("expires_at", _Instant, nullable=False),
)

measurement = Table(
    "measurement",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("measurement_id", Text, primary_key=True),
    Column("recommendation_id", Text, nullable=False),
    Column("verdict", SmallInteger, nullable=False),
    Column("currency_code", Text, nullable=False),
    *(
        Column(f"{name}_{edge}", _Instant, nullable=False)
        for name in ("before", "after")
        for edge in ("start", "end")
    ),
    *(
        Column(f"{name}_{bound}", _Money, nullable=False)
        for name in ("claimed", "realized")
        for bound in ("expected", "lower", "upper")
    ),
    Column("actual_cost", _Money, nullable=False),
    Column("counterfactual_cost", _Money, nullable=False),
    Column("volume_effect", Numeric, nullable=False),
    Column("price_effect", Numeric, nullable=False),
    Column("model", Text, nullable=False),
    Column("error_ratio", Numeric, nullable=False),
    Column("measured_at", _Instant, nullable=False),
)
