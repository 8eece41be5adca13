"""Reads anomalies for an export, a page at a time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from services.kernel.money import format_decimal
from services.kernel.pagination import PageRequest
from services.reporting.domain.anomaly.anomaly import Anomaly
from services.reporting.domain.exports import ANOMALY_COLUMNS, Column, ExportQuestion
from services.reporting.service.anomalies import Anomalies
from services.reporting.service.exports.peers import Rows, Value

METHOD: Final = "finops.reporting.v1.ReportingService/Export"
PAGE: Final = 1_000


class AnomalyRows:
    """Reads this service's own anomalies; implements `service.exports.peers.RowSource`."""

    def __init__(self, anomalies: Anomalies) -> None:
        """Takes the use cases of anomalies."""
        self._anomalies = anomalies

    def columns(self, _: ExportQuestion) -> tuple[Column, ...]:
        """Returns what an anomaly says, its causes as JSON."""
        return ANOMALY_COLUMNS

    async def pages(self, question: ExportQuestion) -> AsyncIterator[Rows]:
        """Yields the anomalies that began in the question's period."""
        wish, period = question.wish, question.required_period
        start, end = period.start.isoformat(), period.end.isoformat()
        request = PageRequest(wish.tenant_id, METHOD, page_size=PAGE, filter=wish.filter)
        while True:
            page = await self._anomalies.list_anomalies(request, start, end)
            yield [_row(anomaly) for anomaly in page.items]
            if not page.next_page_token:
                return
            request = replace(request, page_token=page.next_page_token)


def _row(anomaly: Anomaly) -> tuple[Value, ...]:
    causes = [
        {
            "dimension": cause.dimension,
            "value": cause.value,
            "contribution": format_decimal(cause.contribution),
        }
        for cause in anomaly.causes
    ]
    scope = anomaly.scope
    amounts = (
        *(anomaly.observed, anomaly.expected, anomaly.expected_lower, anomaly.expected_upper),
        *(anomaly.impact, anomaly.score),
    )
    return (
        anomaly.anomaly_id,
        anomaly.state.name.lower(),
        anomaly.severity.name.lower(),
        anomaly.direction,
        anomaly.pattern,
        anomaly.start_at,
        anomaly.end_at,
        scope.department,
        scope.service,
        scope.resource_type,
        scope.currency_code,
        *map(format_decimal, amounts),
        anomaly.event_count,
        anomaly.feedback.name.lower(),
        json.dumps(causes, ensure_ascii=False),
        anomaly.detected_at,
        anomaly.closed_at,
    )
