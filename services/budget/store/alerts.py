"""Alerts as rows, and as facts of their feed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from services.budget.domain.alert import (
    SYSTEM,
    Alert,
    AlertCause,
    AlertChange,
    AlertKind,
    AlertState,
    AlertTransition,
)
from services.budget.domain.threshold import Basis, Severity
from services.budget.tables.alerts import alert as table
from services.kernel.database import Database, Transaction
from services.kernel.feed import Feed
from services.kernel.feed_page import FeedPosition
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.money import Money
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.kernel.telemetry import current_traceparent

FEED_TABLE = "budget.alert_change"
SEVERITIES = tuple(Severity)  # a severity is stored as its place here, from 1
_NO_PERIOD = datetime.min.replace(tzinfo=UTC)  # as the driver gives -infinity
_INSTANTS = (
    "period_start",
    "period_end",
    "next_escalation_at",
    "snooze_end_at",
    "fired_at",
    "resolved_at",
)

_COLUMNS = tuple(table.c.keys())
_INSERT = f"""
INSERT INTO budget.alert ({", ".join(_COLUMNS)})
VALUES ({", ".join(f"${place}" for place in range(1, len(_COLUMNS) + 1))})
ON CONFLICT (tenant_id, budget_id, period_start, alert_key) DO NOTHING
"""
_CHANGED = tuple(
    name
    for name in _COLUMNS
    if name not in ("tenant_id", "alert_id", "alert_key", "budget_id", "period_start", "revision")
)
_UPDATE = f"""
UPDATE budget.alert SET
    {", ".join(f"{name} = ${place}" for place, name in enumerate(_CHANGED, start=4))},
    revision = revision + 1
WHERE tenant_id = $1 AND alert_id = $2 AND revision = $3
"""
_DUE = """
SELECT * FROM budget.alert
WHERE LEAST(next_escalation_at, snooze_end_at) <= $1
ORDER BY LEAST(next_escalation_at, snooze_end_at) LIMIT $2 FOR UPDATE SKIP LOCKED
"""
_FIRST_STEPS = """
INSERT INTO budget.alert_transition (tenant_id, alert_id, revision, from_state, to_state, actor,
    note, delivery_ids, transitioned_at)
SELECT tenant_id, alert_id, revision, NULL, state, $3, '', '{}', fired_at
FROM unnest($1::text[], $2::text[]) AS fired(tenant_id, alert_id)
JOIN budget.alert USING (tenant_id, alert_id)
"""
_FACTS = f"""
INSERT INTO {FEED_TABLE} (tenant_id, traceparent, kind, payload)
SELECT tenant_id, $3, alert.state, convert_to(
    jsonb_build_object('alert', to_jsonb(alert), 'step', to_jsonb(step))::text, 'UTF8')
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS changed(tenant_id, alert_id, place)
JOIN budget.alert USING (tenant_id, alert_id)
JOIN budget.alert_transition AS step USING (tenant_id, alert_id, revision)
ORDER BY place
"""
_UNANNOUNCED = """
SELECT * FROM budget.alert WHERE announced_at IS NULL
ORDER BY fired_at, threshold_ratio, alert_id LIMIT $1 FOR UPDATE SKIP LOCKED
"""
_ANNOUNCED = """
WITH told AS (
    UPDATE budget.alert SET announced_at = $3, suppression_rule_id = $4, next_escalation_at = $5
    WHERE tenant_id = $1 AND alert_id = $2 RETURNING tenant_id, alert_id, revision
)
UPDATE budget.alert_transition AS step SET delivery_ids = step.delivery_ids || $6::text[]
FROM told WHERE step.tenant_id = told.tenant_id AND step.alert_id = told.alert_id
AND step.revision = (SELECT max(revision) FROM budget.alert_transition AS opening
    WHERE opening.tenant_id = told.tenant_id AND opening.alert_id = told.alert_id
    AND to_state = 'open')
"""

_LISTING = Listing(
    filters={
        "alert_id": FilterField(FieldType.STRING, table.c.alert_id),
        "budget_id": FilterField(FieldType.STRING, table.c.budget_id),
        "acknowledged_by": FilterField(FieldType.STRING, table.c.acknowledged_by),
        "period_start_time": FilterField(FieldType.TIMESTAMP, table.c.period_start),
        "fire_time": FilterField(FieldType.TIMESTAMP, table.c.fired_at),
        "state": FilterField(
            FieldType.CHOICE, table.c.state, choices={each.name: each.value for each in AlertState}
        ),
        "kind": FilterField(
            FieldType.CHOICE, table.c.kind, choices={each.name: each.value for each in AlertKind}
        ),
        "severity": FilterField(
            FieldType.CHOICE,
            table.c.severity,
            choices={each.name: place for place, each in enumerate(SEVERITIES, start=1)},
        ),
    },
    orders={
        "fire_time": table.c.fired_at,
        "severity": table.c.severity,
        "state": table.c.state,
        "alert_id": table.c.alert_id,
    },
    default_order="fire_time desc",
    tie_break="alert_id",
)


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert and whom its budget tells, as it was when it fired.

    announced_at: when its notifications were queued, None before.
    """

    alert: Alert
    channel_ids: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    announced_at: datetime | None = None


