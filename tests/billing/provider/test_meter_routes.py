"""Routes to Stripe's meters: when they begin and end, and what keeps a tenant at its account."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog
from finops.billing.v1 import provider_model_pb2 as models
from finops.billing.v1.provider_service_pb2 import ListMeterRoutesRequest
from finops.billing.v1.provider_service_pb2_grpc import ProviderServiceStub

from services.billing.bootstrap import Peers, build
from services.billing.domain.account import AutomatedBilling
from services.billing.domain.metered_route import RouteState
from services.billing.domain.provider import ProviderKind, ProviderSettings, Secrets
from services.billing.errors import ProviderUnavailable
from services.billing.errors.metered import MeterRouteOpen
from services.billing.service.invoicing import Wanted
from services.billing.service.provider import route_jobs
from services.billing.service.provider.port import ProviderFault
from services.billing.service.provider.route_jobs import ROUTE_JOB
from services.billing.service.provider.settings import SettingsChange
from services.billing.service.provider.steps import StepWaits
from services.billing.store import meter_routes
from services.billing.store.accounts import find_automated, set_automated
from services.billing.tables.provider import SELLER_TENANT
from services.kernel import job_worker
from services.kernel.client import PeerChannel
from services.kernel.database import Database
from services.kernel.job_worker import JobWorker
from services.kernel.jobs import Job, enqueue
from tests.billing.conftest import settings_of
from tests.billing.provider.meter_stage import APRIL, BEGIN, HOUR, MeterStage
from tests.billing.provider.test_meters import clock, there
from tests.support.server import serving
from tests.support.stripe.faults import Fault
from tests.support.waiting import eventually

__all__ = ["clock", "there"]
DAY = timedelta(days=1)
OTHER_KEY = "rk_test_another_key_0001"


async def bill_usage(there: MeterStage, *, is_wanted: bool) -> None:
    """Sets whether usage is billed, as `ConfigureAutomatedBilling` does."""
    account_id = there.subscription.account_id
    async with there.stage.database.transaction(there.tenant) as tx:
        known = await find_automated(tx, there.tenant, account_id)
        wanted: AutomatedBilling = replace(known, include_usage=is_wanted)
        await set_automated(tx, there.tenant, wanted, there.clock.now())


async def change(there: MeterStage, api_key: str = "", **fields: Any) -> ProviderSettings:
    """Changes the tenant's provider settings."""
    settings = replace(ProviderSettings(tenant_id="", kind=ProviderKind.OFFLINE), **fields)
    names = {*fields, *(["api_key"] if api_key else [])}
    wanted = SettingsChange(settings=settings, secrets=Secrets(api_key=api_key), names=names)
    with there.stage.caller():
        return await there.work.settings.update_provider_settings(there.tenant, wanted)


async def opened(there: MeterStage) -> MeterStage:
    """Lets Stripe price what was used on the third day."""
    await there.subscribe()
    await there.work_on(BEGIN + 2 * DAY, "100")
    assert await there.route_states() == [RouteState.OPEN]
    return there


async def test_usage_that_is_not_to_be_billed_begins_no_route(there: MeterStage) -> None:
    await there.subscribe()
    await bill_usage(there, is_wanted=False)

    await there.work_on(BEGIN + 2 * DAY, "100")

    assert await there.route_states() == []
    assert there.world.of("subscription") == []
    assert await there.billed_here("2026-03") == 0


async def test_usage_switched_off_ends_its_route_and_each_hour_is_billed_once(
    there: MeterStage,
) -> None:
    await opened(there)
    there.to(BEGIN + 5 * DAY)
    await bill_usage(there, is_wanted=False)

    await there.work_on(BEGIN + 6 * DAY, "1000")
    unbilled = await there.billed_here("2026-03")
    there.to(BEGIN + 10 * DAY)
    await bill_usage(there, is_wanted=True)
    await there.work_on(BEGIN + 11 * DAY, "60")
    there.to(APRIL + HOUR)
    await there.use(BEGIN + 2 * DAY, "8")

    assert await there.route_states() == [RouteState.CLOSED]
    assert there.counted() == 100
    assert unbilled == 0
    # 1060 tokens at 1.25 cents: all that came outside of the route's hours, and no more.
    assert await there.billed_here("2026-03") == Decimal("13.25")


