"""Creates, changes, ends and shows budgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.budget.domain.alert_errors import ChannelNotFound, EscalationPolicyNotFound
from services.budget.domain.budget import Budget, BudgetPeriod, BudgetState, BudgetVersion
from services.budget.domain.change import BudgetChange, ChangeKind
from services.budget.domain.terms import BudgetTerms
from services.budget.errors import (
    BudgetChanged,
    BudgetCurrencyFixed,
    BudgetEnded,
    BudgetNotDraft,
    BudgetNotFound,
    BudgetStartFixed,
    EffectiveTimeInClosedPeriod,
    StructureInsidePeriod,
)
from services.budget.service.budget_index import BudgetIndexes
from services.budget.service.directories import Directories
from services.budget.service.filling import Filling
from services.budget.service.periods import Periods, change_of_period
from services.budget.store import alert_policies, budget_lists, budgets, channels
from services.budget.store.changes import BudgetFeed
from services.budget.store.terms import terms_json
from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import FieldViolations
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens

RESOURCE: Final = "budgets"


@dataclass(frozen=True, slots=True)
class BudgetDraft:
    """A budget to create. terms: made from the tenant's zone and the instant of creation."""

    tenant_id: str
    terms: Callable[[str, datetime], BudgetTerms]
    is_draft: bool = False


@dataclass(frozen=True, slots=True)
class BudgetUpdate:
    """A change to a budget. etag: "" for any. effective_at: None for as soon as it can be.

    note: why it is made.
    """

    budget_id: str
    change: Callable[[BudgetTerms, datetime], BudgetTerms]
    etag: str = ""
    effective_at: datetime | None = None
    note: str = ""


