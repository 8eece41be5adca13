"""The use cases of payment methods and the provider's own pages.

Requests go out between transactions, never inside one: what is asked of the provider is harmless
twice, and what it answered is stored at the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from services.billing.domain.account import BillingAccount
from services.billing.domain.payment import MethodKind, PaymentMethod
from services.billing.errors import (
    AccountNotFound,
    PaymentMethodNotFound,
    ProviderRefused,
    ProviderUnavailable,
)
from services.billing.service.provider.collecting import Collecting
from services.billing.service.provider.port import (
    Declined,
    KeyRejected,
    PortalSession,
    ProviderFault,
    Refused,
    Setup,
)
from services.billing.service.provider.providers import Opened, Providers
from services.billing.service.provider.pushing import Pushing
from services.billing.service.provider.steps import StepRefused, StepWaits
from services.billing.store import accounts, invoices
from services.billing.store import payment_methods as rows
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSource:
    """Where a payment method comes from: exactly one of the three. reference: of a transfer."""

    setup_id: str = ""
    provider_payment_method_id: str = ""
    reference: str | None = None


class PaymentMethods:
    """Keeps what may be shown of payment methods; the rest is the provider's."""

    def __init__(
        self,
        database: Database,
        providers: Providers,
        pushing: Pushing,
        collecting: Collecting,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """pushing: makes customers. collecting: charges what waited for a method that works."""
        self._database = database
        self._providers = providers
        self._pushing = pushing
        self._collecting = collecting
        self._tokens = tokens
        self._clock = clock

    async def create_payment_method_setup(
        self, tenant_id: str, account_id: str
    ) -> tuple[Setup, str]:
        """Returns what the browser needs, with the public key. Raises ProviderRefused."""
        account, opened, customer_id = await self._customer(tenant_id, account_id)
        async with answering(opened):
            setup = await opened.provider.begin_setup(customer_id=customer_id)
        await self._audit(tenant_id, "payment_methods.setup", account.account_id)
        return setup, opened.settings.publishable_key

    async def set_payment_method(
        self, tenant_id: str, account_id: str, source: MethodSource, *, keeps_default: bool
    ) -> PaymentMethod:
        """Stores a payment method; overdue invoices are tried with it at once.

        Raises AccountNotFound, ProviderRefused, ProviderUnavailable.
        """
        if source.reference is not None:
            account = await self._account(tenant_id, account_id)
            method = self._method(account, MethodKind.BANK_TRANSFER, reference=source.reference)
        else:
            method = await self._attached(
                tenant_id, account_id, source, keeps_default=keeps_default
            )
        async with self._database.transaction(tenant_id) as tx:
            kept = await rows.add_method(tx, tenant_id, method)
            has_default = await rows.default_method(tx, tenant_id, method.account_id)
            if has_default is None or not keeps_default:
                await rows.set_default(tx, tenant_id, method.account_id, kept.payment_method_id)
                for invoice_id in await rows.unpaid_invoices(tx, tenant_id, method.account_id):
                    invoice = await invoices.lock_invoice(tx, tenant_id, invoice_id)
                    if invoice is not None and method.kind is not MethodKind.BANK_TRANSFER:
                        await self._collecting.begin_manual(tx, invoice)
            await audit.append(
                tx,
                action="payment_methods.set",
                resource=f"payment-methods/{kept.payment_method_id}",
                after={"kind": kept.kind, "account_id": kept.account_id},
            )
            return await rows.find_method(tx, tenant_id, kept.payment_method_id) or kept

    async def _attached(
        self, tenant_id: str, account_id: str, source: MethodSource, *, keeps_default: bool
    ) -> PaymentMethod:
        account, opened, customer_id = await self._customer(tenant_id, account_id)
        provider = opened.provider
        async with answering(opened):
            method_id = source.provider_payment_method_id
            if source.setup_id:
                owner, method_id = await provider.finished_setup(source.setup_id)
                if owner != customer_id:
                    raise Refused("the setup is of another customer")
            remote = await provider.attach(method_id, customer_id=customer_id)
            if not keeps_default:
                await provider.make_default(method_id, customer_id=customer_id)
        return self._method(
            account,
            MethodKind(remote.kind),
            brand=remote.brand,
            last4=remote.last4,
            expire_month=remote.expire_month,
            expire_year=remote.expire_year,
            provider=opened.name,
            provider_payment_method_id=remote.provider_payment_method_id,
        )

    async def list_payment_methods(
        self, page: PageRequest, *, account_id: str
    ) -> Page[PaymentMethod]:
        """Returns a page of methods."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_methods(tx, page, self._tokens, account_id=account_id)

    async def detach_payment_method(self, tenant_id: str, payment_method_id: str) -> None:
        """Forgets a method here and there. Raises PaymentMethodNotFound, ProviderUnavailable."""
        async with self._database.read(tenant_id) as tx:
            method = await rows.find_method(tx, tenant_id, payment_method_id)
        if method is None or method.is_detached:
            raise PaymentMethodNotFound(payment_method_id=payment_method_id)
        if method.provider_payment_method_id:
            opened = await self._providers.of(tenant_id)
            async with answering(opened):
                await opened.provider.detach(method.provider_payment_method_id)
        async with self._database.transaction(tenant_id) as tx:
            await rows.detach(tx, tenant_id, payment_method_id)
            await audit.append(
                tx,
                action="payment_methods.detach",
                resource=f"payment-methods/{payment_method_id}",
                before={"kind": method.kind, "account_id": method.account_id},
            )

    async def create_portal_session(
        self, tenant_id: str, account_id: str, return_url: str
    ) -> PortalSession:
        """Opens the provider's page. Raises ProviderRefused, ProviderUnavailable."""
        account, opened, customer_id = await self._customer(tenant_id, account_id)
        async with answering(opened):
            session = await opened.provider.open_portal(
                customer_id=customer_id, return_url=return_url
            )
        await self._audit(tenant_id, "portal_sessions.create", account.account_id)
        return session

    def now(self) -> datetime:
        """Returns the present instant, by which methods expire."""
        return self._clock.now()

    async def _account(self, tenant_id: str, account_id: str) -> BillingAccount:
        async with self._database.read(tenant_id) as tx:
            stored = await accounts.find_account(tx, tenant_id, account_id)
        if stored is None:
            raise AccountNotFound(account_id=account_id)
        return stored.account

    async def _customer(
        self, tenant_id: str, account_id: str
    ) -> tuple[BillingAccount, Opened, str]:
        account = await self._account(tenant_id, account_id)
        opened = await self._providers.of(tenant_id)
        try:
            customer_id = await self._pushing.customer_of(
                opened, tenant_id, account.account_id, account.currency_code
            )
        except StepWaits as wait:
            raise ProviderUnavailable from wait
        except StepRefused as refused:
            raise ProviderRefused(refused.text) from refused
        return account, opened, customer_id

    def _method(
        self, account: BillingAccount, kind: MethodKind, **shown: str | int
    ) -> PaymentMethod:
        return PaymentMethod(
            payment_method_id=new_id(),
            account_id=account.account_id,
            kind=kind,
            created_at=self._clock.now(),
            **shown,  # type: ignore[arg-type] # each of its own field's type
        )

    async def _audit(self, tenant_id: str, action: str, account_id: str) -> None:
        async with self._database.transaction(tenant_id) as tx:
            await audit.append(tx, action=action, resource=f"accounts/{account_id}")


@asynccontextmanager
async def answering(opened: Opened) -> AsyncIterator[None]:
    """Turns the provider's faults into what a caller sees."""
    try:
        async with opened.turn():
            yield
    except (Refused, Declined, KeyRejected) as fault:
        raise ProviderRefused(f"The payment provider refused: {fault}") from fault
    except ProviderFault as fault:
        raise ProviderUnavailable from fault