async def test_late_usage_of_a_route_that_ended_is_on_no_invoice_of_ours(there: MeterStage) -> None:
    await opened(there)
    there.to(BEGIN + 5 * DAY)
    await bill_usage(there, is_wanted=False)
    there.to(BEGIN + 6 * DAY)
    await there.advance()
    await bill_usage(there, is_wanted=True)
    await there.use(BEGIN + 7 * DAY, "40")
    there.to(APRIL + 2 * DAY)
    with there.stage.caller():
        march = await there.stage.invoices.generate_invoice(
            Wanted(tenant_id=there.tenant, month="2026-03", finalize=True)
        )
        await there.use(BEGIN + 2 * DAY, "8")
        await there.use(BEGIN + 8 * DAY, "200")
        there.to(APRIL + 31 * DAY)
        april = await there.stage.invoices.generate_invoice(
            Wanted(tenant_id=there.tenant, month="2026-04", finalize=True)
        )

    assert (march.total, april.total) == (Decimal("0.5"), Decimal("2.5"))
    [late] = await there.stage.lines(april.invoice_id)
    assert (late.kind, late.quantity) == ("late_usage", 200)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": ProviderKind.OFFLINE},
        {"live_mode": True},
        {"kind": ProviderKind.STRIPE, "live_mode": True},
    ],
)
async def test_a_tenant_stays_at_its_account_while_meters_price_its_usage(
    there: MeterStage, fields: Mapping[str, Any]
) -> None:
    await opened(there)

    with pytest.raises(MeterRouteOpen) as refusal:
        await change(there, **fields)

    assert refusal.value.reason == "METER_ROUTE_OPEN"
    assert refusal.value.metadata["subscription_id"] == there.subscription.subscription_id
    for step in ("plan without metered charges", "include_usage", "finops billing routes"):
        assert step in refusal.value.message
    assert (await there.work.providers.of(there.tenant)).name == "stripe"


async def test_a_tenant_leaves_once_its_routes_have_ended(there: MeterStage) -> None:
    await opened(there)
    there.to(BEGIN + 5 * DAY)
    await bill_usage(there, is_wanted=False)
    await there.advance()
    with pytest.raises(MeterRouteOpen):
        await change(there, kind=ProviderKind.OFFLINE)
    there.to(BEGIN + 5 * DAY + HOUR)
    await there.advance()

    stored = await change(there, kind=ProviderKind.OFFLINE)

    assert stored.kind is ProviderKind.OFFLINE
    assert await there.route_states() == [RouteState.CLOSED]


async def test_a_key_is_replaced_by_one_of_the_same_account_only(there: MeterStage) -> None:
    await opened(there)
    [subscription] = there.world.of("subscription")

    stored = await change(there, OTHER_KEY)
    del there.world.objects[subscription["id"]]  # so nobody's key sees it
    with pytest.raises(MeterRouteOpen, match="of another account"):
        await change(there, "rk_test_a_strangers_key")

    assert stored.api_key_hint == "rk_test_…0001"
    shown, _ = await there.work.settings.get_provider_settings(there.tenant)
    assert shown == stored


async def test_a_key_that_cannot_be_told_is_not_taken_while_a_route_is_open(
    there: MeterStage,
) -> None:
    await opened(there)
    there.edge.plan = lambda _: Fault.LOST_BEFORE

    with pytest.raises(ProviderUnavailable) as refusal:
        await change(there, OTHER_KEY)

    assert "again" in refusal.value.message


async def test_a_route_that_was_not_open_yet_goes_when_its_tenant_leaves(there: MeterStage) -> None:
    await there.subscribe()
    there.edge.plan = lambda _: Fault.LOST_BEFORE
    await there.use(BEGIN, "100")
    for _ in range(2):
        with pytest.raises((StepWaits, ProviderFault)):
            await there.advance()
    assert await there.route_states() == [RouteState.OPENING]

    await change(there, kind=ProviderKind.OFFLINE)
    await there.advance()

    assert await there.route_states() == [RouteState.REFUSED]
    there.to(APRIL + HOUR)
    assert await there.billed_here("2026-03") == Decimal("1.25")


