"""The optimizer's tables, as lists see them; migrations create them."""

from __future__ import annotations

from sqlalchemy import MetaData

SCHEMA = "optimizer"
metadata = MetaData(schema=SCHEMA)
