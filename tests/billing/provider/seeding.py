"""Accounts and locked invoices as the rest of billing leaves them, put in place directly."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from services.billing.domain.account import BillingAccount
from services.billing.domain.draft import number_of
from services.billing.domain.invoice_record import Invoice, InvoiceLine, InvoiceTax
from services.billing.domain.invoice_state import InvoiceKind, InvoiceState
from services.billing.service.comparing_usage import UsageAnswer, UsageSums
from services.billing.service.journal import BillingFeed, Journal
from services.billing.service.provider.providers import API_KEY, Providers
from services.billing.service.provider.settings import hint
from services.billing.service.provider.stripe_provider import API_VERSION
from services.billing.service.provider.work import ProviderWork
from services.billing.store import accounts, invoices
from services.kernel.clock import Clock, SystemClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.exchange import ExchangeRates
from services.kernel.ids import new_id
from services.kernel.pagination import PageTokens
from services.kernel.period import Period

PERIOD = Period(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
STRIPE_KEY = "sk_test_seahaven_7d9f1c2b3a4e5f60"


@dataclass(frozen=True, slots=True)
class Seeded:
    """A locked invoice."""

    tenant_id: str
    invoice_id: str
    total: Decimal


async def add_account(
    database: Database, tenant_id: str, *, currency: str = "EUR", department_id: str = ""
) -> str:
    """Adds an account of the tenant's and returns its id."""
    now = SystemClock().now()
    account = BillingAccount(
        tenant_id=tenant_id,
        account_id=f"acc-{new_id()}",
        department_id=department_id,
        display_name="Acme",
        currency_code=currency,
        created_at=now,
        updated_at=now,
    )
    async with database.transaction(tenant_id) as tx:
        await accounts.add_account(tx, account, None)
    return account.account_id


async def use_stripe(
    database: Database, envelope: Envelope, tenant_id: str, **columns: str
) -> None:
    """Lets the tenant be billed through Stripe. columns: other columns of its settings."""
    async with database.transaction(tenant_id) as tx:
        sealed = await envelope.seal(tx, tenant_id, STRIPE_KEY.encode(), API_KEY)
        await tx.driver.execute(
            "INSERT INTO billing.provider_settings (tenant_id, kind, live_mode, api_key,"
            " api_key_hint, api_version, endpoint_id, updated_at)"
            " VALUES ($1, 'stripe', false, $2, $3, $4, $5, now())",
            *(tenant_id, sealed, hint(STRIPE_KEY), API_VERSION),
            columns.get("endpoint_id", new_id()),
        )


async def add_locked_invoice(
    database: Database,
    tenant_id: str,
    account_id: str,
    *,
    lines: int = 3,
    seed: int = 0,
    currency: str = "EUR",
) -> Seeded:
    """Adds an invoice whose lines, some of them negative, have cents of every kind, and tax."""
    chance = random.Random(seed)
    invoice_id = new_id()
    amounts = [Decimal(chance.randint(100, 99_999)).scaleb(-2) for _ in range(lines)]
    if lines > 2:
        amounts[1] = -Decimal(chance.randint(1, 50)).scaleb(-2)
    taxes = [(amount * Decimal("0.19")).quantize(Decimal("0.01")) for amount in amounts]
    subtotal, tax_total = sum(amounts, Decimal(0)), sum(taxes, Decimal(0))
    rate = InvoiceTax(
        tax_rate_id="vat",
        display_name="VAT 19 %",
        rate_ratio=Decimal("0.19"),
        taxable=subtotal,
        amount=tax_total,
    )
    invoice = Invoice(
        tenant_id=tenant_id,
        invoice_id=invoice_id,
        account_id=account_id,
        kind=InvoiceKind.PERIOD,
        state=InvoiceState.LOCKED,
        period=Period(PERIOD.start + timedelta(seconds=seed), PERIOD.end + timedelta(seconds=seed)),
        currency_code=currency,
        subtotal=subtotal,
        discount_total=Decimal(0),
        credit_total=Decimal(0),
        tax_total=tax_total,
        total=subtotal + tax_total,
        line_count=lines,
        created_at=SystemClock().now(),
        number=number_of("INV", new_id(), seed),
        subscription_id=f"sub-{invoice_id}",
        taxes=[rate],
    )
    content = _lines(amounts, taxes)
    async with database.transaction(tenant_id) as tx:
        await invoices.add_invoice(tx, invoice)
        await invoices.replace_content(tx, invoice, content, [])
    return Seeded(tenant_id, invoice_id, invoice.total)


def _lines(amounts: list[Decimal], taxes: list[Decimal]) -> list[InvoiceLine]:
    return [
        InvoiceLine(
            line_id=f"line-{number}",
            line_key=f"line-{number}",
            position=number,
            kind="usage",
            description=f"Usage {number}",
            period=PERIOD,
            exact_amount=amount,
            amount=amount,
            tax_amount=tax,
            tax_rate_id="vat",
        )
        for number, (amount, tax) in enumerate(zip(amounts, taxes, strict=True), start=1)
    ]


class NoUsage:
    """A usage service that has seen none."""

    async def of_hours(self, tenant_id: str, hours: Period) -> UsageAnswer:
        assert tenant_id
        assert hours
        return UsageAnswer({}, "")


def work_of(
    database: Database,
    providers: Providers,
    envelope: Envelope | None = None,
    *,
    usage: UsageSums | None = None,
    has_safeguards: bool = True,
    clock: Clock | None = None,
) -> ProviderWork:
    """Returns all the work with a provider. clock: default the real one."""
    return ProviderWork.of(
        database,
        providers,
        Journal(BillingFeed(database)),
        envelope or Envelope([]),
        tokens=PageTokens(b"tokens"),
        clock=clock or SystemClock(),
        usage=usage or NoUsage(),
        rates=ExchangeRates(),
        has_safeguards=has_safeguards,
    )
