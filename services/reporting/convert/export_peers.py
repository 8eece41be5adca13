"""Reads what is exported from the usage service, in bulk."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Final

import grpc
from finops.usage.v1 import cost_model_pb2, read_service_pb2, read_service_pb2_grpc

from services.reporting.convert.asking import asking
from services.reporting.convert.instants import to_instant
from services.reporting.domain.exports import Column, ExportQuestion, ExportWish, cost_columns
from services.reporting.errors import UsageBusy, UsageQuestionRefused
from services.reporting.service.exports.peers import EventPages, Rows, Value

EXPORT_SECONDS: Final = 6 * 3600.0  # a snapshot that is held for longer harms the database


class StubUsageEntries:
    """Reads entries of usage; implements `service.exports.peers.UsageEntries`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._usage = read_service_pb2_grpc.UsageReadServiceStub(channel)

    async def entries(self, question: ExportQuestion) -> EventPages:
        """Begins to read. Raises UsageQuestionRefused, UsageBusy."""
        period = question.required_period
        tenant_id = question.wish.tenant_id
        request = read_service_pb2.ReadEventsRequest(
            tenant_id=tenant_id,
            start=period.start.isoformat(),
            end=period.end.isoformat(),
            filter=question.wish.filter,
        )
        answers = aiter(self._usage.ReadEvents(request, timeout=EXPORT_SECONDS))
        with asking(tenant_id, UsageQuestionRefused):
            try:
                head = await anext(answers)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise UsageBusy from error
                raise
        return EventPages(tuple(head.bill_columns), _pages(answers))


async def _pages(
    answers: AsyncIterator[read_service_pb2.ReadEventsResponse],
) -> AsyncIterator[bytes]:
    """Joins the parts of each page."""
    parts: list[bytes] = []
    try:
        async for answer in answers:
            parts.append(answer.arrow)
            if answer.ends_page:
                yield b"".join(parts)
                parts.clear()
    except grpc.aio.AioRpcError as error:
        raise UsageQuestionRefused(error.details() or "", code=error.code().name) from error


class CostRows:
    """Reads grouped costs; implements `service.exports.peers.RowSource`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._usage = read_service_pb2_grpc.UsageReadServiceStub(channel)

    def columns(self, question: ExportQuestion) -> tuple[Column, ...]:
        """Returns bucket, groups and measures."""
        return cost_columns(question.wish)

    async def pages(self, question: ExportQuestion) -> AsyncIterator[Rows]:
        """Yields the rows of one answer."""
        wish, period = question.wish, question.required_period
        request = read_service_pb2.ReadCostsRequest(
            question=cost_model_pb2.QueryCostsRequest(
                tenant_id=wish.tenant_id,
                group_by=wish.group_by,
                start=period.start.isoformat(),
                end=period.end.isoformat(),
                granularity=wish.steps,
                filter=wish.filter,
                cost_type=wish.cost_type,
                currency=wish.currency_code,
                allocated=wish.is_allocated,
                order_by="" if wish.steps == "total" else "start_time",
            )
        )
        answers = aiter(self._usage.ReadCosts(request, timeout=EXPORT_SECONDS))
        with asking(wish.tenant_id, UsageQuestionRefused):
            answer = await anext(answers)
        while True:
            yield [_cost_row(row, wish) for row in answer.page.rows]
            try:
                answer = await anext(answers)
            except StopAsyncIteration:
                return
            except grpc.aio.AioRpcError as error:
                raise UsageQuestionRefused(error.details() or "", code=error.code().name) from error


def _cost_row(row: cost_model_pb2.CostRow, wish: ExportWish) -> tuple[Value, ...]:
    start = () if wish.steps == "total" else (to_instant(row.start_time),)
    rules = (json.dumps(list(row.allocation_rule_ids)),) if wish.is_allocated else ()
    unit = () if "unit" in wish.group_by else (row.unit,)
    return (
        *start,
        *(row.group[name] for name in wish.group_by),
        row.cost.currency_code,
        row.cost.amount,
        row.quantity or None,
        *unit,
        row.events,
        row.failed_events,
        row.unpriced_events,
        *rules,
    )
