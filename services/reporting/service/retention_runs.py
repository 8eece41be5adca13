"""ApplyRetention, GetRetentionRun, ListRetentionRuns, and the work itself.

A step is one policy. The holds in force go with the call that removes, and a hold that is made
meanwhile is refused until the call has answered: so no record goes that a hold keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Aborted, DeadlineExceeded, Error, ResourceExhausted, Unavailable
from services.kernel.ids import new_id
from services.kernel.jobs import Job, enqueue
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.reporting.domain.retention import (
    RetentionPolicy,
    RetentionRun,
    RetentionStep,
    RunState,
    evidence_hash,
    in_force,
)
from services.reporting.errors import RetentionRunNotFound, ServiceNotConnected
from services.reporting.service.compliance_peers import RecordsPeer, Removal
from services.reporting.service.retention_collections import Collections
from services.reporting.store import retention as rows
from services.reporting.store import subjects as subject_rows

JOB: Final = "retention"
ATTEMPTS: Final = 5  # then the sweep queues it again
STALLED: Final = timedelta(minutes=1)
STALLED_AT_ONCE: Final = 100
ACTOR: Final = "service:reporting"
PASSING: Final = (Unavailable, DeadlineExceeded, Aborted, ResourceExhausted)
BROKEN: Final = "An internal error occurred; report it with the id of this removal."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A removal with its steps."""

    run: RetentionRun
    steps: Sequence[RetentionStep]


