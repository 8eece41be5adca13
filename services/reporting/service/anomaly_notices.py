"""Tells people of anomalies through the budget service's durable deliveries."""

from __future__ import annotations

import json
from typing import Final

import structlog

from services.kernel.database import Database, Transaction
from services.kernel.jobs import Job, enqueue
from services.kernel.money import format_decimal
from services.reporting.domain.anomaly.anomaly import Anomaly
from services.reporting.service.schedules_mailing import Notifier, ReportNotice
from services.reporting.store import anomalies
from services.reporting.store import anomaly_settings as rules

JOB: Final = "anomaly-notice"
EVENT: Final = "anomaly.opened"
log = structlog.get_logger(__name__)


class AnomalyNotices:
    """Queues what people are told with what makes it so, and hands it over."""

    def __init__(self, database: Database, notifier: Notifier | None, *, public_url: str) -> None:
        """notifier: None where no budget service is connected. public_url: of the REST API."""
        self._database = database
        self._notifier = notifier
        self._public_url = public_url.rstrip("/")

    async def queue(self, tx: Transaction, anomaly: Anomaly) -> None:
        """Queues a notice in the transaction that opens the anomaly."""
        payload = json.dumps({"anomaly_id": anomaly.anomaly_id}).encode()
        key = f"{JOB}/{anomaly.tenant_id}/{anomaly.anomaly_id}"
        await enqueue(tx, JOB, payload, tenant_id=anomaly.tenant_id, key=key)

    async def run(self, job: Job) -> None:
        """Hands one notice over; a repetition is known by its key and sends nothing."""
        tenant_id, anomaly_id = str(job.tenant_id), json.loads(job.payload)["anomaly_id"]
        async with self._database.read(tenant_id) as tx:
            found = await anomalies.find(tx, tenant_id, anomaly_id)
            settings = await rules.find(tx, tenant_id)
        if found is None:
            return
        if self._notifier is None:
            log.info("anomaly is not sent", anomaly=anomaly_id, reason="no budget service")
            return
        await self._notifier.publish(
            ReportNotice(
                tenant_id=tenant_id,
                key=f"anomaly-{anomaly_id}",
                event_type=EVENT,
                title=f"{found.severity.name.capitalize()} anomaly: {where(found)}"[:200],
                body=sentence(found),
                payload=json.dumps(
                    {
                        "anomaly_id": anomaly_id,
                        "severity": found.severity.name,
                        "direction": found.direction,
                        "scope": found.scope.named,
                        "impact": format_decimal(found.impact),
                        "currency_code": found.scope.currency_code,
                    }
                ),
                link=f"{self._public_url}/api/v1/finops/anomalies/{anomaly_id}",
                addresses=(),
                channel_ids=settings.channel_ids,
                files=(),
            )
        )


def where(anomaly: Anomaly) -> str:
    """Returns what an anomaly is about."""
    named = ", ".join(f"{name} {value}" for name, value in anomaly.scope.named.items())
    return named or "all usage"


def sentence(anomaly: Anomaly) -> str:
    """Returns what happened."""
    code = anomaly.scope.currency_code
    return (
        f"{where(anomaly)} cost {anomaly.observed:.2f} {code} where {anomaly.expected:.2f} was "
        f"expected, from {anomaly.start_at:%Y-%m-%d %H:%M} UTC on."
    )
