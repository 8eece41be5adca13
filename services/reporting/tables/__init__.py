"""The tables of the reporting service, as queries see them; migrations create them.

Every table of a tenant has `tenant_id` first in its key and is bound by row-level security.
"""

from __future__ import annotations

from sqlalchemy import MetaData

SCHEMA = "reporting"
metadata = MetaData(schema=SCHEMA)
