"""Anomalies and the feed of their changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, case, select, update
from sqlalchemy.dialects.postgresql import insert

from services.kernel.database import Database, Transaction
from services.kernel.feed import Feed
from services.kernel.feed_page import FeedPosition
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.kernel.telemetry import current_traceparent
from services.reporting.domain.anomaly.anomaly import (
    Anomaly,
    Cause,
    Feedback,
    Scope,
    Severity,
    State,
)
from services.reporting.tables.anomalies import anomaly as table

FEED = "reporting.anomaly_change"
SIMILAR_MAX = 10
c = table.c
LISTING = Listing(
    filters={
        **{
            name: FilterField(FieldType.STRING, c[name])
            for name in ("department", "service", "resource_type", "direction")
        },
        "state": FilterField(
            FieldType.CHOICE, c.state, choices={each.name: each.value for each in State}
        ),
        "severity": FilterField(
            FieldType.CHOICE, c.severity, choices={each.name: each.value for each in Severity}
        ),
        "feedback": FilterField(
            FieldType.CHOICE, c.feedback, choices={each.name: each.value for each in Feedback}
        ),
        "impact": FilterField(FieldType.NUMBER, c.impact),
        "score": FilterField(FieldType.NUMBER, c.score),
    },
    orders={
        "start_time": c.start_at,
        "impact": c.impact,
        "severity": c.severity,
        "score": c.score,
        "anomaly_id": c.anomaly_id,
    },
    default_order="start_time desc",
    tie_break="anomaly_id",
)


class AnomalyFeed(Feed[Anomaly]):
    """The feed over reporting.anomaly_change: each anomaly as it was after a change."""

    def __init__(self, database: Database) -> None:
        """Takes the reporting service's database."""
        super().__init__(
            database,
            table=FEED,
            columns=("kind", "payload"),
            decode=lambda row: anomaly_of(json.loads(row["payload"])),
            time_column="appended_at",
            trace_column="traceparent",
        )

    async def append(self, tx: Transaction, anomaly: Anomaly) -> None:
        """Adds a change in the transaction that makes it."""
        payload = json.dumps(values_of(anomaly), default=str).encode()
        await tx.driver.execute(
            f"INSERT INTO {FEED} (tenant_id, traceparent, kind, payload) VALUES ($1, $2, $3, $4)",
            anomaly.tenant_id,
            current_traceparent(),
            anomaly.state.name,
            payload,
        )
        self.announce(tx, tenants=[anomaly.tenant_id])

    async def horizon(self, tx: Transaction) -> FeedPosition:
        """Returns the position before all that is not certain yet."""
        query = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
        return FeedPosition(int(await tx.driver.fetchval(query)), 0)


async def save(tx: Transaction, anomaly: Anomaly) -> None:
    """Stores an anomaly as it is now."""
    values = values_of(anomaly)
    statement = insert(table).values(values)
    keys = ("tenant_id", "anomaly_id")
    changed = {name: statement.excluded[name] for name in values if name not in keys}
    await tx.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))


async def find(tx: Transaction, tenant_id: str, anomaly_id: str) -> Anomaly | None:
    """Returns one anomaly, locked for change where the transaction may write."""
    statement = select(table).where(c.tenant_id == tenant_id, c.anomaly_id == anomaly_id)
    if not tx.read_only:
        statement = statement.with_for_update()
    row = (await tx.execute(statement)).mappings().first()
    return None if row is None else anomaly_of(row)


async def similar(tx: Transaction, anomaly: Anomaly) -> list[str]:
    """Returns ids of earlier anomalies of the same series and direction, newest first."""
    statement = (
        select(c.anomaly_id)
        .where(
            c.tenant_id == anomaly.tenant_id,
            c.series_key == anomaly.scope.key,
            c.direction == anomaly.direction,
            c.start_at < anomaly.start_at,
        )
        .order_by(c.start_at.desc())
        .limit(SIMILAR_MAX)
    )
    return list(await tx.scalars(statement))


async def of_series(
    tx: Transaction, tenant_id: str, key: str, *condition: ColumnElement[bool]
) -> list[Anomaly]:
    """Returns the anomalies of a series that meet a condition, oldest first."""
    statement = (
        select(table)
        .where(c.tenant_id == tenant_id, c.series_key == key, *condition)
        .order_by(c.start_at)
    )
    return [anomaly_of(row) for row in (await tx.execute(statement)).mappings()]


