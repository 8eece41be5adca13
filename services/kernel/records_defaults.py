"""RecordsService as a service wires it, and the removal that runs every night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from finops.records.v1 import records_service_pb2_grpc

from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job
from services.kernel.pagination import PageTokens
from services.kernel.records import Collection, Records
from services.kernel.records_api import RecordsServicer
from services.kernel.records_keeping import RecordKeeping
from services.kernel.records_keys import KeyRotation
from services.kernel.server import Register
from services.kernel.workers import Worker

JOB: Final = "retention"
CRON: Final = "25 3 * * *"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServedRecords:
    """What a service serves and runs of its records."""

    servicer: Register
    workers: Sequence[Worker]
    keeping: RecordKeeping
    retention: DefaultRetention


def serve_records(
    database: Database, records: Records, envelope: Envelope, *, tokens: PageTokens, clock: Clock
) -> ServedRecords:
    """Makes RecordsService over what a service declares, and the nightly removal."""
    keeping = RecordKeeping(database, records, envelope, clock=clock)
    rotation = KeyRotation(database, records, envelope)
    servicer = RecordsServicer(keeping, rotation, tokens=tokens)
    retention = DefaultRetention(keeping, clock=clock)
    jobs = JobWorker(database, service=records.service)
    jobs.handle(JOB, retention.run, concurrency=1)
    jobs.every(CRON, JOB)
    return ServedRecords(
        servicer=partial(records_service_pb2_grpc.add_RecordsServiceServicer_to_server, servicer),
        workers=[jobs],
        keeping=keeping,
        retention=retention,
    )


class DefaultRetention:
    """Removes what is past its collection's own time, of every tenant."""

    def __init__(self, keeping: RecordKeeping, *, clock: Clock) -> None:
        """keeping: of the service."""
        self._keeping = keeping
        self._clock = clock

    async def run(self, _: Job) -> None:
        """Goes through the collections; tenants under a legal hold keep what it names."""
        for collection in self._trimmed():
            before = self._clock.now() - timedelta(days=collection.days)
            for tenant_id, holds in await self._keeping.tenants_past(collection, before):
                count = await self._keeping.remove_past(tenant_id, collection, before, holds)
                log.info(
                    "records removed",
                    tenant=tenant_id,
                    collection=collection.name,
                    removed=count.records,
                    held=count.held,
                )

    def _trimmed(self) -> Sequence[Collection]:
        return [each for each in self._keeping.records.collections if each.time and each.days]
