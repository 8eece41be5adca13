"""Runs of the detectors: on demand, by schedule, and when usage came in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog

from services.kernel import audit
from services.kernel.call import current_call
from services.kernel.caller import current_caller, require_tenant
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Error
from services.kernel.filter import parse_filter
from services.kernel.ids import new_id
from services.kernel.jobs import Job, enqueue
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.optimizer.domain.detectors import PROFILES
from services.optimizer.domain.lifecycle import Recommendation
from services.optimizer.domain.run import Run, RunState, RunTrigger, TargetOutcome
from services.optimizer.errors import DetectorNotFound, RunEnded, RunNotFound
from services.optimizer.service.due import due_by_schedule, due_by_usage
from services.optimizer.service.generating import HISTORY_DAYS, Generation
from services.optimizer.service.tenants import TenantProfiles
from services.optimizer.store import detectors, runs
from services.optimizer.store import recommendations as recommendation_rows

JOB = "optimize"
TARGETS_AT_ONCE = 4  # tenants in flight: reading one overlaps with computing another
TARGETS_A_PAGE = 200
DUE_A_TICK = 500
STALLED = timedelta(minutes=2)  # without a tenant done
SHOWN_MAX = 100
POLL_SECONDS = 0.05
log = structlog.get_logger(__name__)


class Runs:
    """Starts runs, does them and shows them."""

    def __init__(
        self,
        database: Database,
        generation: Generation,
        profiles: TenantProfiles,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """generation: does one tenant."""
        self._database = database
        self._generation = generation
        self._profiles = profiles
        self._tokens = tokens
        self._clock = clock

    async def generate_recommendations(
        self,
        tenant_id: str,
        *,
        detector_ids: Sequence[str],
        start: str,
        end: str,
        text: str,
        wait_seconds: float,
    ) -> tuple[Run, list[Recommendation]]:
        """Queues a run over one tenant and waits for it, so long; returns it and its finds.

        Raises DetectorNotFound, InvalidFilter, InvalidInstant.
        """
        with _own_transactions():
            run = await self._start(tenant_id, detector_ids, start, end, text)
            return await self._wait(run, wait_seconds)

    async def _start(
        self, tenant_id: str, detector_ids: Sequence[str], start: str, end: str, text: str
    ) -> Run:
        require_detectors(detector_ids)
        parse_filter(text)
        period = await self._profiles.period(tenant_id, start, end, days=HISTORY_DAYS)
        run = self._made(tenant_id, RunTrigger.REQUEST, period, detector_ids, text, count=1)
        async with self._database.transaction(tenant_id) as tx:
            await self._add(tx, run, [tenant_id])
            await audit.append(
                tx, action="recommendations.generate", resource=f"optimization-runs/{run.run_id}"
            )
        return run

    async def _wait(self, run: Run, seconds: float) -> tuple[Run, list[Recommendation]]:
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while True:
            current = await self.get_optimization_run(run.tenant_id, run.run_id)
            if current.has_ended or loop.time() >= ends:
                break
            await asyncio.sleep(POLL_SECONDS)
        if not current.has_ended:
            return current, []
        async with self._database.read(run.tenant_id) as tx:
            found = await recommendation_rows.matching(
                tx,
                run.tenant_id,
                "state = PROPOSED OR state = ACCEPTED OR state = IN_PROGRESS",
                now=self._clock.now(),
                limit=SHOWN_MAX,
            )
        return current, found

    async def run_optimization(
        self, tenant_ids: Sequence[str], *, detector_ids: Sequence[str]
    ) -> Run:
        """Queues a run over many tenants, all by default. Raises DetectorNotFound."""
        require_detectors(detector_ids)
        owner = require_tenant(current_caller(), "")
        targets = list(tenant_ids)
        if not targets:
            async with self._database.system_transaction() as tx:
                targets = await detectors.tenants(tx)
        period = Period(self._clock.now() - timedelta(days=HISTORY_DAYS), self._clock.now())
        run = self._made(owner, RunTrigger.REQUEST, period, detector_ids, "", count=len(targets))
        async with self._database.transaction(owner) as tx:
            await self._add(tx, run, targets)
            await audit.append(
                tx,
                action="platform.optimize",
                resource=f"optimization-runs/{run.run_id}",
                after={"tenants": len(targets)},
            )
        return run

    async def get_optimization_run(self, tenant_id: str, run_id: str) -> Run:
        """Returns a run. Raises RunNotFound."""
        async with self._database.read(tenant_id) as tx:
            run = await runs.find(tx, tenant_id, run_id)
        if run is None:
            raise RunNotFound(run_id=run_id)
        return run

    async def list_optimization_runs(self, page: PageRequest) -> Page[Run]:
        """Returns a page of runs."""
        async with self._database.read(page.tenant_id) as tx:
            return await runs.list_page(tx, page, self._tokens)

    async def cancel_optimization_run(self, tenant_id: str, run_id: str) -> Run:
        """Stops a run before its next tenant. Raises RunNotFound, RunEnded."""
        async with self._database.transaction(tenant_id) as tx:
            run = await runs.find(tx, tenant_id, run_id, is_locked=True)
            if run is None:
                raise RunNotFound(run_id=run_id)
            if run.has_ended:
                raise RunEnded(run_id=run_id, state=run.state.name)
            await runs.set_state(tx, run, RunState.CANCELLED, now=self._clock.now())
            await audit.append(
                tx, action="optimization_runs.cancel", resource=f"optimization-runs/{run_id}"
            )
            stopped = await runs.find(tx, tenant_id, run_id)
        return stopped or run

    async def do(self, job: Job) -> None:
        """Does a queued run: every tenant that is not done yet; a repetition goes on from there."""
        named = json.loads(job.payload)
        async with self._database.system_transaction() as tx:
            run = await runs.find(tx, named["tenant_id"], named["run_id"])
            if run is None or run.has_ended:
                return
            await runs.set_state(tx, run, RunState.RUNNING, now=self._clock.now())
        while targets := await self._next_targets(run):
            gate = asyncio.Semaphore(TARGETS_AT_ONCE)
            await asyncio.gather(*(self._target(run, target, gate) for target in targets))
        async with self._database.system_transaction() as tx:
            current = await runs.find(tx, run.tenant_id, run.run_id, is_locked=True)
            if current is not None and not current.has_ended:
                now = self._clock.now()
                await runs.set_state(tx, run, current.end_state(), now=now, error=current.error)

    async def _next_targets(self, run: Run) -> list[str]:
        async with self._database.system_transaction() as tx:
            current = await runs.find(tx, run.tenant_id, run.run_id)
            if current is None or current.has_ended:
                return []
            return await runs.pending_targets(tx, run, limit=TARGETS_A_PAGE)

    async def _target(self, run: Run, target_id: str, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                outcome = await self._generation.run_tenant(
                    target_id, run.period, detector_ids=run.detector_ids, text=run.filter
                )
            except Error as error:
                # One tenant's trouble is its own; the run says so and goes on.
                log.warning("tenant failed", tenant=target_id, reason=error.reason)
                outcome = TargetOutcome(error=f"{target_id}: {error.message}"[:1000])
            except Exception:
                # A defect too must not keep the tenants behind this one from their advice.
                log.exception("tenant failed", tenant=target_id, run=run.run_id)
                outcome = TargetOutcome(error=f"{target_id}: an internal error, see the log")
            async with self._database.system_transaction() as tx:
                await runs.finish_target(tx, run, target_id, outcome, now=self._clock.now())

    async def queue_due(self, _: Job) -> None:
        """Queues runs for tenants whose usage changed, and for those whose schedule says so.

        A run holds the detectors that are due; those that are off run on demand alone.
        """
        now = self._clock.now()
        async with self._database.system_transaction() as tx:
            fed = await runs.take_due(tx, RunTrigger.FEED.name, now, limit=DUE_A_TICK)
            schedules = await detectors.schedules(tx, fed)
            for tenant_id in fed:
                wanted = due_by_usage(schedules.get(tenant_id, {}))
                await self._queue(tx, tenant_id, wanted, RunTrigger.FEED, now)
            for run in await runs.unfinished(tx, now - STALLED):
                await self._enqueue(tx, run)  # whose job was lost; one that has a job keeps it
            for one in await runs.scheduled(tx):
                wanted = due_by_schedule(one, now)
                await self._queue(tx, one.tenant_id, wanted, RunTrigger.SCHEDULE, now)

    async def _queue(
        self,
        tx: Transaction,
        tenant_id: str,
        wanted: Sequence[str],
        trigger: RunTrigger,
        now: datetime,
    ) -> None:
        if wanted:
            period = Period(now - timedelta(days=HISTORY_DAYS), now)
            named = () if len(wanted) == len(PROFILES) else wanted
            run = self._made(tenant_id, trigger, period, named, "", count=1)
            await self._add(tx, run, [tenant_id])

    def _made(
        self,
        tenant_id: str,
        trigger: RunTrigger,
        period: Period,
        detector_ids: Sequence[str],
        text: str,
        *,
        count: int,
    ) -> Run:
        now = self._clock.now()
        return Run(
            run_id=new_id(),
            tenant_id=tenant_id,
            state=RunState.PENDING,
            trigger=trigger,
            detector_ids=tuple(detector_ids),
            filter=text,
            period=period,
            tenant_count=count,
            created_at=now,
            updated_at=now,
        )

    async def _add(self, tx: Transaction, run: Run, targets: Sequence[str]) -> None:
        await runs.add(tx, run, targets)
        await self._enqueue(tx, run)

    async def _enqueue(self, tx: Transaction, run: Run) -> None:
        payload = json.dumps({"tenant_id": run.tenant_id, "run_id": run.run_id}).encode()
        priority = 1 if run.trigger is RunTrigger.REQUEST else 0
        key = f"{JOB}/{run.run_id}"
        await enqueue(tx, JOB, payload, tenant_id=run.tenant_id, priority=priority, key=key)


@contextmanager
def _own_transactions() -> Iterator[None]:
    """Lets transactions end by themselves in a call with a request_id.

    Its run must be there before the answer, which tells what the run found. A repetition that
    comes before the answer is stored runs once more, which finds nothing new.
    """
    token = current_call.set(None)
    try:
        yield
    finally:
        current_call.reset(token)


def require_detectors(detector_ids: Sequence[str]) -> None:
    """Raises DetectorNotFound for an id that is none."""
    for detector_id in detector_ids:
        if detector_id not in PROFILES:
            allowed = ", ".join(PROFILES)
            raise DetectorNotFound(
                f"there is no detector {detector_id[:63]!r}; there are {allowed}",
                detector_id=detector_id[:63],
            )