async def test_the_sellers_settings_hold_the_tenants_that_have_none_of_their_own(
    there: MeterStage, billing_database: Database
) -> None:
    await opened(there)

    async def held() -> set[str]:
        async with billing_database.system_transaction() as tx:
            found = await meter_routes.routes_through(tx, SELLER_TENANT)
        return {route.tenant_id for route in found}

    with_own = await held()
    async with billing_database.system_transaction() as tx:
        await tx.driver.execute(
            "DELETE FROM billing.provider_settings WHERE tenant_id = $1", there.tenant
        )

    assert there.tenant not in with_own
    assert there.tenant in await held()
    with pytest.raises(MeterRouteOpen, match="set its key again"):
        await there.advance()


async def test_routes_are_listed_with_what_was_told(
    there: MeterStage, usage_channel: PeerChannel, billing_database: Database
) -> None:
    await opened(there)
    peers = Peers(usage=usage_channel, budget=usage_channel)
    built = build(billing_database, peers, settings_of(), clock=there.clock)

    async with serving(*built.servicers, database=billing_database) as server:
        stub = ProviderServiceStub(server.channel("org_admin", tenant=there.tenant))
        listed = (await stub.ListMeterRoutes(ListMeterRoutesRequest())).meter_routes
        none = await stub.ListMeterRoutes(ListMeterRoutesRequest(filter="state = CLOSED"))

    [route] = listed
    assert route.state == models.METER_ROUTE_STATE_OPEN
    assert (route.subscription_id, route.unsettled_count) == (
        there.subscription.subscription_id,
        0,
    )
    assert [(told.charge_id, told.quantity) for told in route.told] == [("tokens", "100")]
    assert route.provider_subscription_id.startswith("sub_")
    assert list(none.meter_routes) == []


@dataclass
class Counter:
    """Counts as an instrument does."""

    counted: list[Mapping[str, str]] = field(default_factory=list)

    def add(self, amount: int, attributes: Mapping[str, str]) -> None:
        self.counted += [attributes] * amount


async def spoil(there: MeterStage, route: str) -> None:
    """Makes the plan's prices what nobody can read."""
    async with there.stage.database.system_transaction() as tx:
        await tx.driver.execute(
            "UPDATE billing.pricing_plan SET rates = jsonb_set(rates, '{0,charges,0,route}', $2)"
            " WHERE plan_id = $1",
            *(there.subscription.plan_id, f'"{route}"'),
        )


async def test_what_nobody_expects_of_a_route_is_told_counted_and_tried_again(
    there: MeterStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = Counter()
    monkeypatch.setattr(route_jobs, "_failures", failures)
    monkeypatch.setattr(job_worker, "POLL", timedelta(seconds=0.1))
    await opened(there)
    await spoil(there, "by_moonlight")
    own = (there.tenant, there.subscription.subscription_id.encode())
    worker = JobWorker(there.stage.database, service="billing")
    worker.handle(ROUTE_JOB, there.work.route_jobs.run_one, backoff_seconds=0.05)
    there.to(BEGIN + 4 * DAY)
    await there.use(BEGIN + 3 * DAY, "20")

    async def is_told() -> bool:
        return there.counted() == 120

    async def has_failed() -> bool:
        return len(failures.counted) >= 2

    with structlog.testing.capture_logs() as logs:
        async with there.stage.database.transaction(there.tenant) as tx:
            await enqueue(tx, ROUTE_JOB, own[1])
        working = asyncio.create_task(worker.run())
        await eventually(has_failed)
        await spoil(there, "stripe_metered")
        await eventually(is_told)
        await worker.stop()
        await working

    told = [each for each in logs if each["event"] == "meter route failed"]
    assert {each["tenant"] for each in told} == {there.tenant}
    assert [each["attempt"] for each in told] == list(range(1, len(told) + 1))
    assert set(map(str, failures.counted)) == {"{'kind': 'unexpected'}"}


async def test_each_route_is_a_job_of_its_own(there: MeterStage) -> None:
    await opened(there)

    for _ in range(2):
        await there.work.route_jobs.run(Job(0, "", b"", 1, None))

    async with there.stage.database.system_transaction() as tx:
        queued = await tx.driver.fetch(
            "DELETE FROM pgqueuer WHERE entrypoint = $1"
            " RETURNING payload, headers->>'tenant' AS tenant",
            ROUTE_JOB,
        )
    own = [row["payload"].decode() for row in queued if row["tenant"] == there.tenant]
    assert own == [there.subscription.subscription_id]
