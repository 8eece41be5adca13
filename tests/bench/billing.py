"""Invoices: a month of a thousand tenants, one of ten thousand lines, and its PDF."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cli.stack.keys import load_or_make_keys
from services.billing.domain.plan import PriceModel, PriceTier
from services.billing.service.documents import Documents
from services.billing.service.invoicing import Wanted
from services.billing.service.running import BillingRuns, WantedRun
from services.kernel.clock import ManualClock
from services.kernel.database import Database, PoolLimits
from services.kernel.jobs import Job
from services.kernel.migrate import service_role, service_url, worker_role
from services.kernel.pagination import PageTokens
from tests.bench.figures import Figure
from tests.bench.stack import BenchStack
from tests.billing.invoicing_stage import Stage, per_unit, stage_of
from tests.support.database import connection

TENANTS = 1_000
DIMENSIONS = 5  # kinds of usage of a tenant
EVENTS = 10_000_000
LINES = 10_000
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
HOURS = 28 * 24
BATCH = 50  # tenants made at once

# Each kind of usage of each tenant in each hour: what the feed leaves of ten million events.
_USAGE = """
INSERT INTO billing.metered_usage
    (tenant_id, hour_at, dimension_id, quantity, cost, events, unpriced_events)
SELECT tenant_id, $2::timestamptz + hour * interval '1 hour', dimension::text,
    (hour * 7 + dimension) % 1000 + 0.125, 0.001 * hour, $3, 0
FROM unnest($1::text[]) AS tenant_id, generate_series(0, $4 - 1) AS hour,
    generate_series(1, $5) AS dimension
"""

_DIMENSIONS = """
INSERT INTO billing.metered_dimension (tenant_id, dimension_id, resource_type, unit, currency_code,
    user_id, department, project, resource_id, service, service_category, provider, region,
    sub_account_id, charge_category, tags)
SELECT tenant_id, dimension::text, 'llm', 'token', 'USD', 'user-' || dimension, '', '',
    'model-' || dimension, '', '', '', '', '', '', '{}'
FROM unnest($1::text[]) AS tenant_id, generate_series(1, $2) AS dimension
"""


@contextmanager
def connected(stack: BenchStack) -> Iterator[Database]:
    """Connects as the billing service."""
    secret = load_or_make_keys(stack.data_dir).role_secret
    owner = stack.state.database_url
    yield Database.connect(
        service_url(owner, service_role("billing"), secret),
        service="billing",
        worker_url=service_url(owner, worker_role("billing"), secret),
        limits=PoolLimits(connections=8),
    )


async def make_tenants(database: Database, owner_url: str, clock: ManualClock) -> list[Stage]:
    """Makes tenants on one plan, with a month of usage."""
    stages = [stage_of(database, clock, f"bench-{number:04d}") for number in range(TENANTS)]
    tiers = (
        PriceTier(Decimal(100_000), Decimal("0.0002")),
        PriceTier(None, Decimal("0.000125")),
    )
    plan_id = await stages[0].plan(
        per_unit("0", price_model=PriceModel.GRADUATED, tiers=tiers, group_by="resource_id"),
        flat_fee=Decimal(49),
    )
    for stage in stages:
        await stage.account()
        await stage.subscribe(plan_id)
    names = [stage.tenant for stage in stages]
    events = EVENTS // (TENANTS * HOURS * DIMENSIONS) + 1
    async with connection(owner_url) as owner:
        await owner.execute(_DIMENSIONS, names, DIMENSIONS)
        for begin in range(0, TENANTS, BATCH):
            part = names[begin : begin + BATCH]
            await owner.execute(_USAGE, part, FEBRUARY, events, HOURS, DIMENSIONS)
        await owner.execute("ANALYZE billing.metered_usage")
    return stages


async def run_month(stages: list[Stage], clock: ManualClock) -> tuple[float, int]:
    """Returns the seconds of a run over all tenants, and its invoices."""
    stage = stages[0]
    runs = BillingRuns(
        stage.database,
        stage.invoices,
        stage.invoices._issuing,
        tokens=PageTokens(b"x" * 32),
        clock=clock,
    )
    names = [each.tenant for each in stages]
    began = time.perf_counter()
    with stage.caller():
        wanted = WantedRun(tenant_ids=names, month="2026-02", finalize=True)
        async with stage.database.system_transaction() as tx:
            run = await runs.start(tx, wanted, actor="bench")
            # The stack's own worker has other keys, and the wall's clock.
            await tx.driver.execute("DELETE FROM pgqueuer WHERE entrypoint = 'billing_run'")
        payload = json.dumps({"run_id": run.run_id}).encode()
        await runs.work(Job(1, "billing_run", payload, 1, None))
        seconds = time.perf_counter() - began
        done = await runs.get_billing_run(stage.tenant, run.run_id)
    if done.failed or done.invoices != len(names):
        raise RuntimeError(f"{done.failed} of {len(names)} tenants failed")
    return seconds, done.invoices


async def one_large(database: Database, owner_url: str, clock: ManualClock) -> Iterator[Figure]:
    """Returns the figures of an invoice with ten thousand lines, and of its PDF."""
    stage = stage_of(database, clock, "bench-large")
    clock.advance(FEBRUARY - clock.now())
    await stage.account()
    await stage.subscribe(await stage.plan(per_unit("0.0125", group_by="resource_id")))
    async with connection(owner_url) as owner:
        await owner.execute(_DIMENSIONS, [stage.tenant], LINES)
        await owner.execute(_USAGE, [stage.tenant], FEBRUARY, 1, 1, LINES)
    clock.advance(timedelta(days=30))
    began = time.perf_counter()
    with stage.caller():
        invoice = await stage.invoices.generate_invoice(
            Wanted(tenant_id=stage.tenant, month="2026-02", finalize=True)
        )
    made = time.perf_counter() - began
    documents = Documents(database, stage.invoices, stage.accounts)
    began = time.perf_counter()
    await documents.get_invoice_pdf(stage.tenant, invoice.invoice_id)
    typeset = time.perf_counter() - began
    return iter(
        [
            Figure("invoice_10k_lines_seconds", made, "s", invoice.line_count),
            Figure("invoice_pdf_seconds", typeset, "s", invoice.line_count),
        ]
    )


def bench_billing(stack: BenchStack) -> Iterator[Figure]:
    """Bills a month and one large account in the stack's database."""

    async def measured() -> list[Figure]:
        owner_url = stack.state.database_url
        clock = ManualClock(FEBRUARY)
        with connected(stack) as database:
            stages = await make_tenants(database, owner_url, clock)
            clock.advance(timedelta(days=30))
            seconds, invoices = await run_month(stages, clock)
            figures = [Figure("billing_run_seconds", seconds, "s", invoices)]
            figures += await one_large(database, owner_url, clock)
            await database.close()
        return figures

    yield from asyncio.run(measured())
