"""Webhooks: who may knock, what is stored once, and that ours follows whatever their order."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import stripe
from finops.billing.v1 import provider_model_pb2 as models
from finops.billing.v1.provider_service_pb2 import UpdateProviderSettingsRequest
from finops.billing.v1.provider_service_pb2_grpc import ProviderServiceStub
from finops.billing.v1.webhook_service_pb2 import (
    GetWebhookEventRequest,
    ListWebhookEventsRequest,
    ReceiveStripeWebhookRequest,
    ReplayWebhookEventRequest,
)
from finops.billing.v1.webhook_service_pb2_grpc import WebhookServiceStub
from google.api.httpbody_pb2 import HttpBody

from services.billing.domain.webhook import EventState, retry_at
from services.billing.service.provider import inbox
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.stripe_objects import event_of
from services.billing.service.provider.work import ProviderWork
from services.billing.store import webhook_events
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.pagination import PageRequest, PageTokens
from tests.billing.conftest import NOW, Billing
from tests.billing.provider.seeding import add_account, add_locked_invoice, use_stripe, work_of
from tests.support.server import refused
from tests.support.stripe.edge import StripeEdge

SECRET = "whsec_first_secret_of_the_tests"
ROTATED = "whsec_second_secret_of_the_tests"


def event_body(event_id: str = "evt_1", **changed: Any) -> bytes:
    event = {
        "id": event_id,
        "object": "event",
        "type": "invoice.paid",
        "created": int(NOW.timestamp()),
        "livemode": False,
        "api_version": str(stripe.api_version),
        "data": {"object": {"id": "in_1", "object": "invoice"}},
    }
    return json.dumps(event | changed).encode()


def signed(body: bytes, secret: str = SECRET, *, at: float | None = None) -> str:
    stamp = int(NOW.timestamp() if at is None else at)
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, stamp)
    return str(header)


def seller(billing: Billing) -> grpc.aio.Channel:
    """Returns a channel of the seller's, who alone may set providers."""
    return billing.server.channel("platform_admin", tenant=billing.tenant)


async def set_up(billing: Billing, **fields: Any) -> models.ProviderSettings:
    """Sets the tenant's own Stripe account, and returns what is shown of it."""
    stub = ProviderServiceStub(seller(billing))
    given: dict[str, Any] = {
        "kind": models.PROVIDER_KIND_STRIPE,
        "api_key": "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
        "webhook_secret": SECRET,
    }
    settings = models.ProviderSettings(**(given | fields))
    answer = await stub.UpdateProviderSettings(
        UpdateProviderSettingsRequest(provider_settings=settings)
    )
    return answer.provider_settings


async def knock(billing: Billing, endpoint_id: str, body: bytes, signature: str) -> None:
    """Calls as Stripe does: without a credential, with a signature."""
    stub = WebhookServiceStub(billing.server.plain)
    request = ReceiveStripeWebhookRequest(
        endpoint_id=endpoint_id, payload=HttpBody(content_type="application/json", data=body)
    )
    await stub.ReceiveStripeWebhook(request, metadata=[("stripe-signature", signature)])


async def stored(billing: Billing) -> Sequence[models.WebhookEvent]:
    stub = WebhookServiceStub(seller(billing))
    return list((await stub.ListWebhookEvents(ListWebhookEventsRequest())).webhook_events)


async def test_a_signed_event_is_stored_once_however_often_it_comes(billing: Billing) -> None:
    settings = await set_up(billing)
    body = event_body()

    for _ in range(3):
        await knock(billing, settings.endpoint_id, body, signed(body))

    [event] = await stored(billing)
    assert (event.provider_event_id, event.event_type) == ("evt_1", "invoice.paid")
    assert event.state == models.WEBHOOK_EVENT_STATE_RECEIVED


@pytest.mark.parametrize(
    "case", ["forged", "stale", "early", "altered", "unsigned", "malformed", "no event"]
)
async def test_what_is_not_signed_now_by_the_secret_leaves_nothing(
    billing: Billing, case: str
) -> None:
    settings = await set_up(billing)
    body = event_body() if case != "no event" else b'{"object": "list"}'
    now = NOW.timestamp()
    signature = {
        "forged": signed(body, "whsec_another"),
        "stale": signed(body, at=now - 301),
        "early": signed(body, at=now + 301),
        "altered": signed(event_body("evt_2")),
        "unsigned": "",
        "malformed": "t=x,v1=y",
        "no event": signed(body),
    }[case]

    refusal = await refused(knock(billing, settings.endpoint_id, body, signature))

    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "WEBHOOK_SIGNATURE_INVALID"
    assert await stored(billing) == []


async def test_the_other_mode_is_refused(billing: Billing) -> None:
    settings = await set_up(billing)
    body = event_body(livemode=True)

    refusal = await refused(knock(billing, settings.endpoint_id, body, signed(body)))

    assert refusal.reason == "WEBHOOK_MODE_MISMATCH"
    assert await stored(billing) == []


