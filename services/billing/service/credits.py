"""Prepaid credit: granted, used by invoices, given back, lapsing, ended by a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from services.billing.domain.account import BillingAccount
from services.billing.domain.credit import (
    CreditGrant,
    CreditKind,
    CreditTransaction,
    GrantState,
    in_order_of_use,
)
from services.billing.domain.invoice import AvailableCredit
from services.billing.domain.journal import BillingFact, FactKind
from services.billing.errors import (
    AccountNotFound,
    CreditGrantEnded,
    CreditGrantNotFound,
    InvalidCreditGrant,
)
from services.billing.service.journal import Journal
from services.billing.store import accounts as account_rows
from services.billing.store import credits as rows
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from services.kernel.money import Money
from services.kernel.pagination import Page, PageRequest, PageTokens

JOB = "expire_credit"
EXPIRE_BATCH = 200  # grants locked by one transaction


class Credits:
    """The use cases of prepaid credit, and what invoices do with it."""

    def __init__(
        self, database: Database, journal: Journal, *, tokens: PageTokens, clock: Clock
    ) -> None:
        """Takes the journal, which tells of every movement."""
        self._database = database
        self._journal = journal
        self._tokens = tokens
        self._clock = clock

    async def create_credit_grant(
        self, tenant_id: str, account_id: str, grant: CreditGrant
    ) -> CreditGrant:
        """Grants credit. Raises AccountNotFound, InvalidCreditGrant for another currency."""
        async with self._database.transaction(tenant_id) as tx:
            account = await require_account(tx, tenant_id, account_id)
            grant = await self.grant(tx, account, grant)
            await audit.append(
                tx,
                action="credits.grant",
                resource=f"credit-grants/{grant.credit_grant_id}",
                after={"account_id": account.account_id, "amount": str(_money(grant))},
            )
        return grant

    async def grant(
        self, tx: Transaction, account: BillingAccount, grant: CreditGrant
    ) -> CreditGrant:
        """Grants credit inside a transaction that has locked the account."""
        if grant.currency_code != account.currency_code:
            raise InvalidCreditGrant(
                f"amount: the account's invoices are in {account.currency_code}",
                field="amount",
                currency_code=account.currency_code,
            )
        grant = replace(
            grant,
            credit_grant_id=grant.credit_grant_id or new_id(),
            account_id=account.account_id,
            remaining=grant.amount,
            created_at=self._clock.now(),
        )
        await rows.add_grant(tx, account.tenant_id, grant)
        await self._moved(tx, account.tenant_id, grant, CreditKind.GRANT, grant.amount)
        return grant

    async def list_credit_grants(self, page: PageRequest) -> Page[CreditGrant]:
        """Returns a page of grants in the order they are used."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_grants(tx, page, self._tokens, at=self._clock.now())

    async def list_credit_transactions(self, page: PageRequest) -> Page[CreditTransaction]:
        """Returns a page of movements."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_transactions(tx, page, self._tokens)

    async def void_credit_grant(self, tenant_id: str, grant_id: str, reason: str) -> CreditGrant:
        """Ends what is left of a grant. Raises CreditGrantNotFound, CreditGrantEnded."""
        now = self._clock.now()
        async with self._database.transaction(tenant_id) as tx:
            found = await rows.find_grant(tx, tenant_id, grant_id)
            if found is None:
                raise CreditGrantNotFound(credit_grant_id=grant_id)
            if found.state(now) not in (GrantState.ACTIVE, GrantState.SCHEDULED):
                raise CreditGrantEnded(credit_grant_id=grant_id, state=found.state(now).value)
            await require_account(tx, tenant_id, found.account_id)
            ended = replace(found, remaining=Decimal(0), voided_at=now)
            values = {"remaining": 0, "voided_at": now, "void_reason": reason}
            await rows.set_remaining(tx, tenant_id, grant_id, values)
            await self._moved(tx, tenant_id, ended, CreditKind.VOID, -found.remaining)
            await audit.append(
                tx,
                action="credits.void",
                resource=f"credit-grants/{grant_id}",
                before={"remaining": found.remaining},
                after={"reason": reason},
            )
        return ended

    async def available(
        self, tx: Transaction, tenant_id: str, account_id: str, *, at: datetime | None = None
    ) -> list[AvailableCredit]:
        """Returns the credit that can pay an account's invoice, in the order of use."""
        grants = await rows.account_grants(tx, tenant_id, account_id)
        ordered = in_order_of_use(grants, at or self._clock.now())
        return [grant.available() for grant in ordered]

    async def use(
        self, tx: Transaction, tenant_id: str, invoice_id: str, uses: Mapping[str, Decimal]
    ) -> None:
        """Takes what an invoice uses from its grants, in the transaction that locks the invoice.

        uses: by grant, positive. Raises CreditGrantEnded where less is left than the invoice was
        computed with: compute it again.
        """
        for grant_id, used in sorted(uses.items()):
            found = await rows.find_grant(tx, tenant_id, grant_id)
            if found is None or found.voided_at is not None or found.remaining < used:
                raise CreditGrantEnded(credit_grant_id=grant_id)
            await self._change(
                tx, tenant_id, found, amount=-used, kind=CreditKind.USE, invoice_id=invoice_id
            )

    async def give_back(
        self, tx: Transaction, tenant_id: str, invoice_id: str, *, most: Decimal | None = None
    ) -> Decimal:
        """Gives credit that an invoice used back to its grants, and returns how much.

        most: the amount to give back, None for all. Credit of a lapsed grant lapses again with the
        next sweep, and is shown in both movements.
        """
        returned = Decimal(0)
        for grant_id, used in await rows.uses_of_invoice(tx, tenant_id, invoice_id):
            amount = used if most is None else min(used, most - returned)
            found = await rows.find_grant(tx, tenant_id, grant_id)
            if amount > 0 and found is not None:
                await self._change(
                    tx,
                    tenant_id,
                    found,
                    amount=amount,
                    kind=CreditKind.RETURN,
                    invoice_id=invoice_id,
                )
                returned += amount
        return returned

    async def expire(self, _: Job) -> None:
        """Lets credit lapse whose end has passed, of every tenant."""
        now = self._clock.now()
        while True:
            async with self._database.system_transaction() as tx:
                lapsed = await rows.lapsed_grants(tx, now, EXPIRE_BATCH)
                for tenant_id, grant in lapsed:
                    ended = replace(grant, remaining=Decimal(0))
                    values = {"remaining": 0, "expired_at": now}
                    await rows.set_remaining(tx, tenant_id, grant.credit_grant_id, values)
                    await self._moved(tx, tenant_id, ended, CreditKind.EXPIRY, -grant.remaining)
            if len(lapsed) < EXPIRE_BATCH:
                return

    async def _change(
        self,
        tx: Transaction,
        tenant_id: str,
        grant: CreditGrant,
        *,
        amount: Decimal,
        kind: CreditKind,
        invoice_id: str,
    ) -> None:
        changed = replace(grant, remaining=grant.remaining + amount)
        values = {"remaining": changed.remaining, "expired_at": None}
        await rows.set_remaining(tx, tenant_id, grant.credit_grant_id, values)
        await self._moved(tx, tenant_id, changed, kind, amount, invoice_id=invoice_id)

    async def _moved(
        self,
        tx: Transaction,
        tenant_id: str,
        grant: CreditGrant,
        kind: CreditKind,
        amount: Decimal,
        *,
        invoice_id: str = "",
    ) -> None:
        now = self._clock.now()
        await rows.add_transaction(
            tx, tenant_id, grant, kind, amount, at=now, invoice_id=invoice_id
        )
        await self._journal.record(
            tx,
            BillingFact(
                kind=FactKind.CREDIT,
                resource_id=grant.credit_grant_id,
                account_id=grant.account_id,
                to_state=grant.state(now).value,
                amount=Money(grant.currency_code, -amount),
                title=f"Credit {kind.value}: {grant.display_name}",
                invoice_id=invoice_id,
                occurred_at=now,
            ),
            tenant_id=tenant_id,
        )


async def require_account(
    tx: Transaction, tenant_id: str, account_id: str, *, is_locked: bool = True
) -> BillingAccount:
    """Returns an account without its particulars, locked. Raises AccountNotFound."""
    stored = await account_rows.find_account(tx, tenant_id, account_id, is_locked=is_locked)
    if stored is None:
        raise AccountNotFound(account_id=account_id, tenant_id=tenant_id)
    return stored.account


def _money(grant: CreditGrant) -> Money:
    return Money(grant.currency_code, grant.amount)
