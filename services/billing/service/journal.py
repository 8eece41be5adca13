"""Writes down what happens: once for the feed's readers, once in the account's time line."""

from __future__ import annotations

from services.billing.domain.journal import BillingFact
from services.billing.store import journal as rows
from services.kernel.database import Database, Transaction
from services.kernel.feed import EncodedFeed


class BillingFeed(EncodedFeed):
    """The feed over billing.billing_change."""

    def __init__(self, database: Database) -> None:
        """Takes the billing service's database."""
        super().__init__(database, table="billing.billing_change")


class Journal:
    """Records facts in the transactions that make them true."""

    def __init__(self, feed: BillingFeed) -> None:
        """Takes the feed."""
        self._feed = feed

    async def record(
        self, tx: Transaction, fact: BillingFact, *, tenant_id: str | None = None
    ) -> None:
        """Appends the fact to the feed and, where it has a title, to the account's time line.

        tenant_id: whose, default the transaction's.
        """
        owner = tenant_id or tx.tenant_id
        if owner is None:
            raise ValueError("a system transaction names the tenant of its fact")
        await self._feed.append(tx, rows.encode(fact), tenant_id=owner)
        await rows.set_state(tx, owner, fact)
        if fact.title:
            await rows.add_entry(tx, owner, fact)
