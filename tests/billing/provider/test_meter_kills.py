"""Usage is told once, though the worker that tells it is killed at every boundary."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from services.billing.domain.metered_route import ReportState, RouteState
from services.billing.service.provider.providers import Providers
from services.billing.service.provider.route_jobs import ROUTES_JOB
from services.kernel.clock import ManualClock, SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.jobs import enqueue
from tests.billing.invoicing_stage import stage_of
from tests.billing.provider.conftest import push_workers
from tests.billing.provider.meter_stage import HOUR, MeterStage
from tests.billing.provider.seeding import use_stripe, work_of
from tests.support.database import ServiceDatabase
from tests.support.stripe.edge import StripeEdge
from tests.support.stripe.faults import EveryBoundary, Fault
from tests.support.stripe.meters import MeterWorld
from tests.support.stripe.wire import serving_wire
from tests.support.waiting import eventually

FULL = os.environ.get("FINOPS_FAULTS") == "full"
# A kill takes seconds until the job is taken up again.
OPERATIONS = {"PostSubscriptions", "PostBillingMeterEvents"} | (
    {"PostCustomers", "PostBillingMeters", "PostPrices"} if FULL else set()
)
KINDS = (Fault.KILL_BEFORE, Fault.KILL_AFTER)


async def test_a_worker_killed_at_every_boundary_tells_each_unit_once(
    billing_service: ServiceDatabase,
    billing_database: Database,
    envelope: Envelope,
    tenant: str,
    tmp_path: Path,
) -> None:
    begin = SystemClock().now().replace(minute=0, second=0, microsecond=0) - 5 * HOUR
    clock, world = ManualClock(begin + timedelta(seconds=1)), MeterWorld(SystemClock())
    edge = StripeEdge("http://127.0.0.1:9")
    edge.overlay = world  # type: ignore[assignment] # it answers as the overlay does
    plan = EveryBoundary(KINDS)
    edge.plan = lambda asked: plan(asked) if asked.operation_id in OPERATIONS else None
    await _end_all_others(billing_database)
    await use_stripe(billing_database, envelope, tenant)
    work = work_of(billing_database, Providers(billing_database, envelope), clock=clock)
    there = MeterStage(stage_of(billing_database, clock, tenant), work, world, edge)
    await there.subscribe()
    for hour in range(4):
        await there.use(begin + hour * HOUR, "25.25")

    async def is_told() -> bool:
        async with billing_database.system_transaction() as tx:
            await enqueue(tx, ROUTES_JOB, tenant_id=tenant, key=f"{ROUTES_JOB}:{tenant}")
        if await there.route_states() != [RouteState.OPEN]:
            return False
        reports = await there.reports()
        return bool(reports) and {report.state for report in reports} == {ReportState.SENT}

    async with serving_wire(edge.answer) as url:
        edge.url = url
        with push_workers(billing_service, edge, tmp_path / "worker.log") as workers:
            await eventually(is_told, seconds=60)
    await edge.client.aclose()

    assert {name for name, _ in plan.injected} == OPERATIONS
    assert workers.kills == 2 * len(OPERATIONS)
    assert there.counted() == 101
    made = [world.of(kind) for kind in ("customer", "billing.meter", "price", "subscription")]
    assert [len(each) for each in made] == [1, 1, 1, 1]
    assert edge.violations == []


async def _end_all_others(database: Database) -> None:
    """Leaves the worker nothing to do for tenants of other tests."""
    async with database.system_transaction() as tx:
        await tx.driver.execute("DELETE FROM pgqueuer")
        await tx.driver.execute("UPDATE billing.subscription SET state = 'canceled'")
        await tx.driver.execute(
            "UPDATE billing.meter_route SET state = 'closed' WHERE state <> 'refused'"
        )
