"""A reset by the machine's own clock, with the worker running as in production."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import budget_service_pb2, budget_service_pb2_grpc
from finops.budget.v1 import budget_status_model_pb2 as status_model
from pydantic import SecretStr

from services.budget import bootstrap
from services.budget.settings import BudgetSettings
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.workers import Loop
from tests.budget.conftest import RunningUsage
from tests.budget.making import at, budget_of
from tests.support.server import JWT_SECRET, SERVICE_SECRET, service_token_of, serving

RESET_SECONDS_MAX = 5


async def test_a_reset_is_told_within_five_seconds_and_once(
    budget_database: Database, usage_server: RunningUsage, tenant: str
) -> None:
    # Budgets of other tests stand months ago by their own clocks: not what is measured here.
    async with budget_database.system_transaction() as tx:
        await tx.driver.execute(
            "UPDATE budget.budget_period SET closed_at = now() WHERE closed_at IS NULL"
        )
    settings = BudgetSettings(
        jwt_secret=SecretStr(JWT_SECRET), service_token_secret=SecretStr(SERVICE_SECRET)
    )
    clock = SystemClock()
    usage = usage_server.server.channel_with(service_token_of("budget", tenant=""))
    built = bootstrap.build(budget_database, usage, settings, clock=clock)
    turns = [each for each in built.workers if getattr(each, "name", "") == "period turns"]
    # Two replicas' workers side by side.
    loops = [turns[0], *bootstrap.build(budget_database, usage, settings, clock=clock).workers]
    running = [each for each in loops if isinstance(each, Loop) and each.name == "period turns"]
    tasks = [asyncio.create_task(each.run()) for each in running]
    instant = clock.now() + timedelta(seconds=3)
    rule = model.PeriodRule(custom_days=1, anchor_time=at(instant.isoformat()))
    budget = budget_of(cadence=model.BUDGET_CADENCE_CUSTOM, period_rule=rule)

    async with serving(*built.servicers, database=budget_database) as server:
        stub = budget_service_pb2_grpc.BudgetServiceStub(server.channel("org_admin", tenant=tenant))
        made = await stub.CreateBudget(budget_service_pb2.CreateBudgetRequest(budget=budget))
        request = budget_service_pb2.WatchBudgetsRequest(budget_ids=[made.budget.budget_id])
        resets = []
        async with asyncio.timeout(3 + 2 * RESET_SECONDS_MAX):
            async for answer in stub.WatchBudgets(request):
                if answer.change.kind == status_model.BUDGET_CHANGE_KIND_PERIOD_RESET:
                    resets.append(answer.change)
                    seen_at = clock.now()
                    break
    for each in running:
        await each.stop()
    await asyncio.gather(*tasks)

    assert len(running) == 2
    assert (seen_at - instant).total_seconds() < RESET_SECONDS_MAX
    assert resets[0].period.start_time == at(instant.isoformat())
    async with budget_database.read(tenant) as tx:
        told = await tx.driver.fetchval(
            "SELECT count(*) FROM budget.budget_change WHERE kind = 'period_reset'"
            " AND tenant_id = $1",
            tenant,
        )
    assert told == 1
