"""Recommendations: for one tenant with ten million events, and for a thousand tenants.

What ingest and the feed take is measured elsewhere, so the statistics of the events are written
where the optimizer's feed consumer would have written them. What is measured goes over gRPC to the
running optimizer, which asks the running usage service for prices.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import numpy as np
import uvloop
from finops.optimizer.v1 import optimizer_messages_pb2 as messages
from finops.optimizer.v1 import (
    optimizer_service_pb2_grpc,
    run_model_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
)

from cli.stack.keys import load_or_make_keys
from cli.tokens import sign_token
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.migrate import service_role, service_url, worker_role
from services.optimizer.domain.subject import Subject
from services.optimizer.domain.usage_change import UsageChange
from services.optimizer.store.statistics import (
    DaySamples,
    apply_changes,
    changed_days,
    replace_details,
)
from tests.bench.figures import Figure
from tests.bench.stack import BenchStack

EVENTS = 10_000_000
DAYS = 90
SERIES = 500
MACHINES = 100
SAMPLES_A_DAY = 288
TENANTS = 1_000
TENANT_DAYS = 14
TENANT_SERIES = 4
TENANTS_A_BATCH = 20
CALL_SECONDS = 600.0
POLL_SECONDS = 0.2


def bench_recommend(stack: BenchStack) -> Iterator[Figure]:
    """Prepares the statistics, then measures both."""
    seconds, events = uvloop.run(_one_tenant(stack))
    yield Figure("recommend_10m_events_seconds", seconds, "s", events)
    seconds, done = uvloop.run(_many_tenants(stack))
    yield Figure("recommend_1000_tenants_seconds", seconds, "s", done)


def _database(stack: BenchStack) -> Database:
    secret = load_or_make_keys(stack.data_dir).role_secret
    url, worker = (
        service_url(stack.state.database_url, role, secret)
        for role in (service_role("optimizer"), worker_role("optimizer"))
    )
    return Database.connect(url, service="optimizer", worker_url=worker)


def _channel(stack: BenchStack) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{stack.state.processes['optimizer'].port}")


def _midnight() -> datetime:
    now = SystemClock().now().astimezone(UTC)
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _subject(number: int) -> Subject:
    is_machine = number < MACHINES
    return Subject(
        resource_type="vm" if is_machine else "llm",
        unit="hour" if is_machine else "token",
        currency_code="USD",
        user_id="" if is_machine else f"user-{number % 40}",
        department=f"department-{number % 12}",
        resource_id=f"machine-{number}" if is_machine else f"model-{number % 6}",
        service="compute" if is_machine else "inference",
        provider="example",
        region="eu",
        tags=(("number", str(number)),),
    )


def _changes(
    tenant: str, day: datetime, subjects: Sequence[Subject], events: int
) -> list[tuple[str, UsageChange]]:
    return [
        (
            tenant,
            UsageChange(
                hour_at=day + timedelta(hours=hour),
                series_id=number + 1,
                subject=subject,
                cost=Decimal("0.4") if number < MACHINES else Decimal("0.0125") * events,
                quantity=Decimal(1) if number < MACHINES else Decimal(900 * events),
                events=events,
                failed_events=0,
                retries=0,
                utilization_samples=1 if number < MACHINES else 0,
            ),
        )
        for number, subject in enumerate(subjects)
        for hour in range(24)
    ]


async def _one_tenant(stack: BenchStack) -> tuple[float, int]:
    """Returns how long GenerateRecommendations takes, and over how many events."""
    database = _database(stack)
    tenant, draw = "bench-large", np.random.default_rng(1)
    subjects = [_subject(number) for number in range(SERIES)]
    each = -(-EVENTS // (SERIES * DAYS * 24))
    minutes = list(range(0, 1440, 1440 // SAMPLES_A_DAY))
    for back in range(DAYS, 0, -1):
        day = _midnight() - timedelta(days=back)
        samples = [
            DaySamples(
                f"machine-{number}",
                "cpu",
                Decimal(8),
                "core",
                minutes,
                [float(ratio) for ratio in draw.uniform(0, 0.01 + number / MACHINES, len(minutes))],
            )
            for number in range(MACHINES)
        ]
        async with database.system_transaction() as tx:
            await apply_changes(tx, _changes(tenant, day, subjects, each))
            for changed in await changed_days(tx, limit=2, tenant_id=tenant):
                await replace_details(tx, changed, samples, [])
    await database.close()
    async with _channel(stack) as channel:
        stub: Any = optimizer_service_pb2_grpc.OptimizerServiceStub(channel)
        request = messages.GenerateRecommendationsRequest()
        request.wait.FromSeconds(30)
        metadata = [("authorization", f"Bearer {stack.token(tenant)}")]
        started = time.perf_counter()
        answer = await stub.GenerateRecommendations(
            request, metadata=metadata, timeout=CALL_SECONDS
        )
        seconds = time.perf_counter() - started
    if answer.run.state != run_model_pb2.RUN_STATE_SUCCEEDED or not answer.recommendations:
        raise RuntimeError(f"the run did not succeed: {answer.run}")
    return seconds, answer.run.event_count


async def _many_tenants(stack: BenchStack) -> tuple[float, int]:
    """Returns how long RunOptimization takes over all of them, and how many are done."""
    database = _database(stack)
    subjects = [_subject(number * 60) for number in range(TENANT_SERIES)]
    names = [f"bench-{number:04}" for number in range(TENANTS)]
    for start in range(0, TENANTS, TENANTS_A_BATCH):
        for back in range(TENANT_DAYS, 0, -1):
            day = _midnight() - timedelta(days=back)
            changes = [
                change
                for name in names[start : start + TENANTS_A_BATCH]
                for change in _changes(name, day, subjects, 40)
            ]
            async with database.system_transaction() as tx:
                await apply_changes(tx, changes)
    await database.close()
    async with _channel(stack) as channel:
        stub: Any = run_service_pb2_grpc.OptimizationRunServiceStub(channel)
        metadata = [("authorization", f"Bearer {_platform_token(stack)}")]
        request = run_service_pb2.RunOptimizationRequest(tenant_ids=names)
        started = time.perf_counter()
        run = (await stub.RunOptimization(request, metadata=metadata, timeout=60)).run
        while not run.HasField("end_time"):
            time.sleep(POLL_SECONDS)  # noqa: ASYNC251 - nothing else runs in this process
            look = run_service_pb2.GetOptimizationRunRequest(run_id=run.run_id)
            run = (await stub.GetOptimizationRun(look, metadata=metadata, timeout=60)).run
        seconds = time.perf_counter() - started
    if run.state != run_model_pb2.RUN_STATE_SUCCEEDED:
        raise RuntimeError(f"the run did not succeed: {run}")
    return seconds, run.progress.done_units


def _platform_token(stack: BenchStack) -> str:
    return sign_token(
        load_or_make_keys(stack.data_dir),
        tenant="platform",
        subject="bench",
        roles=["platform_admin"],
        now=SystemClock().now(),
        life=timedelta(hours=6),
    )
