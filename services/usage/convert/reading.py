"""Rows read in bulk between contract and domain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from finops.usage.v1 import read_service_pb2 as messages

from services.kernel.pagination import PageRequest
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


def to_questions(
    request: messages.BatchQueryCostsRequest, tenant_id: str, tz: ZoneInfo, now: datetime
) -> list[tuple[CostQuestion, PageRequest]]:
    """Converts questions, each with the page that is asked of its answer."""
    return [
        (costs.to_question(each, tenant_id, tz, now), costs.to_page(each, tenant_id))
        for each in request.questions
    ]


def from_pages(
    pages: Sequence[CostPage], asked: Sequence[tuple[CostQuestion, PageRequest]]
) -> messages.BatchQueryCostsResponse:
    """Converts a page of each answer."""
    return messages.BatchQueryCostsResponse(
        answers=[
            costs.from_page(page, question)
            for page, (question, _) in zip(pages, asked, strict=True)
        ]
    )
