"""Dashboards over 30 of 90 days of 10 million events: new ones and repeated ones."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import uvloop
from finops.budget.v1 import budget_model_pb2, budget_service_pb2, budget_service_pb2_grpc
from finops.common.v1.money_pb2 import Money
from finops.reporting.v1 import reporting_messages_pb2 as messages
from finops.reporting.v1 import reporting_service_pb2_grpc
from finops.usage.v1 import cost_model_pb2, usage_service_pb2_grpc

from cli.stack.keys import load_or_make_keys
from cli.stack.ports import free_port
from cli.stack.processes import module_command
from cli.stack.services import service_environment
from services.budget.service import event_telling, filling
from services.kernel.database import Database
from services.kernel.migrate import service_role, service_url, worker_role
from services.optimizer.service import following
from services.reporting.worker import COST_CONSUMER
from tests.bench.figures import Figure, percentile
from tests.bench.queries import TENANT, fill, settle
from tests.bench.stack import BenchStack

PERIOD_DAYS = 30
WARM_UP = 5
COLD = 60
CACHED = 2_000
BUDGETS = 20
START_SECONDS = 60
# What each service follows of usage; a system that has run all the time has followed it to its end.
CONSUMERS = {
    "budget": (filling.COST_CONSUMER, event_telling.COST_CONSUMER),
    "optimizer": (following.CONSUMER,),
    "reporting": (COST_CONSUMER, "dashboard_costs"),
}
MODULES = {name: f"services.{name}" for name in CONSUMERS}


@dataclass(frozen=True, slots=True)
class Timed:
    """How long calls took, in seconds."""

    cold: Sequence[float]
    cached: Sequence[float]


def bench_dashboard(stack: BenchStack) -> Iterator[Figure]:
    """Stores the events with usage alone, then starts what a dashboard asks, and asks it."""
    now = datetime.now(UTC)
    end = datetime(now.year, now.month, now.day, tzinfo=UTC)
    uvloop.run(fill(stack, end))
    uvloop.run(_follow_to_the_end(stack))
    with _started(stack) as addresses:
        timed = uvloop.run(_ask(stack, addresses, end))
    yield Figure(
        "dashboard_cached_p95_ms", percentile(timed.cached, 0.95) * 1000, "ms", len(timed.cached)
    )
    yield Figure(
        "dashboard_cold_p95_ms", percentile(timed.cold, 0.95) * 1000, "ms", len(timed.cold)
    )


async def _follow_to_the_end(stack: BenchStack) -> None:
    """Waits for the roll-ups, and puts the services' cursors where they would be by now."""
    async with grpc.aio.insecure_channel(stack.usage_address) as channel:
        stub = usage_service_pb2_grpc.UsageServiceStub(channel)
        answer = await stub.QueryCosts(
            cost_model_pb2.QueryCostsRequest(), metadata=_token(stack), timeout=60
        )
    await settle(stack)
    for service, consumers in CONSUMERS.items():
        database = _database(stack, service)
        async with database.system_transaction() as tx:
            for name in consumers:
                await tx.driver.execute(
                    "INSERT INTO feed_cursor (name, position) VALUES ($1, $2)",
                    name,
                    answer.newest_sequence,
                )
        await database.close()


def _database(stack: BenchStack, service: str) -> Database:
    secret = load_or_make_keys(stack.data_dir).role_secret
    url = stack.state.database_url
    return Database.connect(
        service_url(url, service_role(service), secret),
        service=service,
        worker_url=service_url(url, worker_role(service), secret),
    )


@contextmanager
def _started(stack: BenchStack) -> Iterator[dict[str, str]]:
    """Runs the other services beside the stack; yields the address of each."""
    addresses = {"usage": stack.usage_address}
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name, module in MODULES.items():
            port = free_port()
            environment = service_environment(
                name,
                data_dir=stack.data_dir,
                owner_url=stack.state.database_url,
                redis_url=stack.state.redis_url,
                keys=load_or_make_keys(stack.data_dir),
                port=port,
                metrics_port=free_port(),
                peers=addresses,
            )
            command = module_command(module)
            running.append(subprocess.Popen(command, env=environment, stdout=sys.stderr))
            addresses[name] = f"127.0.0.1:{port}"
        yield addresses
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait()


async def _ask(stack: BenchStack, addresses: dict[str, str], end: datetime) -> Timed:
    await _make_budgets(stack, addresses["budget"])
    async with grpc.aio.insecure_channel(addresses["reporting"]) as channel:
        stub = reporting_service_pb2_grpc.ReportingServiceStub(channel)

        async def timed(number: int) -> tuple[float, Any]:
            request = _question(end, number)
            started = time.perf_counter()
            answer = await stub.GetDashboard(
                request, metadata=_token(stack), timeout=60, wait_for_ready=True
            )
            return time.perf_counter() - started, answer.dashboard

        for number in range(WARM_UP):
            _, dashboard = await timed(-1 - number)
        # A filter leaves alerts and realized savings out, and nothing else may be missing.
        missing = set(dashboard.missing_parts) - {"alerts", "summary.saved"}
        if missing or not Decimal(dashboard.summary.cost.amount):
            raise RuntimeError(f"a dashboard lacks {missing or 'cost'}")
        cold = [(await timed(number))[0] for number in range(COLD)]
        cached = [(await timed(number % COLD))[0] for number in range(CACHED)]
    return Timed(cold, cached)


async def _make_budgets(stack: BenchStack, address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = budget_service_pb2_grpc.BudgetServiceStub(channel)
        for number in range(BUDGETS):
            budget = budget_model_pb2.Budget(
                display_name=f"Project {number}",
                scope=budget_model_pb2.BudgetScope(
                    project=f"project-{number % 10}", resource_type="llm"
                ),
                cadence=budget_model_pb2.BUDGET_CADENCE_MONTHLY,
                amount=Money(currency_code="USD", amount="100000"),
            )
            await stub.CreateBudget(
                budget_service_pb2.CreateBudgetRequest(budget=budget),
                metadata=_token(stack),
                timeout=START_SECONDS,
                wait_for_ready=True,
            )


def _token(stack: BenchStack) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {stack.token(TENANT)}")]


def _question(end: datetime, number: int) -> messages.GetDashboardRequest:
    """Returns a question of which no service has kept a part, but with as much to read as others.

    Its filter is one that budgets, anomalies and recommendations can be narrowed by too.
    """
    return messages.GetDashboardRequest(
        filter=f'resource_type != "none-{number}"',
        start=(end - timedelta(days=PERIOD_DAYS)).isoformat(),
        end=end.isoformat(),
    )
