"""Escalation policies and suppression rules as rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, insert, select, update
from sqlalchemy.sql.selectable import Select

from services.budget.domain.escalation import EscalationPolicy, EscalationStep
from services.budget.domain.suppression import (
    AlertGrouping,
    QuietHours,
    SuppressionKind,
    SuppressionRule,
)
from services.budget.store.alerts import SEVERITIES
from services.budget.tables.alerts import escalation_policy as policies
from services.budget.tables.alerts import suppression_rule as rules
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period

_POLICIES = Listing(
    filters={
        name: FilterField(FieldType.STRING, policies.c[name])
        for name in ("policy_id", "display_name")
    },
    orders={
        "display_name": policies.c.display_name,
        "create_time": policies.c.created_at,
        "policy_id": policies.c.policy_id,
    },
    default_order="display_name",
    tie_break="policy_id",
)
_RULES = Listing(
    filters={
        "rule_id": FilterField(FieldType.STRING, rules.c.rule_id),
        "display_name": FilterField(FieldType.STRING, rules.c.display_name),
        "enabled": FilterField(FieldType.BOOLEAN, rules.c.is_disabled.is_(False)),
        "kind": FilterField(
            FieldType.CHOICE,
            rules.c.kind,
            choices={each.name: each.value for each in SuppressionKind},
        ),
    },
    orders={
        "display_name": rules.c.display_name,
        "create_time": rules.c.created_at,
        "rule_id": rules.c.rule_id,
    },
    default_order="display_name",
    tie_break="rule_id",
)


async def insert_policy(tx: Transaction, tenant_id: str, policy: EscalationPolicy) -> None:
    """Adds a policy."""
    await tx.execute(insert(policies).values(tenant_id=tenant_id, **_policy_values(policy)))


async def update_policy(tx: Transaction, tenant_id: str, policy: EscalationPolicy) -> None:
    """Stores a policy that was locked."""
    await tx.execute(
        update(policies)
        .where(_policy_is(tenant_id, policy.policy_id))
        .values(**_policy_values(policy))
    )


async def delete_policy(tx: Transaction, tenant_id: str, policy_id: str) -> None:
    """Removes a policy; alerts that follow it are not escalated further."""
    await tx.execute(delete(policies).where(_policy_is(tenant_id, policy_id)))


async def find_policy(
    tx: Transaction, tenant_id: str, policy_id: str, *, for_update: bool = False
) -> EscalationPolicy | None:
    """Returns a policy; None where there is none of that id."""
    row = await _one(tx, select(policies).where(_policy_is(tenant_id, policy_id)), for_update)
    return None if row is None else _policy_of(row)


async def list_policies(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[EscalationPolicy]:
    """Returns a page of a tenant's policies."""
    found = await _POLICIES.page(tx, _of_tenant(policies, page.tenant_id), page, tokens)
    return Page([_policy_of(row) for row in found.items], found.next_page_token)


async def insert_rule(tx: Transaction, tenant_id: str, rule: SuppressionRule) -> None:
    """Adds a rule."""
    await tx.execute(insert(rules).values(tenant_id=tenant_id, **_rule_values(rule)))


async def update_rule(tx: Transaction, tenant_id: str, rule: SuppressionRule) -> None:
    """Stores a rule that was locked."""
    statement = update(rules).where(_rule_is(tenant_id, rule.rule_id))
    await tx.execute(statement.values(**_rule_values(rule)))


async def delete_rule(tx: Transaction, tenant_id: str, rule_id: str) -> None:
    """Removes a rule."""
    await tx.execute(delete(rules).where(_rule_is(tenant_id, rule_id)))


async def find_rule(
    tx: Transaction, tenant_id: str, rule_id: str, *, for_update: bool = False
) -> SuppressionRule | None:
    """Returns a rule; None where there is none of that id."""
    row = await _one(tx, select(rules).where(_rule_is(tenant_id, rule_id)), for_update)
    return None if row is None else _rule_of(row)


async def list_rules(
    tx: Transaction, page: PageRequest, tokens: PageTokens
) -> Page[SuppressionRule]:
    """Returns a page of a tenant's rules."""
    found = await _RULES.page(tx, _of_tenant(rules, page.tenant_id), page, tokens)
    return Page([_rule_of(row) for row in found.items], found.next_page_token)


async def active_rules(tx: Transaction, tenant_id: str) -> list[SuppressionRule]:
    """Returns the rules that are not disabled, the oldest first."""
    statement = _of_tenant(rules, tenant_id).where(rules.c.is_disabled.is_(False))
    found = await tx.execute(statement.order_by(rules.c.created_at, rules.c.rule_id))
    return [_rule_of(row) for row in found.mappings()]