async def test_an_endpoint_without_a_secret_is_not_there(billing: Billing) -> None:
    settings = await set_up(billing, webhook_secret="")
    body = event_body()

    for endpoint_id in (settings.endpoint_id, "nobodys"):
        refusal = await refused(knock(billing, endpoint_id, body, signed(body)))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        assert refusal.reason == "WEBHOOK_ENDPOINT_NOT_FOUND"


async def test_a_body_above_the_bound_is_refused(billing: Billing) -> None:
    settings = await set_up(billing)
    body = event_body(padding="x" * (1 << 20))

    refusal = await refused(knock(billing, settings.endpoint_id, body, signed(body)))

    assert refusal.reason == "WEBHOOK_TOO_LARGE"


async def test_while_secrets_rotate_both_open_the_door_and_then_only_the_new_one(
    billing: Billing,
) -> None:
    settings = await set_up(billing)
    old, new = event_body("evt_old"), event_body("evt_new")

    stub = ProviderServiceStub(seller(billing))
    change = models.ProviderSettings(webhook_secret=ROTATED)
    await stub.UpdateProviderSettings(UpdateProviderSettingsRequest(provider_settings=change))
    await knock(billing, settings.endpoint_id, old, signed(old))
    await knock(billing, settings.endpoint_id, new, signed(new, ROTATED))
    again = models.ProviderSettings(webhook_secret="whsec_third")
    await stub.UpdateProviderSettings(UpdateProviderSettingsRequest(provider_settings=again))
    late = event_body("evt_late")
    refusal = await refused(knock(billing, settings.endpoint_id, late, signed(late)))

    assert {event.provider_event_id for event in await stored(billing)} == {"evt_old", "evt_new"}
    assert refusal.reason == "WEBHOOK_SIGNATURE_INVALID"


async def test_a_dead_letter_is_shown_and_replayed(
    billing: Billing, billing_database: Database
) -> None:
    settings = await set_up(billing)
    body = event_body()
    await knock(billing, settings.endpoint_id, body, signed(body))
    stub = WebhookServiceStub(seller(billing))
    [event] = await stored(billing)
    async with billing_database.transaction(billing.tenant) as tx:
        await tx.driver.execute("UPDATE billing.webhook_event SET state = 'dead', error = 'x'")

    request = ReplayWebhookEventRequest(webhook_event_id=event.webhook_event_id)
    await stub.ReplayWebhookEvent(request)

    found = await stub.GetWebhookEvent(
        GetWebhookEventRequest(webhook_event_id=event.webhook_event_id)
    )
    assert found.webhook_event.state == models.WEBHOOK_EVENT_STATE_RECEIVED
    missing = await refused(stub.GetWebhookEvent(GetWebhookEventRequest(webhook_event_id="none")))
    assert missing.reason == "WEBHOOK_EVENT_NOT_FOUND"


async def test_a_thousand_in_parallel_are_each_stored_once(billing: Billing) -> None:
    settings = await set_up(billing)
    bodies = [event_body(f"evt_{number}") for number in range(500)] * 2

    await asyncio.gather(
        *(knock(billing, settings.endpoint_id, body, signed(body)) for body in bodies)
    )

    assert len(await all_stored(billing)) == 500


async def test_what_the_database_refuses_keeps_no_other_out(billing: Billing) -> None:
    settings = await set_up(billing)
    bodies = [event_body(f"evt_{number}") for number in range(20)]
    bodies[10] = event_body("evt_\0")

    answers = await asyncio.gather(
        *(knock(billing, settings.endpoint_id, body, signed(body)) for body in bodies),
        return_exceptions=True,
    )

    [broken] = [answer for answer in answers if answer is not None]
    assert isinstance(broken, grpc.aio.AioRpcError)
    assert broken.code() is grpc.StatusCode.INTERNAL
    assert len(await all_stored(billing)) == 19


async def all_stored(billing: Billing) -> list[models.WebhookEvent]:
    found: list[models.WebhookEvent] = []
    stub, token = WebhookServiceStub(seller(billing)), ""
    while True:
        page = await stub.ListWebhookEvents(
            ListWebhookEventsRequest(page_size=1_000, page_token=token)
        )
        found += page.webhook_events
        token = page.next_page_token
        if not token:
            return found


def test_tries_are_spread_over_half_an_hour_and_then_end() -> None:
    tries = [retry_at(count, NOW) for count in range(1, 9)]

    assert tries[-1] is None
    waits = [each - NOW for each in tries if each is not None]
    total = sum(waits, timedelta(0))
    assert timedelta(minutes=14) < total < timedelta(minutes=40)


