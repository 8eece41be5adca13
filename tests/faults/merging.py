"""A roll-up worker that never rests: `python -m tests.faults.merging`, with the worker's URLs."""

from __future__ import annotations

import asyncio
import os

from services.kernel.database import Database
from services.usage.service.rolling_up import RollUp


async def merge() -> None:
    """Merges until it is killed."""
    database = Database.connect(
        os.environ["FINOPS_DATABASE_URL"],
        service="usage",
        worker_url=os.environ["FINOPS_WORKER_DATABASE_URL"],
    )
    await RollUp(database, interval_seconds=0).run()


if __name__ == "__main__":
    asyncio.run(merge())
