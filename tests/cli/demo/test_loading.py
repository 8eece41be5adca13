"""The demo is loaded whole, and again without an effect after an interrupted load."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import date
from itertools import islice

import grpc
import pytest
from finops.usage.v1.usage_model_pb2 import RECORD_STATUS_ACCEPTED, RECORD_STATUS_INVALID
from finops.usage.v1.usage_service_pb2 import StreamUsageRequest, StreamUsageResponse
from finops_sdk import ApiError, AsyncClient
from finops_sdk.methods import Method
from google.protobuf.message import Message

from cli.demo import loading, workload
from cli.demo.company import TENANT
from cli.errors import CommandError

TODAY = date(2026, 11, 24)


class Service:
    """Stands in for the suite."""

    def __init__(
        self, refusal: ApiError | None = None, status: int = 1, refused: str = "Create"
    ) -> None:
        self.refusal = refusal
        self.refused = refused
        self.status = status
        self.calls: Counter[str] = Counter()
        self.ids: list[str] = []

    async def call(self, method: Method, request: Message, timeout_seconds: float) -> Message:
        assert timeout_seconds > 0
        assert getattr(request, "tenant_id", TENANT) == TENANT
        self.calls[method.path.rpartition("/")[2]] += 1
        if self.refusal is not None and self.refused in method.path:
            raise self.refusal
        return method.response_class()

    async def stream(
        self, method: Method, requests: AsyncIterator[Message], timeout_seconds: float | None
    ) -> AsyncIterator[Message]:
        assert (method.takes_stream, timeout_seconds) == (True, None)
        async for request in requests:
            assert isinstance(request, StreamUsageRequest)
            self.ids += [event.event_id for event in request.events]
            statuses = [self.status] * len(request.events)
            yield StreamUsageResponse(sequence=request.sequence, statuses=statuses)  # type: ignore[arg-type]

    async def close(self) -> None:
        self.ids.clear()


@pytest.fixture(autouse=True)
def short_year(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "events", lambda today: islice(workload.events(today), 9_000))


async def test_people_prices_and_every_event_are_sent() -> None:
    service = Service(status=RECORD_STATUS_ACCEPTED)
    progress: list[int] = []

    stored = await loading.load_demo(AsyncClient(transport=service), TODAY, progress.append)

    assert stored == len(set(service.ids)) == 9_000
    assert progress == [2_000, 4_000, 6_000, 8_000, 9_000]
    assert service.calls["CreateTenant"] == 1
    assert service.calls["CreateUser"] > 20
    assert service.calls["CreatePrice"] > 10


async def test_what_an_interrupted_load_created_is_kept() -> None:
    service = Service(ApiError(grpc.StatusCode.ALREADY_EXISTS, "It exists"))

    assert await loading.load_demo(AsyncClient(transport=service), TODAY, lambda _: None) == 9_000


async def test_the_company_is_subscribed_and_billed_once() -> None:
    missing = ApiError(grpc.StatusCode.NOT_FOUND, "None", reason="SUBSCRIPTION_NOT_FOUND")
    first, again = Service(missing, refused="GetSubscription"), Service()

    for service in (first, again):
        await loading.load_demo(AsyncClient(transport=service), TODAY, lambda _: None)

    assert first.calls["CreateBillingAccount"] == 1
    assert (first.calls["CreateSubscription"], again.calls["CreateSubscription"]) == (1, 0)
    assert first.calls["ConfigureAutomatedBilling"] == 1


async def test_another_failure_ends_the_load() -> None:
    service = Service(ApiError(grpc.StatusCode.PERMISSION_DENIED, "No"))

    with pytest.raises(ApiError, match="No"):
        await loading.load_demo(AsyncClient(transport=service), TODAY, lambda _: None)


async def test_an_event_that_is_refused_is_a_failure() -> None:
    service = Service(status=RECORD_STATUS_INVALID)

    with pytest.raises(CommandError, match="refused"):
        await loading.load_demo(AsyncClient(transport=service), TODAY, lambda _: None)