async def test_a_thousand_shuffled_doubled_dropped_and_forged_end_in_the_right_state(
    billing: Billing, billing_database: Database, envelope: Envelope, edge: StripeEdge
) -> None:
    tenant, chance = billing.tenant, random.Random(7)
    settings = await set_up(billing)
    providers = Providers(billing_database, envelope, base_url=edge.url, requests_per_second=1e6)
    work = work_of(billing_database, providers, envelope)
    events = await paid_there_only(billing_database, tenant, work, edge)
    kept = [event_text(each) for each in events if chance.random() > 0.2]
    true = [*kept, *chance.choices(kept, k=950 - len(kept))]
    knocks = [(body, signed(body)) for body in true]
    knocks += [(body, signed(body, "whsec_forged")) for body in chance.choices(kept, k=50)]
    chance.shuffle(knocks)

    answers = await asyncio.gather(
        *(knock(billing, settings.endpoint_id, *each) for each in knocks), return_exceptions=True
    )
    page = PageRequest(tenant_id=tenant, method="x", page_size=1_000)
    async with billing_database.read(tenant) as tx:
        waiting = await webhook_events.list_events(tx, page, PageTokens(b"tokens"))
    for event in waiting.items:
        await work.handling.handle(event)
    await providers.close()

    assert (len(answers), sum(answer is not None for answer in answers)) == (1_000, 50)
    assert 0 < len(waiting.items) == len(kept) < len(events)
    assert await are_paid(billing_database, tenant, 5)
    async with billing_database.read(tenant) as tx:
        left = await tx.driver.fetchval(
            "SELECT count(*) FROM billing.webhook_event WHERE tenant_id = $1"
            " AND state NOT IN ('handled', 'ignored')",
            tenant,
        )
        charges = await tx.driver.fetchval(
            "SELECT count(*) FROM billing.payment WHERE tenant_id = $1", tenant
        )
    assert (left, charges) == (0, 5)


async def paid_there_only(
    database: Database, tenant: str, work: ProviderWork, edge: StripeEdge
) -> list[dict[str, Any]]:
    """Opens five invoices and pays them at Stripe alone; returns what it would tell of them."""
    edge.overlay.card = {"token": "tok_visa"}
    account_id = await add_account(database, tenant)
    for number in range(5):
        seeded = await add_locked_invoice(database, tenant, account_id, seed=number)
        await work.pushing.push(tenant, seeded.invoice_id)
        there = await provider_id(database, seeded.invoice_id)
        await (await work.providers.of(tenant)).provider.collect(f"k{number}", there, method_id="")
    return [each for each in await edge.overlay.all_events() if "invoice" in each["type"]]


def event_text(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


async def test_an_event_whose_endpoint_has_an_unreadable_key_waits_and_stops_no_other(
    billing_database: Database, envelope: Envelope, tenant: str
) -> None:
    await use_stripe(billing_database, envelope, tenant)
    work = work_of(billing_database, Providers(billing_database, envelope), envelope)
    remote = event_of(json.loads(event_body()))
    async with billing_database.system_transaction() as tx:
        await inbox.add(tx, tenant, remote, now=SystemClock().now())
        await tx.driver.execute(
            "UPDATE billing.provider_settings SET api_key = $2 WHERE tenant_id = $1",
            *(tenant, b"nothing that was sealed"),
        )
    page = PageRequest(tenant_id=tenant, method="x", page_size=10)
    async with billing_database.read(tenant) as tx:
        [event] = (await webhook_events.list_events(tx, page, PageTokens(b"tokens"))).items

    state = await work.handling.handle(event)

    assert state is EventState.RETRYING
    async with billing_database.read(tenant) as tx:
        [after] = (await webhook_events.list_events(tx, page, PageTokens(b"tokens"))).items
    assert after.attempt_count == 1
    assert after.error


async def provider_id(database: Database, invoice_id: str) -> str:
    async with database.system_transaction() as tx:
        found: str = await tx.driver.fetchval(
            "SELECT provider_invoice_id FROM billing.invoice WHERE invoice_id = $1", invoice_id
        )
    return found


async def are_paid(database: Database, tenant: str, count: int) -> bool:
    async with database.read(tenant) as tx:
        paid = await tx.driver.fetchval(
            "SELECT count(*) FROM billing.invoice WHERE tenant_id = $1 AND state = 'paid'", tenant
        )
    return bool(paid == count)


async def test_events_of_one_object_are_handled_by_one_worker_at_a_time(
    billing_database: Database, tenant: str
) -> None:
    now = datetime(2001, 1, 1, tzinfo=UTC)  # before what other tests have left
    async with billing_database.system_transaction() as tx:
        for number in range(6):
            payload = json.loads(event_body(f"evt_{number}"))
            payload["data"]["object"]["id"] = f"in_{tenant}_{number % 2}"
            await inbox.add(tx, tenant, event_of(payload), now=now)
    until = now + timedelta(minutes=1)

    async def claimed(at: datetime) -> list[tuple[str, str]]:
        async with billing_database.system_transaction() as tx:
            found = await webhook_events.claim_events(tx, at, until)
        mine = [event for event in found if event.tenant_id == tenant]
        return [(event.object_id, event.provider_event_id) for event in mine]

    first, second = await asyncio.gather(claimed(now), claimed(now))
    async with billing_database.system_transaction() as tx:
        payload = json.loads(event_body("evt_late"))
        payload["data"]["object"]["id"] = f"in_{tenant}_0"
        await inbox.add(tx, tenant, event_of(payload), now=now)
    meanwhile, lapsed = await claimed(now), await claimed(until)

    assert {len(first), len(second)} == {6, 0}
    assert meanwhile == []
    assert len(lapsed) == 7
