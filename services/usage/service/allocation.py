"""Rules that move shared cost: every change is a new version from some instant on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Granularity, floor
from services.usage.domain.allocation_rule import (
    AllocationRule,
    require_no_cycle,
    rules_in_force,
)
from services.usage.domain.question import CostQuestion, read_period
from services.usage.errors import AllocationRuleExists, AllocationRuleNotFound
from services.usage.service.allocating import PreviewedAllocation, preview
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import allocation as store
from services.usage.store.tenants import bump_revision


class AllocationRules:
    """The use cases of allocation."""

    def __init__(
        self, database: Database, contexts: TenantContexts, *, tokens: PageTokens, clock: Clock
    ) -> None:
        """Takes the contexts, which know each tenant's zone."""
        self._database = database
        self._contexts = contexts
        self._tokens = tokens
        self._clock = clock

    @asynccontextmanager
    async def _changing(self, tenant_id: str) -> AsyncIterator[Transaction]:
        """Begins a change of a tenant's rules, one after another; cached answers end with it."""
        await self._contexts.frame(tenant_id)  # makes a tenant that is not known yet
        async with self._database.transaction(tenant_id) as tx:
            await bump_revision(tx, tenant_id)
            yield tx

    async def _this_hour(self, tenant_id: str) -> datetime:
        """Returns the edge that changes fall on, because roll-ups hold whole hours."""
        tz = (await self._contexts.frame(tenant_id)).tz
        return floor(self._clock.now(), Granularity.HOUR, tz)

    async def create_allocation_rule(self, tenant_id: str, rule: AllocationRule) -> AllocationRule:
        """Creates a rule. Raises AllocationRuleExists, AllocationCycle."""
        rule = replace(rule, version=1, display_name=rule.display_name or rule.allocation_rule_id)
        async with self._changing(tenant_id) as tx:
            known = await store.allocation_rules(tx, tenant_id)
            if any(other.allocation_rule_id == rule.allocation_rule_id for other in known):
                raise AllocationRuleExists(allocation_rule_id=rule.allocation_rule_id)
            _require_no_cycle([*known, rule])
            await store.add_rule(tx, tenant_id, rule)
            await _audited(tx, "allocation_rules.create", None, rule)
        return rule

    async def get_allocation_rule(self, tenant_id: str, rule_id: str) -> AllocationRule:
        """Returns a rule's latest version. Raises AllocationRuleNotFound."""
        async with self._database.read(tenant_id) as tx:
            return _latest(await store.allocation_rules(tx, tenant_id), rule_id)

    async def list_allocation_rules(self, page: PageRequest) -> Page[AllocationRule]:
        """Returns a page of rules, the latest version of each."""
        async with self._database.read(page.tenant_id) as tx:
            return await store.list_allocation_rules(tx, page, self._tokens)

    async def update_allocation_rule(
        self,
        tenant_id: str,
        rule_id: str,
        change: Callable[[AllocationRule], AllocationRule],
        *,
        has_start: bool,
    ) -> AllocationRule:
        """Makes a new version, which replaces earlier ones from its start on.

        has_start: whether the change says from when; else it is this hour, or the start of a rule
        that has not begun. Raises AllocationRuleNotFound, InvalidAllocationRule, AllocationCycle.
        """
        this_hour = await self._this_hour(tenant_id)
        async with self._changing(tenant_id) as tx:
            known = await store.allocation_rules(tx, tenant_id)
            latest = _latest(known, rule_id)
            changed = replace(change(latest), version=latest.version + 1)
            if not has_start and latest.start_at < this_hour:
                changed = replace(changed, effective_start_at=this_hour)
            await self._end(tx, tenant_id, _versions(known, rule_id), changed.start_at)
            await store.add_rule(tx, tenant_id, changed)
            _require_no_cycle(await store.allocation_rules(tx, tenant_id))
            await _audited(tx, "allocation_rules.update", latest, changed)
        return changed

    async def delete_allocation_rule(self, tenant_id: str, rule_id: str) -> None:
        """Ends a rule with the hour before this one. Raises AllocationRuleNotFound."""
        this_hour = await self._this_hour(tenant_id)
        async with self._changing(tenant_id) as tx:
            known = await store.allocation_rules(tx, tenant_id)
            latest = _latest(known, rule_id)
            await self._end(tx, tenant_id, _versions(known, rule_id), this_hour)
            await _audited(tx, "allocation_rules.delete", latest, None)

    async def _end(
        self, tx: Transaction, tenant_id: str, versions: Sequence[AllocationRule], at: datetime
    ) -> None:
        """Leaves nothing of the versions from an instant on."""
        for version in versions:
            if version.start_at >= at:
                await store.drop_rule(tx, tenant_id, version)
            elif version.end_at > at:
                await store.end_rule(tx, tenant_id, replace(version, effective_end_at=at))

    async def preview_allocation(
        self, tenant_id: str, start: str, end: str, *, candidate: AllocationRule | None
    ) -> PreviewedAllocation:
        """Returns what the rules, the candidate in force among them, move in a period.

        Raises InvalidInstant, InvalidPeriod, AllocationCycle, AllocationTooLarge, TooManyGroups.
        """
        tz = (await self._contexts.frame(tenant_id)).tz
        period = read_period(start, end, tz, now=self._clock.now())
        question = CostQuestion(tenant_id, period, tz)
        async with self._database.read(tenant_id) as tx:
            rules = await store.allocation_rules(tx, tenant_id)
            if candidate is not None:
                rule_id = candidate.allocation_rule_id
                version = max((rule.version for rule in _versions(rules, rule_id)), default=0) + 1
                tried = replace(
                    candidate, version=version, effective_start_at=None, effective_end_at=None
                )
                rules = [rule for rule in rules if rule.allocation_rule_id != rule_id]
                rules.append(tried)
            return await preview(tx, question, rules)


def _versions(rules: Sequence[AllocationRule], rule_id: str) -> list[AllocationRule]:
    return [rule for rule in rules if rule.allocation_rule_id == rule_id]


def _latest(rules: Sequence[AllocationRule], rule_id: str) -> AllocationRule:
    versions = _versions(rules, rule_id)
    if not versions:
        raise AllocationRuleNotFound(allocation_rule_id=rule_id)
    return max(versions, key=lambda rule: rule.version)


def _require_no_cycle(rules: Sequence[AllocationRule]) -> None:
    """Checks the rules in force at every instant where that changes."""
    for start_at in {rule.start_at for rule in rules}:
        require_no_cycle(rules_in_force(rules, start_at))


async def _audited(
    tx: Transaction, action: str, before: AllocationRule | None, after: AllocationRule | None
) -> None:
    rule = after or before
    await audit.append(
        tx,
        action=action,
        resource=f"allocation-rules/{rule.allocation_rule_id if rule else ''}",
        before=_state(before),
        after=_state(after),
    )


def _state(rule: AllocationRule | None) -> dict[str, object] | None:
    if rule is None:
        return None
    return {
        "version": rule.version,
        "method": rule.method.name,
        "source": [list(condition) for condition in rule.source],
        "target_dimension": rule.target_dimension,
        "targets": [[value, weight] for value, weight in rule.targets],
        "effective_start_at": rule.effective_start_at,
        "effective_end_at": rule.effective_end_at,
    }
