"""The usage service's background work."""

from __future__ import annotations

from collections.abc import Sequence

from services.kernel.database import Database
from services.kernel.job_worker import JobWorker
from services.kernel.workers import Worker
from services.usage.service import importing
from services.usage.service.importing import Imports
from services.usage.service.rolling_up import RollUp

SERVICE = "usage"


def workers(database: Database, *, imports: Imports) -> Sequence[Worker]:
    """Returns what runs beside the calls."""
    jobs = JobWorker(database, service=SERVICE)
    jobs.handle(importing.JOB, imports.run)
    return [RollUp(database), jobs]