async def count_suppressed(tx: Transaction, tenant_id: str, rule_id: str) -> None:
    """Counts one notification held back; the rule's row is then locked, so its groups are too."""
    await tx.execute(
        update(rules)
        .where(_rule_is(tenant_id, rule_id))
        .values(suppressed_count=rules.c.suppressed_count + 1)
    )


async def lock_rule(tx: Transaction, tenant_id: str, rule_id: str) -> None:
    """Lets one transaction at a time count and collect what a rule groups."""
    await tx.execute(select(rules.c.rule_id).where(_rule_is(tenant_id, rule_id)).with_for_update())


def _of_tenant(table: Table, tenant_id: str) -> Select[*tuple[Any, ...]]:
    return select(table).where(table.c.tenant_id == tenant_id)


def _policy_is(tenant_id: str, policy_id: str) -> ColumnElement[bool]:
    return and_(policies.c.tenant_id == tenant_id, policies.c.policy_id == policy_id)


def _rule_is(tenant_id: str, rule_id: str) -> ColumnElement[bool]:
    return and_(rules.c.tenant_id == tenant_id, rules.c.rule_id == rule_id)


async def _one(
    tx: Transaction,
    statement: Select[*tuple[Any, ...]],
    for_update: bool,  # noqa: FBT001 - passed on
) -> Any:
    found = await tx.execute(statement.with_for_update() if for_update else statement)
    return found.mappings().one_or_none()


def _policy_values(policy: EscalationPolicy) -> dict[str, Any]:
    return {
        "policy_id": policy.policy_id,
        "display_name": policy.display_name,
        "steps": [
            {
                "after_seconds": round(step.after.total_seconds()),
                "channel_ids": list(step.channel_ids),
                "severity_min": step.severity_min.rank + 1,
                "repeats": step.repeats,
            }
            for step in policy.steps
        ],
        "revision": policy.revision,
        "created_at": policy.created_at,
        "updated_at": policy.updated_at,
    }


def _policy_of(row: Any) -> EscalationPolicy:
    return EscalationPolicy(
        policy_id=row["policy_id"],
        display_name=row["display_name"],
        steps=tuple(
            EscalationStep(
                after=timedelta(seconds=step["after_seconds"]),
                channel_ids=tuple(step["channel_ids"]),
                severity_min=SEVERITIES[step["severity_min"] - 1],
                repeats=step["repeats"],
            )
            for step in row["steps"]
        ),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        revision=row["revision"],
    )


def _rule_values(rule: SuppressionRule) -> dict[str, Any]:
    through, hours, window, grouping = (
        rule.severity_through,
        rule.quiet_hours,
        rule.window,
        rule.grouping,
    )
    return {
        "rule_id": rule.rule_id,
        "display_name": rule.display_name,
        "kind": rule.kind.value,
        "filter": rule.filter,
        "severity_through": None if through is None else through.rank + 1,
        "quiet_hours": None
        if hours is None
        else {
            "time_zone": hours.time_zone,
            "start_minute": hours.start_minute,
            "end_minute": hours.end_minute,
            "weekdays": sorted(hours.weekdays),
        },
        "window_start_at": None if window is None else window.start,
        "window_end_at": None if window is None else window.end,
        "alert_grouping": None
        if grouping is None
        else {
            "window_seconds": grouping.window.total_seconds(),
            "count_min": grouping.count_min,
            "group_by": list(grouping.group_by),
        },
        "is_disabled": rule.is_disabled,
        "revision": rule.revision,
        "created_at": rule.created_at,
    }


def _rule_of(row: Any) -> SuppressionRule:
    hours, grouping, start_at = row["quiet_hours"], row["alert_grouping"], row["window_start_at"]
    through = row["severity_through"]
    created_at: datetime = row["created_at"]
    return SuppressionRule(
        rule_id=row["rule_id"],
        display_name=row["display_name"],
        kind=SuppressionKind(row["kind"]),
        created_at=created_at,
        filter=row["filter"],
        severity_through=None if through is None else SEVERITIES[through - 1],
        quiet_hours=None
        if hours is None
        else QuietHours(
            hours["time_zone"],
            hours["start_minute"],
            hours["end_minute"],
            frozenset(hours["weekdays"]),
        ),
        window=None if start_at is None else Period(start_at, row["window_end_at"]),
        grouping=None
        if grouping is None
        else AlertGrouping(
            timedelta(seconds=grouping["window_seconds"]),
            grouping["count_min"],
            tuple(grouping["group_by"]),
        ),
        is_disabled=row["is_disabled"],
        suppressed_count=row["suppressed_count"],
        revision=row["revision"],
    )