async def since(tx: Transaction, start: datetime, *, limit: int) -> list[Anomaly]:
    """Returns the tenant's anomalies that began since an instant, newest first."""
    statement = (
        select(table)
        .where(c.tenant_id == tx.tenant_id, c.start_at >= start)
        .order_by(c.start_at.desc(), c.anomaly_id.desc())
        .limit(limit)
    )
    return [anomaly_of(row) for row in (await tx.execute(statement)).mappings()]


async def going_on(tx: Transaction, tenant_id: str, key: str) -> list[Anomaly]:
    """Returns what is going on in a series, told or planned."""
    return await of_series(tx, tenant_id, key, c.closed_at.is_(None))


async def between(tx: Transaction, tenant_id: str, period: Period) -> list[Anomaly]:
    """Returns the anomalies of a tenant that began in a period, locked for change."""
    statement = (
        select(table)
        .where(c.tenant_id == tenant_id, c.start_at >= period.start, c.start_at < period.end)
        .with_for_update()
    )
    return [anomaly_of(row) for row in (await tx.execute(statement)).mappings()]


async def expected_of(tx: Transaction, tenant_id: str, key: str) -> list[Anomaly]:
    """Returns what people said was planned in a series."""
    return await of_series(tx, tenant_id, key, c.feedback == Feedback.EXPECTED.value)


async def close_idle(tx: Transaction, before: datetime, now: datetime) -> list[Anomaly]:
    """Closes what has had no unusual hour since, of all tenants."""
    statement = (
        update(table)
        .where(c.closed_at.is_(None), c.end_at < before)
        .values(
            closed_at=now,
            state=case((c.state == State.OPEN.value, State.CLOSED.value), else_=c.state),
        )
        .returning(*c)
    )
    return [anomaly_of(row) for row in (await tx.execute(statement)).mappings()]


async def page(
    tx: Transaction, period: Period, request: PageRequest, tokens: PageTokens
) -> Page[Anomaly]:
    """Returns a page of the anomalies that began in a period."""
    statement = select(table).where(
        c.tenant_id == tx.tenant_id, c.start_at >= period.start, c.start_at < period.end
    )
    found = await LISTING.page(tx, statement, request, tokens)
    return Page([anomaly_of(row) for row in found.items], found.next_page_token)


def values_of(anomaly: Anomaly) -> dict[str, Any]:
    """Returns the columns of an anomaly."""
    scope = anomaly.scope
    names = (
        *("tenant_id", "anomaly_id", "direction", "pattern", "start_at", "end_at", "observed"),
        *("expected", "expected_lower", "expected_upper", "impact", "score", "event_count"),
        *("feedback_actor", "feedback_note", "detected_at", "closed_at"),
    )
    return {
        **{name: getattr(anomaly, name) for name in names},
        "series_key": scope.key,
        "department": scope.department,
        "service": scope.service,
        "resource_type": scope.resource_type,
        "currency_code": scope.currency_code,
        "state": anomaly.state.value,
        "severity": anomaly.severity.value,
        "feedback": anomaly.feedback.value,
        "causes": [
            [each.dimension, each.value, str(each.contribution), each.is_new]
            for each in anomaly.causes
        ],
    }


def anomaly_of(row: Mapping[Any, Any]) -> Anomaly:
    """Reads a row, or the payload of a change, whose instants and decimals are texts."""

    def instant(name: str) -> Any:
        value = row[name]
        return datetime.fromisoformat(value) if isinstance(value, str) else value

    return Anomaly(
        tenant_id=row["tenant_id"],
        anomaly_id=row["anomaly_id"],
        scope=Scope(row["department"], row["service"], row["resource_type"], row["currency_code"]),
        state=State(row["state"]),
        start_at=instant("start_at"),
        end_at=instant("end_at"),
        observed=Decimal(row["observed"]),
        expected=Decimal(row["expected"]),
        expected_lower=Decimal(row["expected_lower"]),
        expected_upper=Decimal(row["expected_upper"]),
        score=Decimal(row["score"]),
        event_count=row["event_count"],
        detected_at=instant("detected_at"),
        causes=tuple(
            Cause(name, value, Decimal(contribution), is_new)
            for name, value, contribution, is_new in row["causes"]
        ),
        closed_at=instant("closed_at"),
        feedback=Feedback(row["feedback"]),
        feedback_actor=row["feedback_actor"],
        feedback_note=row["feedback_note"],
    )
