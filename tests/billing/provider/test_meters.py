"""Usage that Stripe's meters price: told once, invoiced by Stripe, and compared with our rating."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import pytest
from finops.billing.v1.provider_service_pb2 import ListMeteredInvoicesRequest
from finops.billing.v1.provider_service_pb2_grpc import ProviderServiceStub

from services.billing.bootstrap import Peers, build
from services.billing.domain.metered_route import (
    ReportState,
    RouteState,
)
from services.billing.domain.provider import RemoteState
from services.billing.domain.reconciliation import DiffKind
from services.billing.domain.webhook import EventState, WebhookEvent
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.steps import StepWaits
from services.kernel.client import PeerChannel
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from tests.billing.conftest import settings_of
from tests.billing.invoicing_stage import stage_of
from tests.billing.provider.meter_stage import APRIL, BEGIN, HOUR, MeterStage
from tests.billing.provider.seeding import use_stripe, work_of
from tests.support.server import serving
from tests.support.stripe.edge import StripeEdge, no_faults
from tests.support.stripe.faults import KILLS, Fault, RandomFaults
from tests.support.stripe.meters import MeterWorld
from tests.support.stripe.recording import Recorded
from tests.support.stripe.wire import serving_wire


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(BEGIN + timedelta(minutes=1))


@pytest.fixture
async def there(
    billing_database: Database, envelope: Envelope, tenant: str, clock: ManualClock
) -> AsyncIterator[MeterStage]:
    world = MeterWorld(clock)
    edge = StripeEdge("http://127.0.0.1:9")
    edge.overlay = world  # type: ignore[assignment] # it answers as the overlay does
    async with serving_wire(edge.answer) as url:
        edge.url = url
        await use_stripe(billing_database, envelope, tenant)
        providers = Providers(
            billing_database,
            envelope,
            base_url=url,
            requests_per_second=1e6,
            timeout_seconds=2,
            open_seconds=0.05,
        )
        work = work_of(billing_database, providers, envelope, clock=clock)
        yield MeterStage(stage_of(billing_database, clock, tenant), work, world, edge)
        await providers.close()
    await edge.client.aclose()
    assert edge.violations == []


async def test_a_month_is_told_invoiced_by_stripe_and_equals_our_rating(there: MeterStage) -> None:
    await there.subscribe(flat_fee=Decimal(49))
    for day in range(0, 31, 3):
        await there.work_on(BEGIN + timedelta(days=day, hours=9), "100.5")
    await there.past(APRIL)

    differences, untold = await there.differences(), await there.untold()

    [invoice] = [one for one in await there.kept() if one.state is RemoteState.PAID]
    # 1105.5 tokens are 1105 whole ones, at 1.25 cents each 1381.25 cents.
    assert there.counted() == 1105
    assert (invoice.subtotal, invoice.rated) == (Decimal("13.81"), Decimal("13.81"))
    assert (differences, untold) == ([], [])
    assert await there.billed_here("2026-03") == 49


async def test_nothing_is_told_twice_through_any_faults(there: MeterStage) -> None:
    kinds = [fault for fault in Fault if fault not in KILLS and fault is not Fault.TIMEOUT]
    faults = RandomFaults(seed=5, most=60, share=0.7, kinds=kinds)
    await there.subscribe()
    there.edge.plan = faults
    for hour in range(12):
        at = BEGIN + timedelta(hours=hour)
        there.to(at + HOUR)
        await there.use(at, "10")
        await there.until_done()

    assert len(faults.injected) >= 20
    assert (there.counted(), len(there.world.of("billing.meter"))) == (120, 1)
    assert (len(there.world.of("price")), len(there.world.of("subscription"))) == (1, 1)
    assert sum(report.quantity for report in await there.reports() if report.counts) == 120


async def test_what_was_told_too_much_is_taken_back_and_later_made_up_for(
    there: MeterStage,
) -> None:
    await there.subscribe()
    at = BEGIN + timedelta(hours=9)
    await there.work_on(at, "100")
    await there.work_on(at, "-30")
    young = [(report.quantity, report.state) for report in await there.reports()]
    there.to(at + timedelta(days=2))
    await there.use(at, "-20")

    await there.advance()

    assert young == [(100, ReportState.CANCELED), (70, ReportState.SENT)]
    assert [report.quantity for report in await there.reports()] == [100, 70, -20]
    assert there.counted() == 50
    assert len(there.edge.sent("PostBillingMeterEventAdjustments")) == 1


async def test_what_stripe_does_not_take_back_is_made_up_for(there: MeterStage) -> None:
    await there.subscribe()
    at = BEGIN + timedelta(hours=9)
    await there.work_on(at, "100")
    [report] = await there.reports()
    there.world.refuses.add(report.identifier)

    await there.work_on(at, "-30")
    await there.advance()

    assert [(each.quantity, each.state) for each in await there.reports()] == [
        (100, ReportState.SENT),
        (-30, ReportState.SENT),
    ]
    assert there.counted() == 70


async def test_usage_that_comes_after_its_invoice_is_on_the_next(there: MeterStage) -> None:
    await there.subscribe()
    await there.work_on(BEGIN + timedelta(days=20), "100")
    await there.past(APRIL)
    await there.use(APRIL - HOUR, "7")

    await there.advance()
    await there.past(APRIL + timedelta(days=30))
    differences = await there.differences()

    quantities = {one.period.start.month: one.subtotal for one in await there.kept()}
    assert quantities == {3: Decimal("1.25"), 4: Decimal("0.09")}
    assert (differences, await there.untold()) == ([], [])
    assert await there.billed_here("2026-03") == 0


async def test_what_stripe_counted_or_priced_otherwise_is_found(there: MeterStage) -> None:
    await there.subscribe()
    await there.work_on(BEGIN + timedelta(days=2), "100")
    [report] = await there.reports()
    there.world.dropped.add(report.identifier)
    await there.past(APRIL)

    [invoiced, summed] = await there.differences()

    assert (invoiced.kind, summed.kind) == (DiffKind.METER, DiffKind.METER)
    assert (invoiced.ours, invoiced.theirs) == ("1.25 USD for 100", "0 USD for 0")
    assert invoiced.amount is not None
    assert invoiced.amount.amount == Decimal("1.25")
    assert (summed.ours, summed.theirs) == ("100", "0")


async def test_usage_that_stripe_was_never_told_is_found(there: MeterStage) -> None:
    await there.subscribe()
    await there.work_on(BEGIN + timedelta(days=2), "100")
    there.to(APRIL + timedelta(days=40))
    await there.use(BEGIN + timedelta(days=3), "5")
    await there.advance()

    [diff] = await there.untold()

    assert (diff.kind, diff.ours, diff.theirs) == (DiffKind.USAGE, "105", "100")


@pytest.mark.parametrize("fault", [Fault.LOST_AFTER, Fault.LOST_BEFORE])
async def test_once_identifiers_are_forgotten_the_sums_are_asked_first(
    there: MeterStage, fault: Fault
) -> None:
    await there.subscribe()
    await there.work_on(BEGIN + HOUR, "10")
    there.edge.plan = lambda asked: fault if "MeterEvents" in asked.operation_id else None
    await there.use(BEGIN + 2 * HOUR, "5")
    there.to(BEGIN + 4 * HOUR)
    with pytest.raises(StepWaits):
        await there.advance()
    there.edge.plan = no_faults
    there.to(BEGIN + 40 * HOUR)
    there.world.answers.clear()

    await there.until_done()

    assert there.counted() == 15
    assert [report.state for report in await there.reports()] == [ReportState.SENT] * 2


async def test_a_route_ends_with_its_terms_and_bills_the_rest_at_once(there: MeterStage) -> None:
    await there.subscribe()
    await there.work_on(BEGIN + timedelta(days=2), "100")
    end = BEGIN + timedelta(days=5, minutes=30)
    there.to(end)
    await there.pause(end)

    await there.advance()
    states = await there.route_states()
    there.to(end + HOUR)
    await there.advance()
    await there.work_on(BEGIN + timedelta(days=6), "1000")

    [subscription] = there.world.of("subscription")
    await there.differences()
    [invoice] = await there.kept()
    assert states == [RouteState.CLOSING]
    assert await there.route_states() == [RouteState.CLOSED]
    assert (subscription["status"], there.counted()) == ("canceled", 100)
    assert (invoice.state, invoice.subtotal) == (RemoteState.PAID, Decimal("1.25"))


async def test_what_stripe_refuses_is_billed_here(there: MeterStage) -> None:
    await there.subscribe()
    there.edge.plan = lambda asked: _refuse(asked, there)
    await there.use(BEGIN + HOUR, "100")
    there.to(BEGIN + 3 * HOUR)

    await there.advance()
    await there.advance()

    assert await there.route_states() == [RouteState.REFUSED]
    assert await there.billed_here("2026-03") == Decimal("1.25")


def _refuse(asked: Recorded, there: MeterStage) -> None:
    """Makes the account lose its meters before each price."""
    if asked.operation_id == "PostPrices":
        for meter in there.world.of("billing.meter"):
            del there.world.objects[meter["id"]]


async def test_without_stripe_metered_charges_are_billed_here(
    billing_database: Database, tenant: str, clock: ManualClock
) -> None:
    stage = stage_of(billing_database, clock, tenant)
    work = work_of(billing_database, Providers(billing_database, Envelope([])), clock=clock)
    there = MeterStage(stage, work, MeterWorld(clock), StripeEdge(""))
    await there.subscribe()
    await there.work_on(BEGIN + HOUR, "100")

    assert await there.route_states() == []
    assert await there.billed_here("2026-03") == Decimal("1.25")


async def test_a_webhook_brings_the_invoice_and_the_list_shows_it(
    there: MeterStage, usage_channel: PeerChannel, billing_database: Database
) -> None:
    await there.subscribe()
    await there.work_on(BEGIN + timedelta(days=2), "100")
    await there.past(APRIL)
    there.world.advance()
    [invoice] = [one for one in there.world.of("invoice") if one["status"] == "paid"]
    event = WebhookEvent(
        tenant_id=there.tenant,
        webhook_event_id="w-1",
        provider="stripe",
        provider_event_id="evt_1",
        event_type="invoice.paid",
        object_id=invoice["id"],
        api_version="",
        live_mode=False,
        state=EventState.RECEIVED,
        provider_created_at=there.clock.now(),
        received_at=there.clock.now(),
    )

    handled = await there.work.handling.handle(event)

    built = build(
        *(billing_database, Peers(usage=usage_channel, budget=usage_channel)),
        settings_of(),
        clock=there.clock,
    )
    async with serving(*built.servicers, database=billing_database) as server:
        stub = ProviderServiceStub(server.channel("org_admin", tenant=there.tenant))
        listed = (await stub.ListMeteredInvoices(ListMeteredInvoicesRequest())).metered_invoices
    assert handled is EventState.HANDLED
    assert [(one.provider_invoice_id, one.subtotal.amount) for one in listed] == [
        (invoice["id"], "1.25")
    ]
    assert (listed[0].rated.amount, listed[0].difference.amount) == ("1.25", "0")
