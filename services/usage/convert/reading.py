"""Rows read in bulk between contract and domain."""

from __future__ import annotations

from finops.usage.v1 import read_service_pb2 as messages

from services.usage.convert import costs
from services.usage.domain.question import CostQuestion
from services.usage.service.costs import CostPage
from services.usage.service.reading import EventsHead, EventsPart


def from_events(found: EventsHead | EventsPart) -> messages.ReadEventsResponse:
    """Converts one message of an answer."""
    if isinstance(found, EventsHead):
        return messages.ReadEventsResponse(
            bill_columns=found.bill_columns, time_zone=found.time_zone
        )
    return messages.ReadEventsResponse(
        arrow=found.arrow, ends_page=found.ends_page, rows=found.rows
    )


def from_costs(page: CostPage, question: CostQuestion) -> messages.ReadCostsResponse:
    """Converts one page of an answer."""
    return messages.ReadCostsResponse(page=costs.from_page(page, question))