class AlertFeed(Feed[AlertChange]):
    """The feed over budget.alert_change: an alert as it was after each step of its life."""

    def __init__(self, database: Database) -> None:
        """Takes the budget service's database."""
        super().__init__(
            database,
            table=FEED_TABLE,
            columns=("payload",),
            decode=_fact_of,
            time_column="appended_at",
            trace_column="traceparent",
        )

    async def horizon(self, tenant_id: str | None) -> FeedPosition:
        """Returns the position after all facts that are certain now. tenant_id: None for all."""
        async with (
            self._database.system_transaction()
            if tenant_id is None
            else self._database.read(tenant_id)
        ) as tx:
            xmin = await tx.driver.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())")
        return FeedPosition(xmin, 0)


async def insert_alerts(tx: Transaction, fired: Sequence[StoredAlert]) -> None:
    """Adds alerts that fired, with their first steps and facts, in order.

    Those whose budget, period and key have an alert already are left out.
    """
    rows = [_values(stored) for stored in fired]
    await tx.driver.executemany(_INSERT, [[row[name] for name in _COLUMNS] for row in rows])
    tenants = [row["tenant_id"] for row in rows]
    alerts = [row["alert_id"] for row in rows]
    await tx.driver.execute(_FIRST_STEPS, tenants, alerts, SYSTEM)
    await tx.driver.execute(_FACTS, tenants, alerts, current_traceparent())


async def update_alert(tx: Transaction, stored: StoredAlert) -> bool:
    """Stores an alert over the revision that it carries; False when that is not the row's."""
    values = _values(stored)
    alert = stored.alert
    status = await tx.driver.execute(
        _UPDATE,
        alert.tenant_id,
        alert.alert_id,
        alert.revision,
        *(values[name] for name in _CHANGED),
    )
    return bool(status == "UPDATE 1")


async def lock_alert(tx: Transaction, tenant_id: str, alert_id: str) -> StoredAlert | None:
    """Returns an alert and locks it; None where there is none of that id."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM budget.alert WHERE tenant_id = $1 AND alert_id = $2 FOR UPDATE",
        tenant_id,
        alert_id,
    )
    return None if row is None else stored_of(row)


async def find_alert(tx: Transaction, tenant_id: str, alert_id: str) -> Alert | None:
    """Returns an alert; None where there is none of that id."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM budget.alert WHERE tenant_id = $1 AND alert_id = $2", tenant_id, alert_id
    )
    return None if row is None else alert_of(row)


async def due_alerts(tx: Transaction, now: datetime, limit: int) -> list[StoredAlert]:
    """Returns and locks alerts of all tenants whose escalation or end of silence is due."""
    return [stored_of(row) for row in await tx.driver.fetch(_DUE, now, limit)]


async def list_alerts(tx: Transaction, page: PageRequest, tokens: PageTokens) -> Page[Alert]:
    """Returns a page of a tenant's alerts."""
    statement = select(table).where(table.c.tenant_id == page.tenant_id)
    found = await _LISTING.page(tx, statement, page, tokens)
    return Page([alert_of(row) for row in found.items], found.next_page_token)


async def unannounced(tx: Transaction, limit: int) -> list[StoredAlert]:
    """Returns and locks alerts of all tenants whose notifications are to be queued."""
    return [stored_of(row) for row in await tx.driver.fetch(_UNANNOUNCED, limit)]


async def mark_announced(
    tx: Transaction, alert: Alert, delivery_ids: Sequence[str], at: datetime
) -> None:
    """Stores that an alert's notifications are queued, and when it is escalated."""
    await tx.driver.execute(
        _ANNOUNCED,
        alert.tenant_id,
        alert.alert_id,
        at,
        alert.suppression_rule_id,
        alert.next_escalation_at,
        list(delivery_ids),
    )


async def add_step(tx: Transaction, alert: Alert, step: AlertTransition) -> None:
    """Adds a step under the revision that the alert's row has now, and the fact of it."""
    await tx.driver.execute(
        "INSERT INTO budget.alert_transition (tenant_id, alert_id, revision, from_state, to_state,"
        " actor, note, delivery_ids, transitioned_at) SELECT tenant_id, alert_id, revision, $3,"
        " $4, $5, $6, $7, $8 FROM budget.alert WHERE tenant_id = $1 AND alert_id = $2",
        alert.tenant_id,
        alert.alert_id,
        None if step.from_state is None else step.from_state.value,
        step.to_state.value,
        step.actor,
        step.note,
        list(step.delivery_ids),
        step.transitioned_at,
    )
    await tx.driver.execute(_FACTS, [alert.tenant_id], [alert.alert_id], current_traceparent())


