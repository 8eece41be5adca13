"""Recommendations, their history and their feed as rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, Select, any_, func, literal, or_, select

from services.kernel.feed import EncodedFact, EncodedFeed
from services.kernel.filter import Comparator, FieldType, FilterField, FilterValue, compile_filter
from services.kernel.listing import Listing
from services.kernel.money import format_decimal
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.kernel.transaction import Transaction
from services.optimizer.domain.finding import (
    Effort,
    Estimate,
    Evidence,
    Finding,
    Kind,
    Part,
    Risk,
    Scope,
)
from services.optimizer.domain.lifecycle import (
    DONE,
    DismissalReason,
    Recommendation,
    State,
    StateChange,
)
from services.optimizer.tables.recommendations import recommendation as table

FEED_TABLE = "optimizer.recommendation_change"
CHANGED = "recommendation"


def _resource_meaning(comparator: Comparator, value: FilterValue) -> Any:
    if comparator in (Comparator.EQUAL, Comparator.HAS) and isinstance(value, str):
        return literal(value) == any_(table.c.resource_ids)
    return None


def _choice(column: Any, names: Iterable[Any], prefix: str = "") -> FilterField:
    choices = {prefix + one.name: int(one) for one in names}
    choices |= {one.name: int(one) for one in names}
    return FilterField(FieldType.CHOICE, column, choices=choices)


FILTERS: Mapping[str, FilterField] = {
    "kind": _choice(table.c.kind, list(Kind), "RECOMMENDATION_KIND_"),
    "detector_id": FilterField(FieldType.STRING, table.c.detector_id),
    "state": _choice(table.c.state, list(State), "RECOMMENDATION_STATE_"),
    "owner": FilterField(FieldType.STRING, table.c.owner),
    "effort": _choice(table.c.effort, list(Effort), "EFFORT_"),
    "risk": _choice(table.c.risk, list(Risk), "RISK_"),
    # In the tenant's currency: amounts of several would not compare.
    "monthly_saving": FilterField(FieldType.NUMBER, table.c.worth),
    "confidence_ratio": FilterField(FieldType.NUMBER, table.c.confidence),
    "department": FilterField(FieldType.STRING, table.c.department),
    "project": FilterField(FieldType.STRING, table.c.project),
    "resource_type": FilterField(FieldType.STRING, table.c.resource_type),
    "resource_id": FilterField(FieldType.STRING, None, meaning=_resource_meaning),
    # All recommendations of a tenant are one portfolio, whose id is the tenant's.
    "portfolio": FilterField(FieldType.STRING, table.c.tenant_id),
    "create_time": FilterField(FieldType.TIMESTAMP, table.c.created_at),
}
_LISTING = Listing(
    filters=FILTERS,
    orders={
        "rank": table.c.rank,
        "monthly_saving": table.c.worth,
        "confidence_ratio": table.c.confidence,
        "create_time": table.c.created_at,
        "recommendation_id": table.c.recommendation_id,
    },
    default_order="rank",
    tie_break="recommendation_id",
)


async def list_page(
    tx: Transaction, page: PageRequest, tokens: PageTokens, *, now: datetime
) -> Page[Recommendation]:
    """Returns a page of a tenant's recommendations; the snoozed are shown when their time is up."""
    found = await _LISTING.page(tx, _shown(page.tenant_id, now), page, tokens)
    return Page([_recommendation(row) for row in found.items], found.next_page_token)


async def matching(
    tx: Transaction, tenant_id: str, text: str, *, now: datetime, limit: int
) -> list[Recommendation]:
    """Returns what fits a filter, best first, the snoozed left out."""
    statement = (
        _shown(tenant_id, now)
        .where(compile_filter(text, FILTERS))
        .order_by(table.c.rank, table.c.recommendation_id)
        .limit(limit)
    )
    return [_recommendation(row) for row in (await tx.execute(statement)).mappings()]


def _shown(tenant_id: str, now: datetime) -> Select[*tuple[Any, ...]]:
    return select(table).where(
        table.c.tenant_id == tenant_id,
        or_(table.c.snoozed_until.is_(None), table.c.snoozed_until <= literal(now)),
    )


async def by_ids(
    tx: Transaction, tenant_id: str, ids: Sequence[str], *, is_locked: bool = False
) -> dict[str, Recommendation]:
    """Returns those of the ids that exist, in the order of their ids."""
    statement = (
        select(table)
        .where(table.c.tenant_id == tenant_id, table.c.recommendation_id.in_(ids))
        .order_by(table.c.recommendation_id)
    )
    if is_locked:
        statement = statement.with_for_update()
    rows = (await tx.execute(statement)).mappings()
    return {row["recommendation_id"]: _recommendation(row) for row in rows}


