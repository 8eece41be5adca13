"""Recommendations: for one tenant with ten million events, and for a thousand tenants.

What ingest and the feed take is measured elsewhere, so the statistics of the events are written
where the optimizer's feed consumer would have written them. What is measured goes over gRPC to the
running optimizer, which asks the running usage service for prices. Every tenant has waste, samples,
failed work and a catalogue, and nothing is known of it before: a run that leaves one of them
without advice fails the bench. The thousand are copies of ten that differ.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import numpy as np
import uvloop
from finops.optimizer.v1 import optimizer_messages_pb2 as messages
from finops.optimizer.v1 import (
    optimizer_model_pb2,
    optimizer_service_pb2_grpc,
    resource_service_pb2,
    resource_service_pb2_grpc,
    run_model_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
)
from google.api.httpbody_pb2 import HttpBody

from cli.stack.keys import load_or_make_keys
from cli.tokens import sign_token
from services.kernel.clock import SystemClock
from services.kernel.database import Database
from services.kernel.migrate import service_role, service_url, worker_role
from services.optimizer.domain.statistics import AttemptGroup
from services.optimizer.domain.subject import Subject
from services.optimizer.domain.usage_change import UsageChange
from services.optimizer.store.statistics import (
    ChangedDay,
    DaySamples,
    apply_changes,
    replace_details,
)
from tests.bench.figures import Figure
from tests.bench.stack import BenchStack

DAYS = 90
SERIES = 500  # that make 10.8 million events
MACHINES = 100
EVENTS_AN_HOUR = 10  # of each series; those of machines are samples of CPU and memory in turn
TENANTS = 1_000
MODELS = 10  # of tenants, each copied
TENANT_DAYS = 30
TENANT_SERIES = 12
TENANT_MACHINES = 6
CALL_SECONDS = 600.0
POLL_SECONDS = 0.2
KINDS = {
    optimizer_model_pb2.RECOMMENDATION_KIND_IDLE_RESOURCE,
    optimizer_model_pb2.RECOMMENDATION_KIND_RIGHTSIZING,
    optimizer_model_pb2.RECOMMENDATION_KIND_ERROR_REDUCTION,
}
COPIED = ("dimension", "usage_day", "utilization_day", "attempt_day", "catalogue", "instance_type")
CATALOGUE = b"""instance_type,provider,region,vcpus,memory_gib,hourly_price,reserved_hourly_price
general-8,example,eu,8,32,0.4,0.28
general-4,example,eu,4,16,0.2,0.14
general-2,example,eu,2,8,0.1,0.07
"""


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


@dataclass(frozen=True, slots=True)
class _Usage:
    """What a tenant uses: machines from idle to busy, and models whose calls fail now and then."""

    tenant: str
    series: int
    machines: int
    seed: int

    def subject(self, number: int) -> Subject:
        is_machine = number < self.machines
        tags = (("instance_type", "general-8"),) if is_machine else ()
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
            tags=(*tags, ("number", str(number))),
        )

    def changes(self, day: datetime) -> list[tuple[str, UsageChange]]:
        events, machines = EVENTS_AN_HOUR, self.machines
        return [
            (
                self.tenant,
                UsageChange(
                    hour_at=day + timedelta(hours=hour),
                    series_id=number + 1,
                    subject=self.subject(number),
                    cost=Decimal("0.4") if number < machines else Decimal("0.0125") * events,
                    quantity=Decimal(1) if number < machines else Decimal(900 * events),
                    events=events,
                    failed_events=0 if number < machines else 1,
                    retries=0,
                    utilization_samples=0,
                ),
            )
            for number in range(self.series)
            for hour in range(24)
        ]

    def samples(self, draw: np.random.Generator) -> list[DaySamples]:
        minutes = list(range(0, 1440, 120 // EVENTS_AN_HOUR))
        return [
            DaySamples(
                *(f"machine-{number}", measure, Decimal(size), unit, minutes),
                [float(ratio) for ratio in draw.uniform(0, top, len(minutes))],
            )
            for number in range(self.machines)
            for measure, size, unit, top in (
                ("cpu", 8, "core", 0.01 + number / self.machines),
                ("memory", 32, "gib", 0.15),
            )
        ]

    def failures(self, draw: np.random.Generator) -> list[AttemptGroup]:
        each = Decimal("0.0125")
        return [
            AttemptGroup(number + 1, "TIMEOUT", True, 1, hour, EVENTS_AN_HOUR // 4, each)  # noqa: FBT003
            for number in range(self.machines, self.series)
            for hour in sorted(set(draw.integers(0, 24, 4).tolist()))
        ]

    async def store(self, stack: BenchStack, database: Database, days: int) -> None:
        """Writes the statistics of so many days up to yesterday, and loads the catalogue."""
        draw = np.random.default_rng(self.seed)
        for back in range(days, 0, -1):
            day = _midnight() - timedelta(days=back)
            async with database.system_transaction() as tx:
                await apply_changes(tx, self.changes(day))
                changed = ChangedDay(self.tenant, day.date(), 1)
                await replace_details(tx, changed, self.samples(draw), self.failures(draw))
        async with _channel(stack) as channel:
            stub: Any = resource_service_pb2_grpc.ResourceServiceStub(channel)
            request = resource_service_pb2.ImportCatalogueRequest(
                catalogue_id="example", content=HttpBody(data=CATALOGUE)
            )
            metadata = [("authorization", f"Bearer {stack.token(self.tenant)}")]
            await stub.ImportCatalogue(request, metadata=metadata, timeout=60)


async def _one_tenant(stack: BenchStack) -> tuple[float, int]:
    """Returns how long GenerateRecommendations takes, and over how many events."""
    database = _database(stack)
    large = _Usage("bench-large", SERIES, MACHINES, seed=1)
    await large.store(stack, database, DAYS)
    await database.close()
    async with _channel(stack) as channel:
        stub: Any = optimizer_service_pb2_grpc.OptimizerServiceStub(channel)
        request = messages.GenerateRecommendationsRequest()
        request.wait.FromSeconds(30)
        metadata = [("authorization", f"Bearer {stack.token(large.tenant)}")]
        started = time.perf_counter()
        answer = await stub.GenerateRecommendations(
            request, metadata=metadata, timeout=CALL_SECONDS
        )
        seconds = time.perf_counter() - started
    kinds = {one.kind for one in answer.recommendations}
    if answer.run.state != run_model_pb2.RUN_STATE_SUCCEEDED or not kinds >= KINDS:
        raise RuntimeError(f"the run found {kinds}: {answer.run}")
    return seconds, answer.run.event_count


async def _many_tenants(stack: BenchStack) -> tuple[float, int]:
    """Returns how long RunOptimization takes over all of them, and how many are done."""
    database = _database(stack)
    names = [f"bench-{number:04}" for number in range(TENANTS)]
    for number, name in enumerate(names[:MODELS]):
        model = _Usage(name, TENANT_SERIES, TENANT_MACHINES, seed=number)
        await model.store(stack, database, TENANT_DAYS)
        await _copy(database, name, names[number + MODELS :: MODELS])
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
    async with database.system_transaction() as tx:
        advised = await tx.driver.fetchval(
            "SELECT count(*) FROM (SELECT tenant_id FROM recommendation"
            " WHERE tenant_id = ANY($1) AND kind = ANY($2) GROUP BY tenant_id"
            " HAVING count(DISTINCT kind) = cardinality($2::int[])) AS advised",
            names,
            [int(kind) for kind in KINDS],
        )
    await database.close()
    if run.state != run_model_pb2.RUN_STATE_SUCCEEDED or advised != TENANTS:
        raise RuntimeError(f"{advised} tenants have all kinds of advice: {run}")
    return seconds, run.progress.done_units


async def _copy(database: Database, model: str, names: Sequence[str]) -> None:
    """Gives tenants what another one has."""
    async with database.system_transaction() as tx:
        for table in COPIED:
            columns = await tx.driver.fetchval(
                "SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute"
                " WHERE attrelid = $1::text::regclass AND attnum > 0 AND attname <> 'tenant_id'"
                " AND NOT attisdropped",
                table,
            )
            await tx.driver.execute(
                f"INSERT INTO {table} (tenant_id, {columns}) SELECT name, {columns}"
                f" FROM {table}, unnest($2::text[]) AS name WHERE tenant_id = $1",
                model,
                names,
            )


def _platform_token(stack: BenchStack) -> str:
    return sign_token(
        load_or_make_keys(stack.data_dir),
        tenant="platform",
        subject="bench",
        roles=["platform_admin"],
        now=SystemClock().now(),
        life=timedelta(hours=6),
    )
