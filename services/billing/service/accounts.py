"""Billing accounts: who is billed, with what is known of the people behind them sealed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from services.billing.domain.account import AccountState, BillingAccount, Particulars
from services.billing.domain.currency import currency
from services.billing.domain.journal import BillingFact, FactKind
from services.billing.errors import (
    AccountExists,
    AccountInUse,
    AccountNotFound,
    ResourceChanged,
)
from services.billing.service.directory import TenantDirectory
from services.billing.service.journal import Journal
from services.billing.store import accounts as rows
from services.billing.store import subscriptions as subscription_rows
from services.billing.store.credits import credit_balance
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.envelope import Envelope
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens

PURPOSE = "account.particulars"


class Accounts:
    """The use cases of billing accounts."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        envelope: Envelope,
        directory: TenantDirectory,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """envelope: seals addresses, tax ids, contacts and bank details."""
        self._database = database
        self._journal = journal
        self._envelope = envelope
        self._directory = directory
        self._tokens = tokens
        self._clock = clock

    async def create_billing_account(self, account: BillingAccount) -> BillingAccount:
        """Creates an account; an empty zone is the tenant's. Raises AccountExists."""
        now = self._clock.now()
        account = replace(account, account_id=new_id(), created_at=now, updated_at=now)
        async with self._database.transaction(account.tenant_id) as tx:
            sealed = await self._seal(tx, account)
            if not await rows.add_account(tx, account, sealed):
                raise AccountExists(department_id=account.department_id)
            await self._changed(tx, account, "create", None)
        return account

    async def time_zone(self, tenant_id: str) -> str:
        """Returns the zone that a tenant's accounts are in when they name none."""
        return (await self._directory.profile(tenant_id)).time_zone

    async def get_billing_account(self, tenant_id: str, account_id: str) -> BillingAccount:
        """Returns an account. Raises AccountNotFound."""
        async with self._database.read(tenant_id) as tx:
            return await self.load(tx, tenant_id, account_id)

    async def list_billing_accounts(self, page: PageRequest) -> Page[BillingAccount]:
        """Returns a page of a tenant's accounts."""
        async with self._database.read(page.tenant_id) as tx:
            found = await rows.list_accounts(tx, page, self._tokens)
            items = [await self._open(tx, stored) for stored in found.items]
        return Page(items, found.next_page_token)

    async def update_billing_account(
        self,
        tenant_id: str,
        account_id: str,
        change: Callable[[BillingAccount], BillingAccount],
        *,
        etag: str = "",
    ) -> BillingAccount:
        """Changes an account; what was issued keeps what it was issued with.

        Raises AccountNotFound, ResourceChanged, AccountInUse for another currency while something
        runs or is owed.
        """
        async with self._database.transaction(tenant_id) as tx:
            before = await self.load(tx, tenant_id, account_id, is_locked=True)
            require_etag(etag, before.revision)
            account = replace(
                change(before), revision=before.revision + 1, updated_at=self._clock.now()
            )
            if account.currency_code != before.currency_code:
                await self._require_unused(tx, before)
            await rows.update_account(tx, account, await self._seal(tx, account))
            await self._changed(tx, account, "update", before)
        return account

    async def delete_billing_account(
        self, tenant_id: str, account_id: str, *, etag: str = ""
    ) -> None:
        """Closes an account. Raises AccountNotFound, ResourceChanged, AccountInUse."""
        async with self._database.transaction(tenant_id) as tx:
            before = await self.load(tx, tenant_id, account_id, is_locked=True)
            require_etag(etag, before.revision)
            await self._require_unused(tx, before)
            account = replace(
                before,
                state=AccountState.CLOSED,
                revision=before.revision + 1,
                updated_at=self._clock.now(),
            )
            await rows.update_account(tx, account, await self._seal(tx, account))
            await self._changed(tx, account, "delete", before)

    async def load(
        self, tx: Transaction, tenant_id: str, account_id: str = "", *, is_locked: bool = False
    ) -> BillingAccount:
        """Returns an account inside a transaction, default the tenant's own, with its particulars.

        is_locked: until the transaction ends. Raises AccountNotFound.
        """
        stored = await rows.find_account(tx, tenant_id, account_id, is_locked=is_locked)
        if stored is None:
            raise AccountNotFound(account_id=account_id, tenant_id=tenant_id)
        return await self._open(tx, stored)

    async def _open(self, tx: Transaction, stored: rows.StoredAccount) -> BillingAccount:
        account = stored.account
        account = replace(
            account,
            credit_balance=await credit_balance(tx, account.tenant_id, account.account_id),
        )
        if stored.sealed is None:
            return account
        content = await self._envelope.open(tx, account.tenant_id, stored.sealed, PURPOSE)
        return replace(account, particulars=rows.particulars_of(content))

    async def _seal(self, tx: Transaction, account: BillingAccount) -> bytes | None:
        if account.particulars == Particulars():
            return None
        content = rows.particulars_bytes(account.particulars)
        return await self._envelope.seal(tx, account.tenant_id, content, PURPOSE)

    async def _require_unused(self, tx: Transaction, account: BillingAccount) -> None:
        running = await subscription_rows.find_subscription(
            tx, account.tenant_id, account_id=account.account_id
        )
        is_running = running is not None and not running.state.is_final
        if is_running or account.open_balance:
            raise AccountInUse(account_id=account.account_id, open_balance=account.open_balance)

    async def _changed(
        self, tx: Transaction, account: BillingAccount, verb: str, before: BillingAccount | None
    ) -> None:
        await audit.append(
            tx,
            action=f"accounts.{verb}",
            resource=f"accounts/{account.account_id}",
            before=None if before is None else _state(before),
            after=_state(account),
        )
        await self._journal.record(
            tx,
            BillingFact(
                kind=FactKind.ACCOUNT,
                resource_id=account.account_id,
                account_id=account.account_id,
                from_state="" if before is None else before.state.value,
                to_state=account.state.value,
                occurred_at=account.updated_at,
            ),
        )


def require_etag(etag: str, revision: int) -> None:
    """Raises ResourceChanged when a caller read another revision; an empty etag is not checked."""
    if etag and etag != str(revision):
        raise ResourceChanged(etag=etag, current=revision)


def _state(account: BillingAccount) -> dict[str, object]:
    """What the audit log may show: of sealed particulars only whether there are any."""
    return {
        "display_name": account.display_name,
        "department_id": account.department_id,
        "currency_code": currency(account.currency_code).code,
        "time_zone": account.time_zone,
        "collection_method": account.collection_method,
        "payment_terms_days": account.payment_terms_days,
        "rounding_mode": account.rounding_mode,
        "tax_mode": account.tax_mode,
        "state": account.state,
        "has_address": account.particulars.address is not None,
        "tax_ids": len(account.particulars.tax_ids),
        "contacts": len(account.particulars.contact_emails),
    }
