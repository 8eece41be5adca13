"""What every module of tables shares: the schema, and the types of money and instants."""

from __future__ import annotations

from sqlalchemy import DateTime, MetaData, Numeric

SCHEMA = "billing"
GLOBAL_TENANT = "*"  # owns plans, coupons and tax rates; no caller can be this tenant
metadata = MetaData(schema=SCHEMA)

MONEY = Numeric(38, 18)
INSTANT = DateTime(timezone=True)
