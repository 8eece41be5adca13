"""A billing run is killed at statement after statement, and goes on each time."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.billing.service.running import BillingRuns, WantedRun
from services.kernel.clock import ManualClock
from services.kernel.database import PoolLimits
from services.kernel.ids import new_id
from services.kernel.pagination import PageTokens
from tests.billing.invoicing_stage import Stage, per_unit, stage_of, used
from tests.support.database import ServiceDatabase, connection, migrated

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
TENANTS = 5

pytestmark = pytest.mark.fault


async def staged(stage: Stage, number: int) -> Decimal:
    """Makes a tenant with usage, a fee and credit, and returns what its invoice is over."""
    await stage.account()
    plan_id = await stage.plan(per_unit("0.0133"), flat_fee=Decimal("7.77"))
    await stage.subscribe(plan_id)
    await stage.use(
        used(FEBRUARY + timedelta(days=3), str(1000 + number)),
        used(FEBRUARY + timedelta(days=4), "0.5", user_id="bob"),
    )
    usage = Decimal("0.0133") * (Decimal(1000 + number) + Decimal("0.5"))
    # The fee of February, and in advance that of March.
    return (usage + 2 * Decimal("7.77")).quantize(Decimal("0.01"))


async def killed_until_done(service: ServiceDatabase, run_id: str, now: str, step: int) -> int:
    """Runs the process that is killed; returns how often it was."""
    urls = {
        "FINOPS_DATABASE_URL": service.url,
        "FINOPS_WORKER_DATABASE_URL": service.worker_url,
    }
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.billing_running", run_id, now, str(step)),
        env={**os.environ, **urls},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate()
    assert child.returncode == 0
    return int(out.splitlines()[-1])


async def test_each_account_gets_one_exact_invoice_however_often_the_run_is_killed(
    owner_url: str, *, is_full: bool
) -> None:
    service = await migrated(owner_url, "billing")
    database = service.connect(PoolLimits(connections=5))
    clock = ManualClock(FEBRUARY)
    stages = [stage_of(database, clock, f"fault-{new_id()}") for _ in range(TENANTS)]
    expected = {stage.tenant: await staged(stage, number) for number, stage in enumerate(stages)}
    clock.advance(timedelta(days=30))
    runs = BillingRuns(
        database,
        stages[0].invoices,
        stages[0].invoices._issuing,
        tokens=PageTokens(b"x" * 32),
        clock=clock,
    )
    with stages[0].caller():
        run = await runs.run_billing(
            WantedRun(tenant_ids=list(expected), month="2026-02", finalize=True)
        )

    kills = await killed_until_done(
        service, run.run_id, clock.now().isoformat(), 1 if is_full else 80
    )

    await database.close()
    async with connection(service.owner_url) as owner:
        invoices = await owner.fetch(
            "SELECT tenant_id, total, number, state FROM billing.invoice WHERE run_id = $1",
            run.run_id,
        )
        queued = await owner.fetchval(
            "SELECT count(*) FROM billing.pgqueuer WHERE entrypoint = 'provider_push'"
            " AND headers ->> 'tenant' = ANY($1::text[])",
            list(expected),
        )
    assert kills >= 2
    assert {row["tenant_id"]: row["total"] for row in invoices} == expected
    assert len(invoices) == TENANTS
    assert all(row["number"].endswith("-000001") for row in invoices)
    assert queued == TENANTS
