"""Authorizations as rows. Statements take arrays, because a batch of calls is one statement.

They name the tenant of each row, because the batches of all tenants run as the worker.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

from services.budget.domain.scope import SpendAttributes
from services.budget.domain.settlement import Hold, OpenAuthorization
from services.budget.domain.spend import AuthorizationState, SpendAuthorization
from services.budget.store.decision_json import (
    decision_of,
    decision_text,
    holds_of,
    holds_text,
)
from services.kernel.database import Transaction
from services.kernel.money import Money

_PLAIN = (
    "user_id",
    "department_id",
    "project",
    "resource_type",
    "resource_id",
    "service",
    "provider",
    "region",
)

_plain_of = attrgetter(*_PLAIN)

# One row an ask: the tenant's revision, and the authorization that its request_id made before.
_PRELUDE = """
SELECT input.tenant_id AS asking_tenant, COALESCE(revision.revision, 0) AS tenant_revision,
    (SELECT min(expires_at) <= $3 FROM budget.spend_authorization WHERE state = 1) AS has_expired,
    stored.*
FROM unnest($1::text[], $2::text[]) AS input(tenant_id, wanted)
LEFT JOIN budget.tenant_revision AS revision ON revision.tenant_id = input.tenant_id
LEFT JOIN budget.spend_authorization AS stored
    ON stored.tenant_id = input.tenant_id AND stored.request_id = input.wanted
    AND stored.request_id <> '' AND stored.state <> 5
"""

# What is stored of a new decision, in the order of `columns_of`; when it was made is one instant.
_STORED = (
    "tenant_id text", "authorization_id text", "state smallint", "outcome smallint",
    "expires_at timestamptz", "request_id text", "digest bytea",
    *(f"{name} text" for name in _PLAIN),
    "tags text", "budget_ids text", "currency_code text", "held numeric", "decision text",
    "holds text", "usage_source text", "usage_event_id text", "claim_at timestamptz",
)  # fmt: skip
_COLUMNS_STORED = len(_STORED)


def insertion(first: int, at: int, condition: str = "true") -> str:
    """Returns the statement that stores decisions. first: parameter of the first of `columns_of`.

    at: parameter of the instant of the decisions. condition: on which it stores any.
    """
    names = ", ".join(column.partition(" ")[0] for column in _STORED)
    arrays = ", ".join(
        f"${first + place}::{column.partition(' ')[2]}[]" for place, column in enumerate(_STORED)
    )
    selected = names.replace("budget_ids", "string_to_array(budget_ids, ' ')")
    return f"""
        INSERT INTO budget.spend_authorization (created_at, ended_at, {names})
        SELECT ${at}::timestamptz, CASE WHEN state = 5 THEN ${at}::timestamptz END, {selected}
        FROM unnest({arrays}) AS input({names}) WHERE {condition}
    """


_INSERT = insertion(2, 1)

# Sorted before they are locked: every transaction locks authorizations in this order, and only
# then periods, so that none waits for another in a circle.
_LOCK = """
SELECT stored.* FROM budget.spend_authorization AS stored
JOIN (SELECT DISTINCT tenant_id, authorization_id
    FROM unnest($1::text[], $2::text[]) AS input(tenant_id, authorization_id)) AS wanted
USING (tenant_id, authorization_id)
ORDER BY stored.tenant_id, stored.authorization_id FOR UPDATE OF stored
"""

_ENDED_BY = """
SELECT stored.* FROM budget.spend_authorization AS stored
JOIN unnest($1::text[], $2::text[]) AS wanted(tenant_id, end_request_id)
USING (tenant_id, end_request_id)
WHERE stored.end_request_id <> ''
"""

_END = """
UPDATE budget.spend_authorization AS stored
SET state = input.state, holds = input.holds, settled_currency = input.settled_currency,
    settled = input.settled, excess = input.excess, is_settled_late = input.is_settled_late,
    is_replaced = input.is_replaced, usage_source = input.usage_source,
    usage_event_id = input.usage_event_id, ended_at = input.ended_at, claim_at = input.claim_at,
    end_request_id = input.end_request_id, end_digest = input.end_digest,
    release_reason = input.release_reason