async def alive(
    tx: Transaction, tenant_id: str, detector_ids: Iterable[str] | None = None
) -> list[Recommendation]:
    """Returns what is not done, of some detectors or all, and locks it."""
    statement = select(table).where(
        table.c.tenant_id == tenant_id,
        table.c.state.not_in([int(state) for state in DONE]),
    )
    if detector_ids is not None:
        statement = statement.where(table.c.detector_id.in_(list(detector_ids)))
    rows = (await tx.execute(statement.with_for_update())).mappings()
    return [_recommendation(row) for row in rows]


async def lock_all(tx: Transaction, tenant_id: str) -> None:
    """Waits until no other transaction adds to a tenant's recommendations, and holds that."""
    await tx.driver.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('optimizer/recommendations/' || $1, 0))",
        tenant_id,
    )


async def settled_causes(
    tx: Transaction, tenant_id: str, *, since: datetime
) -> set[tuple[str, str, int, str]]:
    """Returns (detector, key, kind, currency) of what was done since then and not refuted."""
    rows = await tx.driver.fetch(
        "SELECT detector_id, finding_key, kind, currency_code FROM recommendation"
        " WHERE tenant_id = $1 AND state = ANY($2::int[]) AND completed_at >= $3",
        tenant_id,
        [int(State.COMPLETED), int(State.VERIFIED)],
        since,
    )
    return {tuple(row) for row in rows}


async def all_of(
    tx: Transaction, tenant_id: str, text: str, *, completed_in: Period | None = None
) -> list[Recommendation]:
    """Returns everything that fits a filter, of those completed only the ones of a period."""
    statement = select(table).where(table.c.tenant_id == tenant_id, compile_filter(text, FILTERS))
    if completed_in is not None:
        statement = statement.where(
            or_(
                table.c.completed_at.is_(None),
                table.c.completed_at.between(completed_in.start, completed_in.end),
            )
        )
    rows = (await tx.execute(statement.order_by(table.c.recommendation_id))).mappings()
    return [_recommendation(row) for row in rows]


async def judged_counts(tx: Transaction, tenant_id: str) -> dict[str, tuple[int, int, int]]:
    """Returns by detector how many findings were wrong, judged at all, and dismissed."""
    wrong = (table.c.state == int(State.REFUTED)) | (
        table.c.dismissal_reason == int(DismissalReason.NOT_APPLICABLE)
    )
    judged = wrong | table.c.state.in_([int(State.VERIFIED), int(State.ACCEPTED)])
    statement = (
        select(
            table.c.detector_id,
            func.count().filter(wrong),
            func.count().filter(judged),
            func.count().filter(table.c.state == int(State.DISMISSED)),
        )
        .where(table.c.tenant_id == tenant_id)
        .group_by(table.c.detector_id)
    )
    return {row[0]: (row[1], row[2], row[3]) for row in await tx.execute(statement)}


async def save(tx: Transaction, one: Recommendation) -> None:
    """Adds a recommendation, or stores all of its fields anew."""
    values = _values(one)
    names = [name for name in values if name not in ("tenant_id", "recommendation_id")]
    places = ", ".join(f"${index}" for index in range(1, len(values) + 1))
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    await tx.driver.execute(
        f"INSERT INTO recommendation ({', '.join(values)}) VALUES ({places})"
        f" ON CONFLICT (tenant_id, recommendation_id) DO UPDATE SET {changes}",
        *values.values(),
    )


async def rank_all(tx: Transaction, tenant_id: str, ranks: Mapping[str, int]) -> None:
    """Stores the places of recommendations."""
    await tx.driver.execute(
        """
        UPDATE recommendation AS known SET rank = placed.rank
        FROM unnest($2::text[], $3::int[]) AS placed(recommendation_id, rank)
        WHERE known.tenant_id = $1 AND known.recommendation_id = placed.recommendation_id
        AND known.rank <> placed.rank
        """,
        tenant_id,
        list(ranks.keys()),
        list(ranks.values()),
    )


