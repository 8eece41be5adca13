"""Keeps escalation policies and suppression rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from services.budget.domain.alert_errors import (
    ChannelNotFound,
    EscalationPolicyNotFound,
    SuppressionRuleNotFound,
    etag_of,
    require_etag,
)
from services.budget.domain.escalation import EscalationPolicy
from services.budget.domain.suppression import SuppressionRule
from services.budget.store import alert_policies as store
from services.budget.store import channels
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens


class EscalationPolicies:
    """A tenant's escalation policies."""

    def __init__(self, database: Database, *, tokens: PageTokens, clock: Clock) -> None:
        """Takes the service's database."""
        self._database = database
        self._tokens = tokens
        self._clock = clock

    async def create_escalation_policy(
        self, tenant_id: str, draft: EscalationPolicy
    ) -> EscalationPolicy:
        """Adds a policy; its id and instants are made here. Raises ChannelNotFound."""
        now = self._clock.now()
        policy = replace(draft, policy_id=new_id(), created_at=now, updated_at=now)
        async with self._database.transaction(tenant_id) as tx:
            await _require_channels(tx, tenant_id, policy)
            await store.insert_policy(tx, tenant_id, policy)
            await _audit(
                tx, "escalation_policies.create", policy.policy_id, before=None, after=policy
            )
        return policy

    async def get_escalation_policy(self, tenant_id: str, policy_id: str) -> EscalationPolicy:
        """Returns a policy. Raises EscalationPolicyNotFound."""
        async with self._database.read(tenant_id) as tx:
            return _policy(await store.find_policy(tx, tenant_id, policy_id), policy_id)

    async def list_escalation_policies(self, page: PageRequest) -> Page[EscalationPolicy]:
        """Returns policies. Raises InvalidFilter, InvalidOrder, InvalidPageToken."""
        async with self._database.read(page.tenant_id) as tx:
            return await store.list_policies(tx, page, self._tokens)

    async def update_escalation_policy(
        self,
        tenant_id: str,
        policy_id: str,
        etag: str,
        change: Callable[[EscalationPolicy], EscalationPolicy],
    ) -> EscalationPolicy:
        """Changes a policy. Raises EscalationPolicyNotFound, AlertResourceChanged."""
        async with self._database.transaction(tenant_id) as tx:
            before = _policy(
                await store.find_policy(tx, tenant_id, policy_id, for_update=True), policy_id
            )
            require_etag(etag, etag_of(policy_id, before.revision))
            after = replace(
                change(before),
                policy_id=policy_id,
                created_at=before.created_at,
                updated_at=self._clock.now(),
                revision=before.revision + 1,
            )
            await _require_channels(tx, tenant_id, after)
            await store.update_policy(tx, tenant_id, after)
            await _audit(tx, "escalation_policies.update", policy_id, before=before, after=after)
        return after

    async def delete_escalation_policy(self, tenant_id: str, policy_id: str, etag: str) -> None:
        """Removes a policy; alerts that follow it are not escalated further.

        Raises EscalationPolicyNotFound, AlertResourceChanged.
        """
        async with self._database.transaction(tenant_id) as tx:
            before = _policy(
                await store.find_policy(tx, tenant_id, policy_id, for_update=True), policy_id
            )
            require_etag(etag, etag_of(policy_id, before.revision))
            await store.delete_policy(tx, tenant_id, policy_id)
            await _audit(tx, "escalation_policies.delete", policy_id, before=before, after=None)


class SuppressionRules:
    """A tenant's suppression rules."""

    def __init__(self, database: Database, *, tokens: PageTokens, clock: Clock) -> None:
        """Takes the service's database."""
        self._database = database
        self._tokens = tokens
        self._clock = clock

    async def create_suppression_rule(
        self, tenant_id: str, draft: SuppressionRule
    ) -> SuppressionRule:
        """Adds a rule; its id and instant are made here."""
        rule = replace(draft, rule_id=new_id(), created_at=self._clock.now())
        async with self._database.transaction(tenant_id) as tx:
            await store.insert_rule(tx, tenant_id, rule)
            await _audit(tx, "suppression_rules.create", rule.rule_id, before=None, after=rule)
        return rule

    async def get_suppression_rule(self, tenant_id: str, rule_id: str) -> SuppressionRule:
        """Returns a rule. Raises SuppressionRuleNotFound."""
        async with self._database.read(tenant_id) as tx:
            return _rule(await store.find_rule(tx, tenant_id, rule_id), rule_id)

    async def list_suppression_rules(self, page: PageRequest) -> Page[SuppressionRule]:
        """Returns rules. Raises InvalidFilter, InvalidOrder, InvalidPageToken."""
        async with self._database.read(page.tenant_id) as tx:
            return await store.list_rules(tx, page, self._tokens)

    async def update_suppression_rule(
        self,
        tenant_id: str,
        rule_id: str,
        etag: str,
        change: Callable[[SuppressionRule], SuppressionRule],
    ) -> SuppressionRule:
        """Changes a rule. Raises SuppressionRuleNotFound, AlertResourceChanged."""
        async with self._database.transaction(tenant_id) as tx:
            before = _rule(await store.find_rule(tx, tenant_id, rule_id, for_update=True), rule_id)
            require_etag(etag, etag_of(rule_id, before.revision))
            after = replace(
                change(before),
                rule_id=rule_id,
                created_at=before.created_at,
                suppressed_count=before.suppressed_count,
                revision=before.revision + 1,
            )
            await store.update_rule(tx, tenant_id, after)
            await _audit(tx, "suppression_rules.update", rule_id, before=before, after=after)
        return after

    async def delete_suppression_rule(self, tenant_id: str, rule_id: str, etag: str) -> None:
        """Removes a rule; what it holds still goes out when it said.

        Raises SuppressionRuleNotFound, AlertResourceChanged.
        """
        async with self._database.transaction(tenant_id) as tx:
            before = _rule(await store.find_rule(tx, tenant_id, rule_id, for_update=True), rule_id)
            require_etag(etag, etag_of(rule_id, before.revision))
            await store.delete_rule(tx, tenant_id, rule_id)
            await _audit(tx, "suppression_rules.delete", rule_id, before=before, after=None)


def _policy(found: EscalationPolicy | None, policy_id: str) -> EscalationPolicy:
    if found is None:
        raise EscalationPolicyNotFound(policy_id=policy_id)
    return found


def _rule(found: SuppressionRule | None, rule_id: str) -> SuppressionRule:
    if found is None:
        raise SuppressionRuleNotFound(rule_id=rule_id)
    return found


async def _require_channels(tx: Transaction, tenant_id: str, policy: EscalationPolicy) -> None:
    named = {channel_id for step in policy.steps for channel_id in step.channel_ids}
    missing = named - (await channels.channels_of(tx, tenant_id, sorted(named))).keys()
    if missing:
        raise ChannelNotFound(channel_id=min(missing))


async def _audit(
    tx: Transaction,
    action: str,
    resource_id: str,
    *,
    before: EscalationPolicy | SuppressionRule | None,
    after: EscalationPolicy | SuppressionRule | None,
) -> None:
    await audit.append(
        tx,
        action=action,
        resource=f"{action.partition('.')[0]}/{resource_id}",
        before=None if before is None else _state(before),
        after=None if after is None else _state(after),
    )


def _state(resource: EscalationPolicy | SuppressionRule) -> dict[str, Any]:
    """Returns its fields as JSON has them."""

    def plain(value: Any) -> Any:
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, frozenset):
            return sorted(value)
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value

    return {key: plain(value) for key, value in asdict(resource).items() if value is not None}