FROM unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::text[], $6::numeric[],
    $7::numeric[], $8::boolean[], $9::boolean[], $10::text[], $11::text[], $12::timestamptz[],
    $13::timestamptz[], $14::text[], $15::bytea[], $16::text[])
AS input(tenant_id, authorization_id, state, holds, settled_currency, settled, excess,
    is_settled_late, is_replaced, usage_source, usage_event_id, ended_at, claim_at, end_request_id,
    end_digest, release_reason)
WHERE stored.tenant_id = input.tenant_id AND stored.authorization_id = input.authorization_id
"""

_EXPIRED = """
SELECT * FROM budget.spend_authorization
WHERE state = 1 AND expires_at <= $1 AND ($3::text[] IS NULL OR tenant_id = ANY($3))
ORDER BY tenant_id, authorization_id LIMIT $2
FOR UPDATE SKIP LOCKED
"""


class StoredAuthorization(NamedTuple):
    """An authorization for readers, and the part that its ending works on."""

    authorization: SpendAuthorization
    open: OpenAuthorization
    digest: bytes


class Answered(NamedTuple):
    """What an earlier call with the same request_id got. digest: of what it asked."""

    authorization: SpendAuthorization
    digest: bytes


class NewAuthorization(NamedTuple):
    """A decision to store. claim_at: when to look for the usage event, None for never."""

    authorization: SpendAuthorization
    holds: tuple[Hold, ...]
    digest: bytes
    claim_at: datetime | None


class Prelude(NamedTuple):
    """revisions: of each tenant's budgets. answered: by the (tenant_id, request_id) that asked.

    has_expired: whether some hold ran out.
    """

    revisions: dict[str, int]
    answered: dict[tuple[str, str], Answered]
    has_expired: bool


async def prelude(
    tx: Transaction, tenant_ids: Sequence[str], request_ids: Sequence[str], now: datetime
) -> Prelude:
    """Returns what a batch has to know before it takes locks. request_ids: "" for none."""
    rows = await tx.driver.fetch(_PRELUDE, tenant_ids, request_ids, now)
    revisions: dict[str, int] = {}
    answered: dict[tuple[str, str], Answered] = {}
    for row in rows:
        revisions[row["asking_tenant"]] = row["tenant_revision"]
        if row["authorization_id"] is not None:
            stored = stored_of(row)
            answered[row["tenant_id"], row["request_id"]] = Answered(
                stored.authorization, stored.digest
            )
    return Prelude(revisions, answered, bool(rows and rows[0]["has_expired"]))


async def insert(tx: Transaction, news: Sequence[NewAuthorization], at: datetime) -> None:
    """Stores decisions of an instant.

    Raises UniqueViolationError when a request_id was used meanwhile.
    """
    await tx.driver.execute(_INSERT, at, *columns_of(news))


def columns_of(news: Sequence[NewAuthorization]) -> Sequence[Sequence[Any]]:
    """Returns what is stored of decisions, each column of all of them."""
    return [*zip(*map(_row, news), strict=True)] or [()] * _COLUMNS_STORED


async def lock(
    tx: Transaction, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], StoredAuthorization]:
    """Returns and locks authorizations by (tenant_id, authorization_id)."""
    if not keys:
        return {}
    rows = await tx.driver.fetch(_LOCK, [key[0] for key in keys], [key[1] for key in keys])
    return {(row["tenant_id"], row["authorization_id"]): stored_of(row) for row in rows}


async def lock_expired(
    tx: Transaction, now: datetime, limit: int, *, tenants: Sequence[str] | None = None
) -> list[StoredAuthorization]:
    """Returns and locks holds that ran out, but for those that another transaction has locked.

    tenants: None for all.
    """
    rows = await tx.driver.fetch(_EXPIRED, now, limit, tenants)
    return [stored_of(row) for row in rows]


async def ended_by(
    tx: Transaction, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], StoredAuthorization]:
    """Returns authorizations by the (tenant_id, end_request_id) that ended them."""
    rows = await tx.driver.fetch(_ENDED_BY, [key[0] for key in keys], [key[1] for key in keys])
    return {(row["tenant_id"], row["end_request_id"]): stored_of(row) for row in rows}


async def end(tx: Transaction, ended: Sequence[tuple[OpenAuthorization, datetime | None]]) -> None:
    """Stores what became of authorizations. The instant: when to look for the usage event."""
    if not ended:
        return
    rows = [
        (
            each.tenant_id,
            each.authorization_id,
            int(each.state),
            holds_text(each.holds),
            "" if each.settled is None else each.settled.currency_code,
            None if each.settled is None else each.settled.amount,
            each.excess,
            each.is_settled_late,
            each.is_replaced,
            each.usage_source,
            each.usage_event_id,
            each.ended_at,
            claim_at,
            each.end_request_id,
            each.end_digest,
            each.release_reason,
        )
        for each, claim_at in ended
    ]
    await tx.driver.execute(_END, *map(list, zip(*rows, strict=True)))


class Claim(NamedTuple):
    """An authorization whose usage event is awaited; usage_source "" for any."""

    tenant_id: str
    authorization_id: str
    usage_source: str
    usage_event_id: str
    created_at: datetime


async def due_claims(tx: Transaction, now: datetime, limit: int) -> list[Claim]:
    """Returns the claims that are due, of all tenants, the most overdue first."""
    rows = await tx.driver.fetch(
        """
        SELECT tenant_id, authorization_id, usage_source, usage_event_id, created_at
        FROM budget.spend_authorization WHERE claim_at <= $1 ORDER BY claim_at LIMIT $2
        """,
        now,
        limit,
    )
    return [Claim(*row) for row in rows]


async def find(
    tx: Transaction, tenant_id: str, authorization_id: str
) -> StoredAuthorization | None:
    """Returns one authorization."""
    row = await tx.driver.fetchrow(
        "SELECT * FROM budget.spend_authorization WHERE tenant_id = $1 AND authorization_id = $2",
        tenant_id,
        authorization_id,
    )
    return None if row is None else stored_of(row)


def _row(new: NewAuthorization) -> tuple[Any, ...]:
    one = new.authorization
    decision = one.decision
    tags = one.subject.tags
    return (
        one.tenant_id,
        one.authorization_id,
        int(one.state),
        int(decision.outcome),
        one.expires_at,
        one.request_id,
        new.digest,
        *_plain_of(one.subject),
        json.dumps(tags) if tags else "",
        " ".join(check.budget_id for check in decision.checks),
        one.held.currency_code,
        one.held.amount,
        decision_text(decision),
        holds_text(new.holds),
        one.usage_source,
        one.usage_event_id,
        new.claim_at,
    )


def stored_of(row: Any) -> StoredAuthorization:
    """Returns the authorization of a row, whichever driver read it, with all columns."""
    tenant_id = row["tenant_id"]
    held = Money(row["currency_code"], row["held"])
    settled = None if row["settled"] is None else Money(row["settled_currency"], row["settled"])
    state = AuthorizationState(row["state"])
    tags = tuple((key, value) for key, value in json.loads(row["tags"])) if row["tags"] else ()
    subject = SpendAttributes(**{name: row[name] for name in _PLAIN}, tags=tags)
    authorization = SpendAuthorization(
        tenant_id=tenant_id,
        authorization_id=row["authorization_id"],
        state=state,
        subject=subject,
        decision=decision_of(row["decision"], row["outcome"]),
        held=held,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        request_id=row["request_id"],
        usage_source=row["usage_source"],
        usage_event_id=row["usage_event_id"],
        settled=settled,
        excess=row["excess"],
        is_settled_late=row["is_settled_late"],
        ended_at=row["ended_at"],
    )
    opened = OpenAuthorization(
        tenant_id=tenant_id,
        authorization_id=row["authorization_id"],
        state=state,
        held=held,
        holds=holds_of(row["holds"]),
        expires_at=row["expires_at"],
        settled=settled,
        excess=row["excess"],
        is_settled_late=row["is_settled_late"],
        is_replaced=row["is_replaced"],
        usage_source=row["usage_source"],
        usage_event_id=row["usage_event_id"],
        ended_at=row["ended_at"],
        end_request_id=row["end_request_id"],
        end_digest=row["end_digest"],
        release_reason=row["release_reason"],
    )
    return StoredAuthorization(authorization, opened, row["digest"])