async def transitions_of(tx: Transaction, tenant_id: str, alert_id: str) -> list[AlertTransition]:
    """Returns the steps of an alert, oldest first."""
    rows = await tx.driver.fetch(
        "SELECT * FROM budget.alert_transition WHERE tenant_id = $1 AND alert_id = $2"
        " ORDER BY revision",
        tenant_id,
        alert_id,
    )
    return [_step_of(row) for row in rows]


def _step_of(row: Any) -> AlertTransition:
    return AlertTransition(
        from_state=None if row["from_state"] is None else AlertState(row["from_state"]),
        to_state=AlertState(row["to_state"]),
        actor=row["actor"],
        note=row["note"],
        delivery_ids=tuple(row["delivery_ids"]),
        transitioned_at=row["transitioned_at"],
    )


def stored_of(row: Any) -> StoredAlert:
    """Returns the alert of a row and whom its budget tells."""
    return StoredAlert(
        alert_of(row), tuple(row["channel_ids"]), tuple(row["recipients"]), row["announced_at"]
    )


def alert_of(row: Any) -> Alert:
    """Returns the alert of a row."""
    code, end = row["currency_code"], row["period_end"]
    basis = row["basis"]
    cause = AlertCause(
        budget_id=row["budget_id"],
        display_name=row["budget_display_name"],
        kind=AlertKind(row["kind"]),
        severity=SEVERITIES[row["severity"] - 1],
        message=row["message"],
        period=None if end is None else Period(row["period_start"], end),
        threshold_ratio=row["threshold_ratio"],
        basis=None if basis is None else Basis(basis),
        observed=None if row["observed"] is None else Money(code, row["observed"]),
        limit=None if row["limit_amount"] is None else Money(code, row["limit_amount"]),
        usage_event_id=row["usage_event_id"],
        feed_sequence=row["feed_sequence"],
        department_id=row["department_id"],
        key=row["alert_key"].partition(":")[2],
    )
    return Alert(
        alert_id=row["alert_id"],
        tenant_id=row["tenant_id"],
        cause=cause,
        state=AlertState(row["state"]),
        fired_at=row["fired_at"],
        escalation_policy_id=row["escalation_policy_id"],
        escalation_level=row["escalation_level"],
        escalation_repeat=row["escalation_repeat"],
        next_escalation_at=row["next_escalation_at"],
        snooze_end_at=row["snooze_end_at"],
        acknowledged_by=row["acknowledged_by"],
        suppression_rule_id=row["suppression_rule_id"],
        resolved_at=row["resolved_at"],
        revision=row["revision"],
    )


def _values(stored: StoredAlert) -> dict[str, Any]:
    alert, cause = stored.alert, stored.alert.cause
    money = cause.limit or cause.observed
    return {
        "tenant_id": alert.tenant_id,
        "alert_id": alert.alert_id,
        "alert_key": cause.alert_key,
        "budget_id": cause.budget_id,
        "budget_display_name": cause.display_name,
        "department_id": cause.department_id,
        "kind": cause.kind.value,
        "severity": cause.severity.rank + 1,
        "state": alert.state.value,
        "period_start": _NO_PERIOD if cause.period is None else cause.period.start,
        "period_end": None if cause.period is None else cause.period.end,
        "basis": None if cause.basis is None else cause.basis.value,
        "threshold_ratio": cause.threshold_ratio,
        "currency_code": "" if money is None else money.currency_code,
        "observed": None if cause.observed is None else cause.observed.amount,
        "limit_amount": None if cause.limit is None else cause.limit.amount,
        "message": cause.message,
        "usage_event_id": cause.usage_event_id,
        "feed_sequence": cause.feed_sequence,
        "channel_ids": list(stored.channel_ids),
        "recipients": list(stored.recipients),
        "escalation_policy_id": alert.escalation_policy_id,
        "escalation_level": alert.escalation_level,
        "escalation_repeat": alert.escalation_repeat,
        "next_escalation_at": alert.next_escalation_at,
        "snooze_end_at": alert.snooze_end_at,
        "acknowledged_by": alert.acknowledged_by,
        "suppression_rule_id": alert.suppression_rule_id,
        "fired_at": alert.fired_at,
        "announced_at": stored.announced_at,
        "resolved_at": alert.resolved_at,
        "revision": alert.revision,
    }


def _fact_of(row: Any) -> AlertChange:
    """Returns the change of a fact: the rows as PostgreSQL wrote them as JSON."""
    body = json.loads(row["payload"], parse_float=Decimal)
    alert, step = body["alert"], body["step"]
    for name in _INSTANTS:
        text = alert[name]
        if text is not None:
            alert[name] = _NO_PERIOD if text == "-infinity" else datetime.fromisoformat(text)
    for name in ("threshold_ratio", "observed", "limit_amount"):
        alert[name] = None if alert[name] is None else Decimal(alert[name])
    step["transitioned_at"] = datetime.fromisoformat(step["transitioned_at"])
    return AlertChange(alert_of(alert), _step_of(step))
