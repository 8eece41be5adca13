"""Callers of the whole usage service, and the usage they record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from finops.usage.v1 import (
    read_service_pb2_grpc,
    usage_model_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.server import LocalServer

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MONTH: dict[str, Any] = {"start": "2026-03-01", "end": "2026-04-01"}
SECONDS = 60.0  # for a call, beside other tests


@dataclass(frozen=True, slots=True)
class Stubs:
    """One caller's."""

    usage: Any
    read: Any

    async def record(self, *events: usage_model_pb2.UsageEvent) -> None:
        """Records events, which are all new."""
        request = usage_service_pb2.RecordUsageRequest(events=events)
        answer = await self.usage.RecordUsage(request, timeout=SECONDS)
        assert set(answer.statuses) == {usage_model_pb2.RECORD_STATUS_ACCEPTED}, answer


def stubs(server: LocalServer, tenant: str, role: str = "org_admin") -> Stubs:
    """Returns the stubs of somebody with a role."""
    channel = server.channel(role, tenant=tenant)
    return Stubs(
        usage_service_pb2_grpc.UsageServiceStub(channel),
        read_service_pb2_grpc.UsageReadServiceStub(channel),
    )


def used(
    number: int, amount: str, *, minutes: int | None = None, currency: str = "USD", **fields: Any
) -> usage_model_pb2.UsageEvent:
    """Returns an event with its cost. minutes: after noon, the number where not given."""
    at = Timestamp()
    at.FromDatetime(NOON + timedelta(minutes=number if minutes is None else minutes))
    return usage_model_pb2.UsageEvent(
        **{
            "event_id": f"e{number}",
            "source": "test",
            "start_time": at,
            "resource_type": "llm",
            "quantity": "2",
            "unit": "call",
            "cost": usage_model_pb2.UsageCost(currency_code=currency, billed=amount),
            **fields,
        }
    )
