"""What an answer depends on: it is right as long as this stays the same."""

from __future__ import annotations

from typing import NamedTuple

from services.kernel.database import Transaction
from services.kernel.feed_page import FeedPosition

# The last change alone would not do as a version: a transaction that began earlier may commit
# later and put its changes before it. Above the mark rows are only added, so their number tells.
_VERSION = """
SELECT t.revision, m.transaction_id::text AS mark_transaction, m.sequence AS mark_sequence,
    tail.changes, last.transaction_id::text AS last_transaction, last.sequence AS last_sequence,
    newest.transaction_id::text AS newest_transaction, newest.sequence AS newest_sequence
FROM usage.tenant t JOIN usage.rollup_mark m USING (tenant_id)
CROSS JOIN LATERAL (
    SELECT count(*) AS changes FROM usage.cost_change
    WHERE tenant_id = $1 AND (transaction_id, sequence) > (m.transaction_id, m.sequence)
) tail
LEFT JOIN LATERAL (
    SELECT transaction_id, sequence FROM usage.cost_change
    WHERE tenant_id = $1 AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY transaction_id DESC, sequence DESC LIMIT 1
) last ON true
LEFT JOIN LATERAL (
    SELECT transaction_id, sequence FROM usage.cost_change
    WHERE tenant_id = $1 ORDER BY transaction_id DESC, sequence DESC LIMIT 1
) newest ON true
WHERE t.tenant_id = $1
"""


class AnswerVersion(NamedTuple):
    """text: differs whenever an answer may differ. position: all changes up to it are counted.

    newest: of the newest change that is counted; later ones than `position` may have gaps before.
    """

    text: str
    position: str
    newest: str


async def version(tx: Transaction, tenant_id: str) -> AnswerVersion:
    """Returns the state of a tenant's cost and directory, as this snapshot sees it."""
    record = await tx.driver.fetchrow(_VERSION, tenant_id)
    if record is None:
        return AnswerVersion("unknown tenant", "", "")
    mark = FeedPosition(int(record["mark_transaction"]), record["mark_sequence"])
    position = mark
    # Changes that retention removed are all below the mark.
    if record["last_transaction"] is not None:
        position = FeedPosition(int(record["last_transaction"]), record["last_sequence"])
    position = newest = max(mark, position)
    if record["newest_transaction"] is not None:
        newest = FeedPosition(int(record["newest_transaction"]), record["newest_sequence"])
    return AnswerVersion(
        f"{record['revision']}:{mark}:{record['changes']}:{position}",
        str(position),
        str(max(position, newest)),
    )
