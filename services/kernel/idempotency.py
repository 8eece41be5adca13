"""Calls with a request_id take effect once, and answer every repetition alike (AIP-155).

The claim on the request_id, the change and the answer are one transaction: nothing is claimed
without its change, and no change is without its answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from google.protobuf.message import Message
from opentelemetry import metrics

from services.kernel.call import Call, current_call
from services.kernel.database import Database, Transaction
from services.kernel.envelope import FORMAT, Envelope
from services.kernel.errors import AlreadyExists

RETENTION = timedelta(hours=24)  # clients retry for minutes; a day covers a night's outage
TRIM_BATCH = 5_000  # rows deleted in one transaction, so that none holds locks for long

_M = TypeVar("_M", bound=Message)
_Method = TypeVar("_Method", bound=Callable[..., Awaitable[Message]])
_replays = metrics.get_meter("finops.idempotency").create_counter(
    "finops_idempotent_replays_total", description="Calls answered from a stored response."
)


class RequestIdReused(AlreadyExists):
    """This request_id was used for another request; use a new one for a new request."""

    reason = "REQUEST_ID_REUSED"


class _Answered(Exception):
    """Carries the stored answer out of the call; not an error."""

    def __init__(self, response: bytes) -> None:
        super().__init__("answered before")
        self.response = response


def answers_repetitions(method: _Method) -> _Method:
    """Marks an RPC whose use case knows a repeated request_id by its own rows.

    For paths so hot that a stored answer beside those rows would double their cost. The method gets
    the request_id in its request, and has to tell another request with the same id apart.
    """
    method.answers_repetitions = True  # type: ignore[attr-defined]
    return method


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What identifies a call, and what it asked for."""

    tenant_id: str
    method: str
    request_id: str
    digest: bytes


def request_key(request: Message, *, tenant_id: str, method: str, request_id: str) -> RequestKey:
    """Returns the key of a request whose `request_id` field does not count as its content."""
    content = type(request)()
    content.CopyFrom(request)
    with suppress(ValueError):  # a header may carry the request_id of a message without the field
        content.ClearField("request_id")
    digest = hashlib.sha256(content.SerializeToString(deterministic=True)).digest()
    return RequestKey(tenant_id, method, request_id, digest)


async def answer_once(
    database: Database,
    key: RequestKey,
    answer_type: type[_M],
    call: Callable[[], Awaitable[_M]],
    *,
    envelope: Envelope | None = None,
) -> _M:
    """Makes the call, or returns the answer of the same call before; one at a time per key.

    All transactions of the call over its tenant become one, which commits with the answer: what
    fails leaves nothing, so that a repetition runs it again. So do its system transactions, when
    one of them makes its first change.
    envelope: seals the stored answer, which may hold what its tables keep sealed; one without a
    master key leaves it in clear.
    Raises RequestIdReused when the key's earlier request differs, LockTimeout when an earlier one
    is still running after the database's lock timeout.
    """
    progress = Call(
        tenant_id=key.tenant_id,
        request_id=key.request_id,
        claim=lambda tx: _claim(tx, key),
    )
    token = current_call.set(progress)
    try:
        answer = await call()
        async with database.concluding(progress) as tx:
            await _store(tx, key, await _sealed(tx, key, answer.SerializeToString(), envelope))
    except _Answered as answered:
        await database.abandon(progress)
        _replays.add(1, {"method": key.method})
        content = await _opened(database, key, answered.response, envelope)
        return answer_type.FromString(content)
    except BaseException:
        await database.abandon(progress)
        raise
    finally:
        current_call.reset(token)
    await database.complete(progress)
    return answer


async def _sealed(
    tx: Transaction, key: RequestKey, content: bytes, envelope: Envelope | None
) -> bytes:
    if envelope is None or not envelope.is_configured:
        return content
    return await envelope.seal(tx, key.tenant_id, content, _purpose(key))


async def _opened(
    database: Database, key: RequestKey, stored: bytes, envelope: Envelope | None
) -> bytes:
    """Returns the answer; no message begins as sealed bytes do, with a field of number 0."""
    if envelope is None or stored[:1] != bytes([FORMAT]):
        return stored
    async with database.read(key.tenant_id) as tx:
        return await envelope.open(tx, key.tenant_id, stored, _purpose(key))


def answer_purpose(method: str, request_id: str) -> str:
    """Returns what a stored answer is sealed as."""
    return f"answer.{method}.{request_id}"


def _purpose(key: RequestKey) -> str:
    return answer_purpose(key.method, key.request_id)


async def _claim(tx: Transaction, key: RequestKey) -> None:
    """Inserts the key first: a second caller waits here until the first has ended."""
    identity = (key.tenant_id, key.method, key.request_id)
    claimed = await tx.driver.fetchval(
        """
        INSERT INTO idempotent_response (tenant_id, method, request_id, digest)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant_id, method, request_id) DO UPDATE
        SET digest = EXCLUDED.digest, response = DEFAULT, created_at = DEFAULT
        WHERE idempotent_response.created_at < now() - $5::interval
        RETURNING true
        """,
        *identity,
        key.digest,
        RETENTION,
    )
    if claimed:
        return
    stored = await tx.driver.fetchrow(
        """
        SELECT digest, response FROM idempotent_response
        WHERE tenant_id = $1 AND method = $2 AND request_id = $3
        """,
        *identity,
    )
    if stored is None or stored["digest"] != key.digest:
        raise RequestIdReused(request_id=key.request_id, method=key.method)
    raise _Answered(stored["response"])


async def _store(tx: Transaction, key: RequestKey, response: bytes) -> None:
    await tx.driver.execute(
        """
        UPDATE idempotent_response SET response = $4
        WHERE tenant_id = $1 AND method = $2 AND request_id = $3
        """,
        key.tenant_id,
        key.method,
        key.request_id,
        response,
    )


async def trim_answers(database: Database, *, older_than: timedelta = RETENTION) -> int:
    """Deletes the answers that no repetition may get any more, and returns how many."""
    total = 0
    while True:
        async with database.system_transaction() as tx:
            deleted: int = await tx.driver.fetchval(
                """
                WITH expired AS (
                    SELECT tenant_id, method, request_id FROM idempotent_response
                    WHERE created_at < now() - $1::interval
                    LIMIT $2 FOR UPDATE SKIP LOCKED
                ), deleted AS (
                    DELETE FROM idempotent_response AS stored USING expired
                    WHERE stored.tenant_id = expired.tenant_id
                    AND stored.method = expired.method
                    AND stored.request_id = expired.request_id
                    RETURNING 1
                ) SELECT count(*) FROM deleted
                """,
                older_than,
                TRIM_BATCH,
            )
        total += deleted
        if deleted < TRIM_BATCH:
            return total
