"""A provider that does not answer: few questions, and all is taken up once it is back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from finops.billing.v1 import provider_model_pb2 as models
from finops.billing.v1.provider_service_pb2 import GetProviderSettingsRequest
from finops.billing.v1.provider_service_pb2_grpc import ProviderServiceStub
from finops.billing.v1.webhook_service_pb2 import ListWebhookEventsRequest
from finops.billing.v1.webhook_service_pb2_grpc import WebhookServiceStub

from services.billing.domain.outage import PAUSE_MAX, ProviderOutage, pause_after
from services.billing.domain.webhook import ATTEMPTS_MAX, EventState
from services.billing.service.provider import inbox, queue
from services.billing.service.provider.handling import LAST_LOOK
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.queue import OUTAGE_JOB, WEBHOOK_JOB
from services.billing.service.provider.stripe_objects import event_of
from services.billing.service.provider.work import ProviderWork
from services.billing.store import outages, webhook_events
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job
from services.kernel.pagination import PageRequest, PageTokens
from tests.billing.conftest import Billing
from tests.billing.provider.seeding import use_stripe, work_of
from tests.billing.provider.test_webhooks import event_body, seller
from tests.support.stripe.wire import Hangup, WireAnswer, WireRequest, serving_wire
from tests.support.waiting import eventually

GONE = b'{"error": {"type": "invalid_request_error", "code": "resource_missing"}}'
EVENTS = 120


@dataclass
class Wire:
    """Stands where Stripe is. dies_with: what it does instead of answering, None to answer."""

    url: str = ""
    dies_with: int | None = 0
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: WireRequest) -> WireAnswer:
        self.asked.append(request.target)
        if self.dies_with == 0:
            raise Hangup
        if self.dies_with is not None:
            return WireAnswer(self.dies_with, b'{"error": {"type": "api_error"}}')
        if request.target.startswith("/v1/events"):
            return WireAnswer(200, b'{"object": "list", "data": [], "has_more": false}')
        return WireAnswer(404, GONE)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    found = Wire()
    async with serving_wire(found.answer) as found.url:
        yield found


@pytest.fixture
async def work(
    billing_database: Database, envelope: Envelope, wire: Wire, tenant: str
) -> AsyncIterator[ProviderWork]:
    await use_stripe(billing_database, envelope, tenant)
    providers = Providers(
        billing_database, envelope, base_url=wire.url, requests_per_second=1e6, timeout_seconds=2
    )
    yield work_of(billing_database, providers, envelope)
    await providers.close()


@asynccontextmanager
async def working(work: ProviderWork, database: Database) -> AsyncIterator[None]:
    """Runs the service's own worker."""
    jobs = JobWorker(database, service="billing")
    work.register(jobs)
    running = asyncio.create_task(jobs.run())
    yield
    await jobs.stop()
    await running


async def take_in(database: Database, tenant: str, count: int, prefix: str = "evt") -> None:
    """Adds events of as many invoices."""
    async with database.system_transaction() as tx:
        for number in range(count):
            payload = json.loads(event_body(f"{prefix}_{tenant}_{number}"))
            payload["data"]["object"]["id"] = f"in_{tenant}_{number}"
            await inbox.add(tx, tenant, event_of(payload), now=SystemClock().now())


async def states(database: Database, tenant: str) -> dict[str, int]:
    async with database.read(tenant) as tx:
        rows = await tx.driver.fetch(
            "SELECT state, count(*) AS count FROM billing.webhook_event WHERE tenant_id = $1"
            " GROUP BY state",
            tenant,
        )
    return {row["state"]: row["count"] for row in rows}


async def outage_of(database: Database, tenant: str) -> ProviderOutage | None:
    async with database.system_transaction() as tx:
        return await outages.find(tx, tenant)


async def test_a_dead_provider_is_asked_a_few_times_and_all_is_taken_up_once_it_is_back(
    billing: Billing, billing_database: Database, work: ProviderWork, wire: Wire
) -> None:
    tenant = billing.tenant
    await take_in(billing_database, tenant, EVENTS)

    async def waits() -> ProviderOutage | None:
        found = await outage_of(billing_database, tenant)
        return found if found is not None and found.probe_count >= 2 else None

    async def all_are(state: str) -> bool:
        return await states(billing_database, tenant) == {state: EVENTS + 30}

    async with working(work, billing_database):
        outage = await eventually(waits)
        assert outage is not None
        await take_in(billing_database, tenant, 30, "late")
        await eventually(lambda: all_are("waiting"))
        # Jobs that other tests left ask too, for what is theirs.
        asked = sum(tenant in target for target in wire.asked)
        shown = await shown_events(billing)
        settings = await shown_settings(billing)
        wire.dies_with = None
        began = asyncio.get_running_loop().time()
        await eventually(lambda: all_are("foreign"))
        took = asyncio.get_running_loop().time() - began

    # Four lanes meet it at once; the rest are probes, of which there were two or three.
    assert 0 < asked <= 4 + outage.probe_count + 2
    assert {event.state for event in shown} == {models.WEBHOOK_EVENT_STATE_WAITING}
    assert all(event.error and event.HasField("next_attempt_time") for event in shown)
    assert settings.outage.probe_count >= 2
    assert settings.outage.error
    assert settings.outage.HasField("next_probe_time")
    assert took < PAUSE_MAX.total_seconds()
    assert await outage_of(billing_database, tenant) is None
    assert not (await shown_settings(billing)).HasField("outage")