class Budgets:
    """The use cases of budgets."""

    def __init__(
        self,
        database: Database,
        *,
        directories: Directories,
        indexes: BudgetIndexes,
        periods: Periods,
        filling: Filling,
        feed: BudgetFeed,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """Takes the indexes, which forget a tenant when its budgets change."""
        self._database = database
        self._directories = directories
        self._indexes = indexes
        self._periods = periods
        self._filling = filling
        self._feed = feed
        self._tokens = tokens
        self._clock = clock

    @property
    def now(self) -> datetime:
        """The present instant."""
        return self._clock.now()

    async def create_budget(self, draft: BudgetDraft) -> Budget:
        """Creates a budget; unless it is a draft, counts in what was spent since it starts.

        Raises FieldViolations, ChannelNotFound, EscalationPolicyNotFound, TooManyPastPeriods,
        FillContended, UsageRefused.
        """
        directory = await self._directories.get(draft.tenant_id)
        now = self._clock.now()
        terms = draft.terms(directory.time_zone, now)
        if terms.end_at is not None and terms.end_at <= now:
            raise FieldViolations([("budget.end_time", "must be later than now")])
        author = current_caller().subject
        budget = Budget(
            tenant_id=draft.tenant_id,
            budget_id=new_id(),
            versions=(BudgetVersion(1, terms, terms.start_at or now, author, now),),
            created_by=author,
            created_at=now,
            is_draft=True,
        )
        if draft.is_draft:
            async with self._database.transaction(budget.tenant_id) as tx:
                await require_receivers(tx, budget)
                await budgets.add_budget(tx, budget)
                await self._changed(tx, budget, ChangeKind.CREATED, action="create")
            return budget
        budget = begun(budget, now)

        async def store(tx: Transaction) -> None:
            await require_receivers(tx, budget)
            await budgets.add_budget(tx, budget)
            await self._changed(tx, budget, ChangeKind.CREATED, action="create")

        await self._filling.run(budget, store)
        self._indexes.forget(budget.tenant_id)
        return budget

    async def activate_budget(self, tenant_id: str, budget_id: str, etag: str) -> Budget:
        """Puts a draft in force. Raises BudgetNotFound, BudgetNotDraft, BudgetChanged."""
        budget = await self.get_budget(tenant_id, budget_id)
        require_etag(budget, etag)
        if not budget.is_draft or budget.ended_at is not None:
            raise BudgetNotDraft(budget_id=budget_id)
        now = self._clock.now()
        first = budget.newest
        active = begun(replace(budget, versions=(replace(first, effective_at=now),)), now)
        active = replace(active, revision=budget.revision + 1)

        async def store(tx: Transaction) -> None:
            known = await self._locked(tx, tenant_id, budget_id)
            require_etag(known, budget.etag)
            await budgets.replace_versions(tx, active)
            await budgets.save_budget(tx, active)
            await self._changed(tx, active, ChangeKind.ACTIVATED, action="activate", before=known)

        await self._filling.run(active, store)
        self._indexes.forget(tenant_id)
        return active

    async def get_budget(self, tenant_id: str, budget_id: str) -> Budget:
        """Returns a budget. Raises BudgetNotFound."""
        async with self._database.read(tenant_id) as tx:
            budget = await budgets.find_budget(tx, tenant_id, budget_id)
        if budget is None:
            raise BudgetNotFound(budget_id=budget_id)
        return budget

    async def list_budgets(self, page: PageRequest) -> Page[Budget]:
        """Returns a page. Raises InvalidFilter, InvalidOrder, InvalidPageToken."""
        async with self._database.read(page.tenant_id) as tx:
            return await budget_lists.list_budgets(tx, page, self._tokens, self._clock.now())

    async def update_budget(self, tenant_id: str, update: BudgetUpdate) -> Budget:
        """Adds a version that counts from an instant of the running or a later period on.

        What decides which cost belongs to which period changes at the end of a period only; the
        next end is taken where no instant is given. A draft is changed in place.
        Raises BudgetNotFound, BudgetChanged, BudgetEnded, BudgetCurrencyFixed, BudgetStartFixed,
        EffectiveTimeInClosedPeriod, StructureInsidePeriod, ChannelNotFound,
        EscalationPolicyNotFound, FieldViolations.
        """
        async with self._database.transaction(tenant_id) as tx:
            before = await self._locked(tx, tenant_id, update.budget_id)
            require_etag(before, update.etag)
            now = self._clock.now()
            if before.state_at(now) is BudgetState.ENDED:
                raise BudgetEnded(budget_id=before.budget_id)
            after = updated(before, update, author=current_caller().subject, now=now)
            await require_receivers(tx, after, before)
            if after.is_draft:
                await budgets.replace_versions(tx, after)
            else:
                await budgets.add_version(tx, after, after.newest)
            await budgets.save_budget(tx, after)
            row = None if after.is_draft else await self._periods.refresh(tx, after)
            await self._changed(
                tx, after, ChangeKind.UPDATED, action="update", before=before, row=row
            )
        self._indexes.forget(tenant_id)
        return after

    async def delete_budget(self, tenant_id: str, budget_id: str, etag: str) -> None:
        """Ends a budget now. Raises BudgetNotFound, BudgetChanged, BudgetEnded."""
        async with self._database.transaction(tenant_id) as tx:
            before = await self._locked(tx, tenant_id, budget_id)
            require_etag(before, etag)
            now = self._clock.now()
            if before.state_at(now) is BudgetState.ENDED:
                raise BudgetEnded(budget_id=budget_id)
            after = replace(before, ended_at=now, revision=before.revision + 1)
            await budgets.save_budget(tx, after)
            row = None if after.is_draft else await self._periods.refresh(tx, after)
            await self._changed(
                tx, after, ChangeKind.ENDED, action="delete", before=before, row=row
            )
        self._indexes.forget(tenant_id)

    async def _locked(self, tx: Transaction, tenant_id: str, budget_id: str) -> Budget:
        budget = await budgets.find_budget(tx, tenant_id, budget_id, for_update=True)
        if budget is None:
            raise BudgetNotFound(budget_id=budget_id)
        return budget

    async def _changed(
        self,
        tx: Transaction,
        budget: Budget,
        kind: ChangeKind,
        *,
        action: str,
        before: Budget | None = None,
        row: BudgetPeriod | None = None,
    ) -> None:
        """Counts, audits and tells a change, in its transaction."""
        await budgets.bump_revision(tx, budget.tenant_id)
        await audit.append(
            tx,
            action=f"budgets.{action}",
            resource=f"{RESOURCE}/{budget.budget_id}",
            before=None if before is None else _state(before),
            after=None if action == "delete" else _state(budget),
            tenant_id=budget.tenant_id,
        )
        await self._feed.append(
            tx, [_fact(budget, kind, row, self._clock.now())], tenant_id=budget.tenant_id
        )


def require_etag(budget: Budget, etag: str) -> None:
    """Raises BudgetChanged where the etag is another version's; "" is any."""
    if etag and etag != budget.etag:
        raise BudgetChanged(budget_id=budget.budget_id, etag=budget.etag)


async def require_receivers(tx: Transaction, budget: Budget, before: Budget | None = None) -> None:
    """Refuses a budget that names who cannot be told; what it named before is not asked again.

    Raises ChannelNotFound, EscalationPolicyNotFound.
    """
    known = before.newest.terms if before is not None else None
    terms = budget.newest.terms
    named = terms.told_channels - (known.told_channels if known is not None else set())
    missing = named - (await channels.channels_of(tx, budget.tenant_id, sorted(named))).keys()
    if missing:
        raise ChannelNotFound(channel_id=min(missing))
    policy_id = terms.escalation_policy_id
    if not policy_id or (known is not None and policy_id == known.escalation_policy_id):
        return
    if await alert_policies.find_policy(tx, budget.tenant_id, policy_id) is None:
        raise EscalationPolicyNotFound(policy_id=policy_id)


def begun(budget: Budget, now: datetime) -> Budget:
    """Returns a draft as it comes in force: from its start, else from its running period's."""
    terms = budget.newest.terms
    started_at = terms.start_at
    if started_at is None:
        period = terms.rule.period_at(now)
        custom = terms.rule.custom_period
        started_at = period.start if period is not None else now
        if period is None and custom is not None:
            started_at = custom.start
    version = replace(budget.newest, effective_at=min(started_at, now))
    return replace(budget, is_draft=False, started_at=started_at, versions=(version,))


def updated(budget: Budget, update: BudgetUpdate, *, author: str, now: datetime) -> Budget:
    """Returns a budget with a version more; a draft with its only version changed."""
    if budget.is_draft:
        terms = update.change(budget.newest.terms, now)
        version = replace(budget.newest, terms=terms, author=author, created_at=now)
        return replace(budget, versions=(version,), revision=budget.revision + 1)
    running = budget.period_at(max(now, budget.started_at or now))
    effective_at = update.effective_at or now
    if update.effective_at is not None and running is not None and effective_at < running.start:
        raise EffectiveTimeInClosedPeriod(
            budget_id=budget.budget_id, period_start=running.start.isoformat()
        )
    known = budget.version_at(effective_at).terms
    terms = update.change(known, now)
    if terms.amount.currency_code != budget.currency_code:
        raise BudgetCurrencyFixed(budget_id=budget.budget_id, currency_code=budget.currency_code)
    if terms.start_at not in (known.start_at, budget.started_at):
        raise BudgetStartFixed(budget_id=budget.budget_id)
    if terms.structure != known.structure:
        effective_at = _structure_from(budget, update.effective_at, now)
    version = BudgetVersion(
        number=budget.newest.number + 1,
        terms=replace(terms, start_at=known.start_at),
        effective_at=effective_at,
        author=author,
        created_at=now,
        note=update.note,
    )
    versions = sorted(
        (*budget.versions, version), key=lambda each: (each.effective_at, each.number)
    )
    return replace(budget, versions=tuple(versions), revision=budget.revision + 1)


def _structure_from(budget: Budget, wanted: datetime | None, now: datetime) -> datetime:
    """Returns the edge at which scope or periods may change: the one wanted, else the next."""
    at = wanted or now
    period = budget.period_at(at)
    if period is None or (wanted is not None and period.start == at and at > now):
        return at
    if wanted is None:
        return period.end
    raise StructureInsidePeriod(
        f"Scope, cadence, period rule and kind of cost change at the end of a period only; the "
        f"next one is {period.end.isoformat()}.",
        budget_id=budget.budget_id,
        next_edge=period.end.isoformat(),
    )


def _state(budget: Budget) -> dict[str, object]:
    return {
        **terms_json(budget.newest.terms),
        "version": budget.newest.number,
        "effective_at": budget.newest.effective_at,
        "is_draft": budget.is_draft,
    }


def _fact(
    budget: Budget, kind: ChangeKind, row: BudgetPeriod | None, now: datetime
) -> BudgetChange:
    if row is not None:
        return change_of_period(row, kind, now)
    return BudgetChange(
        kind=kind,
        budget_id=budget.budget_id,
        version=budget.newest.number,
        changed_at=now,
        currency_code=budget.currency_code,
    )