class RetentionRuns:
    """Removes what is past its time."""

    def __init__(
        self,
        database: Database,
        collections: Collections,
        peers: Sequence[RecordsPeer],
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """peers: the records of each service, this one's among them."""
        self._database = database
        self._collections = collections
        self._peers = {peer.service: peer for peer in peers}
        self._tokens = tokens
        self._clock = clock

    async def apply_retention(
        self, tenant_id: str, collections: Sequence[str], *, dry_run: bool
    ) -> KnownRun:
        """Queues a removal, or its counting, by the policies as they are now.

        collections: empty for all that have a policy. Raises UnknownCollection, PeerUnavailable.
        """
        known = await self._collections.all(tenant_id)
        if collections:
            await self._collections.required(tenant_id, collections)
        async with self._database.transaction(tenant_id) as tx:
            policies = await rows.policies(tx, tenant_id)
            chosen = [
                policy
                for policy in policies
                if policy.collection in known
                and (not collections or policy.collection in collections)
            ]
            services = {name: each.service for name, each in known.items()}
            made = self._made(tenant_id, current_caller().subject, chosen, services, dry_run)
            await self._add(tx, made)
        return made

    async def get_retention_run(self, tenant_id: str, run_id: str) -> KnownRun:
        """Returns a removal with its counts. Raises RetentionRunNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await _known(tx, tenant_id, run_id)

    async def list_retention_runs(self, page: PageRequest) -> Page[KnownRun]:
        """Returns a page of removals."""
        async with self._database.read(page.tenant_id) as tx:
            found = await rows.page_runs(tx, page, self._tokens)
            steps = await rows.run_steps(tx, page.tenant_id, [run.run_id for run in found.items])
        known = [KnownRun(run, steps[run.run_id]) for run in found.items]
        return Page(known, found.next_page_token)

    async def run_due(self, _: Job) -> None:
        """Queues each tenant's removal, as every night."""
        async with self._database.system_transaction() as tx:
            tenants = await rows.tenants_with_policies(tx)
        for tenant_id in tenants:
            try:
                known = await self._collections.all(tenant_id)
                services = {name: each.service for name, each in known.items()}
                work = partial(self._add_due, tenant_id, services)
                await self._database.run(tenant_id, work)
            except Error as error:
                # One tenant's trouble is its own; the others' records go.
                log.warning("retention failed", tenant=tenant_id, reason=error.reason)

    async def _add_due(self, tenant_id: str, services: dict[str, str], tx: Transaction) -> None:
        policies = await rows.policies(tx, tenant_id)
        chosen = [policy for policy in policies if policy.collection in services]
        made = self._made(tenant_id, "schedule:retention", chosen, services, dry_run=False)
        await self._add(tx, made, actor=made.run.author)

    def _made(
        self,
        tenant_id: str,
        author: str,
        policies: Sequence[RetentionPolicy],
        services: dict[str, str],
        dry_run: bool,  # noqa: FBT001 - named at both calls' ends
    ) -> KnownRun:
        now = self._clock.now()
        run = RetentionRun(
            tenant_id=tenant_id,
            run_id=new_id(),
            state=RunState.PENDING,
            dry_run=dry_run,
            author=author,
            created_at=now,
            updated_at=now,
        )
        steps = [
            RetentionStep(
                service=services[policy.collection],
                policy_id=policy.policy_id,
                collection=policy.collection,
                filter=policy.filter,
                before_at=now - timedelta(days=policy.retention_days),
                place=place,
            )
            for place, policy in enumerate(policies)
        ]
        return KnownRun(run, steps)

    async def _add(self, tx: Transaction, made: KnownRun, *, actor: str | None = None) -> None:
        await rows.add_run(tx, made.run, made.steps)
        await _queue(tx, made.run)
        await audit.append(
            tx,
            action="retention.apply",
            resource=made.run.resource,
            after={
                "dry_run": made.run.dry_run,
                "policies": [step.policy_id for step in made.steps],
            },
            actor=actor,
        )

    async def run(self, job: Job) -> None:
        """Does the steps of a removal that are not done."""
        tenant_id, run_id = str(job.tenant_id), job.payload.decode()
        async with self._database.transaction(tenant_id) as tx:
            run = await rows.find_run(tx, tenant_id, run_id, is_locked=True)
            if run is None or run.has_ended:
                return
            await self._note(tx, run, state=RunState.RUNNING.value)
            steps = list((await _known(tx, tenant_id, run_id)).steps)
        try:
            for place, step in enumerate(steps):
                if not step.is_done:
                    steps[place] = await self._removed(run, step)
            await self._finish(run, steps)
        except Error as error:
            if isinstance(error, PASSING):
                async with self._database.transaction(tenant_id) as tx:
                    await self._note(tx, run, message=f"Waits: {error.message}")
                raise
            await self._fail(run, error.message)
        except Exception:
            if job.attempt >= ATTEMPTS:
                await self._fail(run, BROKEN)
            raise

    async def sweep(self, _: Job) -> None:
        """Queues removals again that have not ended and whose job is lost or dead."""
        async with self._database.system_transaction() as tx:
            before = self._clock.now() - STALLED
            for run in await rows.stalled_runs(tx, before, limit=STALLED_AT_ONCE):
                await _queue(tx, run)

    async def _removed(self, run: RetentionRun, step: RetentionStep) -> RetentionStep:
        peer = self._peers.get(step.service)
        if peer is None:
            raise ServiceNotConnected(service=step.service)
        async with self._database.transaction(run.tenant_id) as tx:
            await subject_rows.lock_holds(tx, run.tenant_id)
            holds = in_force(await rows.holds(tx, run.tenant_id), step.collection)
            names = tuple(hold.legal_hold_id for hold in holds)
            step = replace(step, is_removing=not run.dry_run, legal_hold_ids=names)
            await rows.save_step(tx, run, step)
        removal = Removal(
            tenant_id=run.tenant_id,
            collection=step.collection,
            before_at=step.before_at,
            held_filters=[hold.held_filter() for hold in holds],
            filter=step.filter,
            dry_run=run.dry_run,
            # A repetition after a crash has the holds of its own moment, and so another id.
            request_id="",
        )
        count = await peer.remove(removal)
        done = replace(
            step,
            is_removing=False,
            is_done=True,
            record_count=count.records,
            held_count=count.held,
        )
        async with self._database.transaction(run.tenant_id) as tx:
            await rows.save_step(tx, run, done)
            await self._note(tx, run, message=f"{step.collection} is done")
        return done

    async def _finish(self, run: RetentionRun, steps: Sequence[RetentionStep]) -> None:
        evidence = evidence_hash(run, steps)
        now = self._clock.now()
        async with self._database.transaction(run.tenant_id) as tx:
            current = await rows.find_run(tx, run.tenant_id, run.run_id, is_locked=True)
            if current is None or current.has_ended:
                return
            await self._note(
                tx,
                run,
                state=RunState.SUCCEEDED.value,
                evidence_hash=evidence,
                message="",
                ended_at=now,
            )
            await audit.append(
                tx,
                action="retention.count" if run.dry_run else "retention.remove",
                resource=run.resource,
                after={
                    "evidence_hash": evidence,
                    "records": {
                        step.policy_id: {"removed": step.record_count, "held": step.held_count}
                        for step in steps
                    },
                },
                actor=ACTOR,
            )

    async def _fail(self, run: RetentionRun, reason: str) -> None:
        log.warning("removal failed", run=run.run_id, error=reason)
        async with self._database.transaction(run.tenant_id) as tx:
            for step in (await _known(tx, run.tenant_id, run.run_id)).steps:
                if step.is_removing:
                    await rows.save_step(tx, run, replace(step, is_removing=False))
            await self._note(
                tx,
                run,
                state=RunState.FAILED.value,
                error=reason,
                message="",
                ended_at=self._clock.now(),
            )

    async def _note(self, tx: Transaction, run: RetentionRun, **values: object) -> None:
        await rows.change_run(tx, run, updated_at=self._clock.now(), **values)


async def _known(tx: Transaction, tenant_id: str, run_id: str) -> KnownRun:
    run = await rows.find_run(tx, tenant_id, run_id)
    if run is None:
        raise RetentionRunNotFound(run_id=run_id)
    return KnownRun(run, (await rows.run_steps(tx, tenant_id, [run_id]))[run_id])


async def _queue(tx: Transaction, run: RetentionRun) -> None:
    key = f"{JOB}/{run.tenant_id}/{run.run_id}"
    await enqueue(tx, JOB, run.run_id.encode(), tenant_id=run.tenant_id, key=key)