async def shown_events(billing: Billing) -> list[models.WebhookEvent]:
    request = ListWebhookEventsRequest(page_size=1_000, filter="state = WAITING")
    return list(
        (await WebhookServiceStub(seller(billing)).ListWebhookEvents(request)).webhook_events
    )


async def shown_settings(billing: Billing) -> models.ProviderSettings:
    stub = ProviderServiceStub(seller(billing))
    return (await stub.GetProviderSettings(GetProviderSettingsRequest())).provider_settings


async def test_an_object_that_alone_gets_no_answer_is_tried_as_often_as_any_and_then_dead(
    billing_database: Database, work: ProviderWork, wire: Wire, tenant: str
) -> None:
    await take_in(billing_database, tenant, 1)
    seen = []

    for _ in range(ATTEMPTS_MAX):
        async with billing_database.read(tenant) as tx:
            page = PageRequest(tenant_id=tenant, method="x", page_size=10)
            [event] = (await webhook_events.list_events(tx, page, PageTokens(b"tokens"))).items
        wire.dies_with = 503
        seen.append(await work.handling.handle(event))
        # The account answers others.
        wire.dies_with = None
        await work.handling.outages.probe(Job(0, OUTAGE_JOB, tenant.encode(), 1, tenant))

    assert seen == [EventState.WAITING] * (ATTEMPTS_MAX - 1) + [EventState.DEAD]
    assert await states(billing_database, tenant) == {"dead": 1}


async def test_a_probe_that_was_started_twice_goes_on_once_and_one_that_died_is_started_again(
    billing_database: Database, work: ProviderWork, tenant: str
) -> None:
    now = SystemClock().now()
    outage = ProviderOutage(
        tenant_id=tenant,
        began_at=now,
        probe_count=0,
        next_probe_at=now - timedelta(minutes=2),
        error="APIConnectionError",
    )
    async with billing_database.system_transaction() as tx:
        await outages.begin(tx, outage)

    job = Job(0, OUTAGE_JOB, tenant.encode(), 1, tenant)
    await asyncio.gather(work.handling.outages.probe(job), work.handling.outages.probe(job))
    probes = await queued_probes(billing_database, tenant)
    async with billing_database.system_transaction() as tx:
        await work.handling.outages.sweep(tx, now + timedelta(minutes=5))

    after = await outage_of(billing_database, tenant)
    assert after is not None
    assert (after.probe_count, probes) == (1, 1)
    assert await queued_probes(billing_database, tenant) == 2


async def queued_probes(database: Database, tenant: str) -> int:
    async with database.system_transaction() as tx:
        found: int = await tx.driver.fetchval(
            "SELECT count(*) FROM pgqueuer WHERE entrypoint = $1 AND payload = $2",
            *(OUTAGE_JOB, tenant.encode()),
        )
    return found


async def test_what_was_being_stored_while_a_job_looked_in_vain_is_found_soon(
    work: ProviderWork, billing_database: Database, tenant: str
) -> None:
    payload = json.loads(event_body(f"evt_{tenant}", type="customer.created"))

    async def looked_in_vain() -> bool:
        async with billing_database.system_transaction() as tx:
            return bool(
                await tx.driver.fetchval(
                    "SELECT true FROM pgqueuer WHERE entrypoint = $1 AND payload = $2 LIMIT 1",
                    *(WEBHOOK_JOB, LAST_LOOK),
                )
            )

    async def is_handled() -> bool:
        return await states(billing_database, tenant) == {"ignored": 1}

    async with working(work, billing_database):
        async with billing_database.system_transaction() as tx:
            await queue.wake_inbox(tx, tenant)
        await eventually(looked_in_vain)
        async with billing_database.system_transaction() as tx:
            event = inbox._received_event(tenant, event_of(payload), SystemClock().now())
            is_new = await webhook_events.add_event(tx, event)
        await eventually(is_handled)

    assert is_new


def test_pauses_double_up_to_their_bound_and_are_spread() -> None:
    longest = [pause_after(count, 0.999_999).total_seconds() for count in range(8)]
    shortest = [pause_after(count, 0).total_seconds() for count in range(8)]

    assert [round(each) for each in longest] == [1, 2, 4, 8, 15, 15, 15, 15]
    assert [2 * each for each in shortest] == [1, 2, 4, 8, 15, 15, 15, 15]
