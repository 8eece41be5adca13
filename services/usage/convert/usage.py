"""Usage events and receipts between contract and domain. Ingest runs through here an event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from finops.usage.v1 import usage_model_pb2, usage_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.validation import violations_of
from services.usage.convert.ordinary import OUTCOMES, ordinary_event, remember_valid
from services.usage.convert.validity import semantic_violations
from services.usage.domain.event import Attributes, Costs, UsageEvent
from services.usage.domain.recording import Problem, Receipt, Verdict
from services.usage.errors import BatchSize

EVENTS_MAX = 10_000  # one request; the contract's bound


class Inbox(NamedTuple):
    """The events of one request by tenant, with their positions, and those that are not valid."""

    size: int
    by_tenant: dict[str, tuple[list[int], list[UsageEvent]]]
    problems: list[Problem]


def to_inbox(messages: Sequence[usage_model_pb2.UsageEvent], tenant_id: str) -> Inbox:
    """Validates and converts each event by itself.

    tenant_id: the request's, for events that name none. Raises BatchSize.
    """
    if not 0 < len(messages) <= EVENTS_MAX:
        raise BatchSize(events=len(messages), events_max=EVENTS_MAX)
    by_tenant: dict[str, tuple[list[int], list[UsageEvent]]] = {}
    problems: list[Problem] = []
    for index, message in enumerate(messages):
        event = ordinary_event(message)
        if event is None:
            violations = violations_of(message) or semantic_violations(message)
            if violations:
                problems.extend(Problem(index, field, text) for field, text in violations)
                continue
            event = to_event(message)
            remember_valid(event)
        positions, events = by_tenant.setdefault(message.tenant_id or tenant_id, ([], []))
        positions.append(index)
        events.append(event)
    return Inbox(len(messages), by_tenant, problems)


def to_event(message: usage_model_pb2.UsageEvent) -> UsageEvent:
    """Converts a valid event."""
    start_at = to_instant(message.start_time)
    cost = to_costs(message.cost) if message.HasField("cost") else None
    tags = message.tags
    attributes = Attributes(
        message.resource_type,
        message.unit,
        message.cost.currency_code if cost is not None else "",
        message.user_id,
        message.department,
        message.project,
        message.resource_id,
        message.service,
        message.service_category,
        message.provider,
        message.region,
        message.sub_account_id,
        message.charge_category,
        tuple(sorted(tags.items())) if tags else (),
    )
    components = message.components
    return UsageEvent(
        message.source,
        message.event_id,
        start_at,
        to_instant(message.end_time) if message.HasField("end_time") else start_at,
        attributes,
        Decimal(message.quantity),
        tuple((item.meter, Decimal(item.quantity)) for item in components) if components else (),
        cost,
        OUTCOMES[message.outcome],
        message.error_code,
        message.retries,
        message.latency_ms if message.HasField("latency_ms") else None,
        Decimal(message.capacity) if message.HasField("capacity") else None,
        message.utilization if message.HasField("utilization") else None,
    )


def to_costs(message: usage_model_pb2.UsageCost) -> Costs:
    """Converts the four costs; those that are absent equal the billed one."""
    billed = Decimal(message.billed)
    return Costs(
        billed,
        Decimal(message.effective) if message.HasField("effective") else billed,
        Decimal(message.list) if message.HasField("list") else billed,
        Decimal(message.contracted) if message.HasField("contracted") else billed,
    )


def to_instant(timestamp: Timestamp) -> datetime:
    """Converts to an aware instant; what is below a microsecond is cut off."""
    instant = datetime.fromtimestamp(timestamp.seconds, UTC)
    return instant.replace(microsecond=timestamp.nanos // 1000) if timestamp.nanos else instant


def from_receipts(
    inbox: Inbox, receipts: Iterable[Receipt]
) -> tuple[list[int], list[usage_model_pb2.RecordProblem]]:
    """Puts the answers of each tenant's events, and the invalid ones, back in request order."""
    statuses = [int(Verdict.INVALID)] * inbox.size
    problems = list(inbox.problems)
    for (positions, _), receipt in zip(inbox.by_tenant.values(), receipts, strict=True):
        if len(positions) == inbox.size:
            statuses = [int(verdict) for verdict in receipt.verdicts]
        else:
            for position, verdict in zip(positions, receipt.verdicts, strict=True):
                statuses[position] = int(verdict)
        problems.extend(
            problem._replace(position=positions[problem.position]) for problem in receipt.problems
        )
    return statuses, [
        usage_model_pb2.RecordProblem(
            index=problem.position, field=problem.field, description=problem.description
        )
        for problem in sorted(problems)
    ]


def to_record_response(
    statuses: Sequence[int], problems: Sequence[usage_model_pb2.RecordProblem]
) -> usage_service_pb2.RecordUsageResponse:
    """Builds the answer of RecordUsage."""
    response = usage_service_pb2.RecordUsageResponse(problems=problems)
    response.statuses.extend(statuses)  # type: ignore[arg-type]
    return response


def to_stream_response(
    sequence: int, statuses: Sequence[int], problems: Sequence[usage_model_pb2.RecordProblem]
) -> usage_service_pb2.StreamUsageResponse:
    """Builds the acknowledgement of one batch of a stream."""
    response = usage_service_pb2.StreamUsageResponse(sequence=sequence, problems=problems)
    response.statuses.extend(statuses)  # type: ignore[arg-type]
    return response
