"""A tenant with a plan, an account, a subscription and usage, for tests of invoices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.billing.domain.account import Address, BillingAccount, Particulars
from services.billing.domain.metering import Dimension, Metered, UsageChange
from services.billing.domain.plan import (
    BillingInterval,
    PlanCharge,
    PlanRates,
    PlanState,
    PriceModel,
    PricingPlan,
)
from services.billing.domain.subscription import Subscription
from services.billing.service.accounts import Accounts
from services.billing.service.advancing import Advancing
from services.billing.service.credits import Credits
from services.billing.service.directory import TenantProfile
from services.billing.service.drafting import Drafting
from services.billing.service.invoicing import Invoices
from services.billing.service.issuing import Issuing
from services.billing.service.journal import BillingFeed, Journal
from services.billing.service.lifecycle import Lifecycle
from services.billing.service.metering import apply_changes
from services.billing.service.moving import InvoiceMoves
from services.billing.service.subscriptions import NewSubscription, Subscriptions
from services.billing.store.invoices import invoice_lines
from services.billing.store.plans import add_plan
from services.kernel.caller import Caller, acting_as
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.envelope import Envelope
from services.kernel.exchange import ExchangeRates
from services.kernel.feed_page import FeedItem, FeedPosition
from services.kernel.ids import new_id
from services.kernel.pagination import PageTokens
from tests.billing.conftest import settings_of

RATES = ExchangeRates()


class NoDirectory:
    """Knows of no tenant more than the defaults."""

    async def profile(self, tenant_id: str) -> TenantProfile:
        return TenantProfile() if tenant_id else TenantProfile(currency_code="EUR")


@dataclass(frozen=True, slots=True)
class Stage:
    """The use cases over one tenant."""

    database: Database
    clock: ManualClock
    tenant: str
    invoices: Invoices
    accounts: Accounts
    subscriptions: Subscriptions
    credits: Credits
    moves: InvoiceMoves

    def caller(self, subject: str = "ada") -> Any:
        """Returns a block in which a person of the tenant calls."""
        return acting_as(
            Caller(
                tenant_id=self.tenant,
                subject=subject,
                roles=frozenset({"platform_admin"}),
                permissions=frozenset({"*.*"}),
                is_service=False,
            )
        )

    async def account(self, **changed: Any) -> BillingAccount:
        """Makes the tenant's own account."""
        now = self.clock.now()
        account = BillingAccount(
            tenant_id=self.tenant,
            account_id="",
            display_name="Acme",
            currency_code="USD",
            created_at=now,
            updated_at=now,
            particulars=Particulars(legal_name="Acme Ltd", address=Address(country_code="CH")),
        )
        with self.caller():
            return await self.accounts.create_billing_account(replace(account, **changed))

    async def plan(self, *charges: PlanCharge, currency_code: str = "USD", **rates: Any) -> str:
        """Makes a plan that is on sale, and returns its id."""
        now = self.clock.now()
        plan = PricingPlan(
            plan_id=f"plan-{new_id()}",
            version=1,
            display_name="Professional",
            interval=BillingInterval.MONTH,
            rates=(PlanRates(currency_code=currency_code, charges=charges, **rates),),
            effective_at=datetime.min.replace(year=2020, tzinfo=now.tzinfo),
            created_at=now,
            state=PlanState.ACTIVE,
        )
        async with self.database.system_transaction() as tx:
            await add_plan(tx, plan)
        return plan.plan_id

    async def subscribe(self, plan_id: str, **wanted: Any) -> Subscription:
        """Subscribes the account."""
        with self.caller():
            return await self.subscriptions.create_subscription(
                self.tenant, NewSubscription(plan_id=plan_id, **wanted)
            )

    async def use(self, *changes: UsageChange, place: int = 1) -> None:
        """Applies changes as the feed brings them."""
        items = [
            FeedItem(FeedPosition(place, number), self.tenant, change)
            for number, change in enumerate(changes, start=1)
        ]
        async with self.database.system_transaction() as tx:
            await apply_changes(tx, items)

    async def lines(self, invoice_id: str) -> Sequence[Any]:
        """Returns the lines of an invoice."""
        async with self.database.read(self.tenant) as tx:
            return await invoice_lines(tx, self.tenant, invoice_id)


def stage_of(database: Database, clock: ManualClock, tenant: str) -> Stage:
    """Wires the use cases."""
    tokens = PageTokens(b"x" * 32)
    journal = Journal(BillingFeed(database))
    envelope = Envelope(settings_of().encryption_keys)
    accounts = Accounts(database, journal, envelope, NoDirectory(), tokens=tokens, clock=clock)
    lifecycle = Lifecycle(journal)
    advancing = Advancing(database, lifecycle, clock=clock)
    credit = Credits(database, journal, tokens=tokens, clock=clock)
    moves = InvoiceMoves(journal)
    drafting = Drafting(RATES)
    issuing = Issuing(drafting, accounts, advancing, credit, moves, clock=clock)
    return Stage(
        database,
        clock,
        tenant,
        Invoices(database, drafting, issuing, moves, credit, tokens=tokens, clock=clock),
        accounts,
        Subscriptions(database, lifecycle, advancing, tokens=tokens, clock=clock),
        credit,
        moves,
    )


def per_unit(price: str, **changed: Any) -> PlanCharge:
    """Returns a charge of tokens."""
    charge = PlanCharge(
        charge_id="tokens",
        display_name="Tokens",
        price_model=PriceModel.PER_UNIT,
        unit="token",
        unit_price=Decimal(price),
    )
    return replace(charge, **changed)


def used(
    at: datetime, quantity: str, *, cost: str = "0", events: int = 1, **attributes: Any
) -> UsageChange:
    """Returns a change of usage in the hour of an instant."""
    tags: Mapping[str, str] = attributes.pop("tags", {})
    values = {"resource_type": "llm", "unit": "token", "currency_code": "USD"} | attributes
    dimension_id = str(abs(hash((tuple(sorted(values.items())), tuple(tags.items())))) % 10**9)
    return UsageChange(
        hour_at=at.replace(minute=0, second=0, microsecond=0),
        dimension=Dimension(dimension_id=dimension_id, tags=tags, **values),
        metered=Metered(quantity=Decimal(quantity), cost=Decimal(cost), events=events),
        recorded_at=at,
    )
