"""The usage service's background work."""

from __future__ import annotations

from collections.abc import Sequence

from services.kernel.database import Database
from services.kernel.workers import Worker
from services.usage.service.rolling_up import RollUp


def workers(database: Database) -> Sequence[Worker]:
    """Returns what runs beside the calls."""
    return [RollUp(database)]