async def append_event(
    tx: Transaction, feed: EncodedFeed, one: Recommendation, change: StateChange
) -> None:
    """Adds a step to a life, and tells it in the feed."""
    await tx.driver.execute(
        """
        INSERT INTO recommendation_event
            (tenant_id, recommendation_id, from_state, to_state, actor, note, happened_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        one.tenant_id,
        one.recommendation_id,
        None if change.before is None else int(change.before),
        int(change.after),
        change.actor,
        change.note,
        change.at,
    )
    fact = {
        "recommendation_id": one.recommendation_id,
        "before": None if change.before is None else int(change.before),
        "after": int(change.after),
        "actor": change.actor,
        "note": change.note,
        "at": change.at.isoformat(),
    }
    await feed.append(tx, EncodedFact(CHANGED, json.dumps(fact).encode()), tenant_id=one.tenant_id)


def decode_event(payload: bytes) -> tuple[str, StateChange]:
    """Returns which recommendation a fact of the feed is about, and the step."""
    fact = json.loads(payload)
    change = StateChange(
        before=None if fact["before"] is None else State(fact["before"]),
        after=State(fact["after"]),
        actor=fact["actor"],
        note=fact["note"],
        at=datetime.fromisoformat(fact["at"]),
    )
    return fact["recommendation_id"], change


async def events_of(tx: Transaction, tenant_id: str, recommendation_id: str) -> list[StateChange]:
    """Returns the history of a recommendation, oldest first."""
    rows = await tx.driver.fetch(
        """
        SELECT from_state, to_state, actor, note, happened_at FROM recommendation_event
        WHERE tenant_id = $1 AND recommendation_id = $2 ORDER BY sequence
        """,
        tenant_id,
        recommendation_id,
    )
    return [
        StateChange(
            before=None if row["from_state"] is None else State(row["from_state"]),
            after=State(row["to_state"]),
            actor=row["actor"],
            note=row["note"],
            at=row["happened_at"],
        )
        for row in rows
    ]


def _values(one: Recommendation) -> dict[str, Any]:
    finding = one.finding
    content = {
        "title": finding.title,
        "summary": finding.summary,
        "scope": finding.scope._asdict(),
        "risk_note": finding.risk_note,
        "detail": finding.detail,
        "steps": list(finding.steps),
        "verification_steps": list(finding.verification_steps),
        "rollback_steps": list(finding.rollback_steps),
        "evidence": [one._asdict() for one in finding.evidence],
        "period": [instant.isoformat() for instant in asdict(one.period).values()],
    }
    return {
        "tenant_id": one.tenant_id,
        "recommendation_id": one.recommendation_id,
        "detector_id": finding.detector_id,
        "finding_key": finding.key,
        "kind": int(finding.kind),
        "state": int(one.state),
        "currency_code": finding.currency_code,
        "saving_expected": finding.saving.expected,
        "saving_lower": finding.saving.lower,
        "saving_upper": finding.saving.upper,
        "worth": finding.worth,
        "monthly_cost": finding.monthly_cost,
        "one_time_cost": finding.one_time_cost,
        "monthly_kg_co2e": finding.monthly_kg_co2e,
        "confidence": finding.confidence,
        "effort": int(finding.effort),
        "risk": int(finding.risk),
        "rank": one.rank,
        "department": finding.scope.department,
        "project": finding.scope.project,
        "resource_type": finding.scope.resource_type,
        "resource_ids": list(finding.scope.resource_ids),
        "content": json.dumps(content),
        "parts": json.dumps(
            [[part.series_id, format_decimal(part.monthly_cost)] for part in finding.parts]
        ),
        "owner": one.owner,
        "notes": one.notes,
        "snoozed_until": one.snoozed_until,
        "dismissal_reason": int(one.dismissal_reason),
        "completed_at": one.completed_at,
        "revision": one.revision,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "expires_at": one.expires_at,
    }


def _recommendation(row: RowMapping) -> Recommendation:
    content = row["content"]
    scope: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content["scope"].items()
    }
    finding = Finding(
        kind=Kind(row["kind"]),
        detector_id=row["detector_id"],
        key=row["finding_key"],
        title=content["title"],
        summary=content["summary"],
        scope=Scope(**scope),
        currency_code=row["currency_code"],
        saving=Estimate(row["saving_expected"], row["saving_lower"], row["saving_upper"]),
        parts=[Part(int(series_id), Decimal(cost)) for series_id, cost in row["parts"]],
        confidence=row["confidence"],
        effort=Effort(row["effort"]),
        risk=Risk(row["risk"]),
        risk_note=content["risk_note"],
        detail=content["detail"],
        steps=content["steps"],
        verification_steps=content["verification_steps"],
        rollback_steps=content["rollback_steps"],
        evidence=[Evidence(**one) for one in content["evidence"]],
        one_time_cost=row["one_time_cost"],
        monthly_kg_co2e=row["monthly_kg_co2e"],
        worth=row["worth"],
    )
    return Recommendation(
        recommendation_id=row["recommendation_id"],
        tenant_id=row["tenant_id"],
        finding=finding,
        period=Period(*(datetime.fromisoformat(text) for text in content["period"])),
        state=State(row["state"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        expires_at=row["expires_at"],
        owner=row["owner"],
        notes=row["notes"],
        snoozed_until=row["snoozed_until"],
        dismissal_reason=DismissalReason(row["dismissal_reason"]),
        completed_at=row["completed_at"],
        rank=row["rank"],
        revision=row["revision"],
    )
