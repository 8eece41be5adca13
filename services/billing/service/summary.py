"""How a tenant stands, what happened to it, when it is billed by itself, and the feed of it all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from services.billing.domain.account import AutomatedBilling, BillingAccount
from services.billing.domain.billing_period import next_billing_time
from services.billing.domain.charges import to_decimal
from services.billing.domain.currency import currency
from services.billing.domain.journal import BillingFact, HistoryEntry
from services.billing.domain.proration import share_of
from services.billing.domain.subscription import PhaseMode, Subscription
from services.billing.errors import InvalidInstant, NothingToInvoice
from services.billing.service.credits import require_account
from services.billing.service.invoicing import Invoices, Wanted
from services.billing.service.journal import BillingFeed
from services.billing.service.lifecycle import with_coupons
from services.billing.store import accounts as account_rows
from services.billing.store import journal as journal_rows
from services.billing.store import plans as plan_rows
from services.billing.store.collectability import has_payment_method
from services.billing.store.credits import credit_balance
from services.billing.store.pending_lines import pending_lines
from services.billing.store.subscriptions import find_subscription
from services.billing.store.summary import Standing, standing
from services.kernel import audit
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.exchange import ExchangeRates
from services.kernel.feed_page import FeedPosition
from services.kernel.money import Money
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period, day_start, zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a tenant stands; all money in one currency. subscription: None where none runs."""

    tenant_id: str
    account_id: str
    subscription: Subscription | None
    accrued: Money
    forecast: Money
    open_total: Money
    past_due_total: Money
    open_invoice_count: int
    credit_balance: Money
    committed_remaining: Money | None
    paid_year_total: Money
    last_invoice_id: str
    next_billing_at: datetime | None
    payment_method_ready: bool
    as_of_sequence: str


@dataclass(frozen=True, slots=True)
class BillingPage:
    """Some facts with their tenants, in feed order; none for a heartbeat."""

    facts: Sequence[tuple[str, BillingFact]]
    sequence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """What the running period costs so far and at its end, before tax, and its commitment."""

    accrued: Decimal = Decimal(0)
    forecast: Decimal = Decimal(0)
    committed_remaining: Decimal | None = None


class Summaries:
    """The use cases of looking at billing as a whole."""

    def __init__(
        self,
        database: Database,
        invoices: Invoices,
        feed: BillingFeed,
        rates: ExchangeRates,
        *,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        """invoices: compute what the running period costs. rates: for another currency."""
        self._database = database
        self._invoices = invoices
        self._feed = feed
        self._rates = rates
        self._tokens = tokens
        self._clock = clock

    async def get_billing_summary(
        self, tenant_id: str, account_id: str, currency_code: str
    ) -> Summary:
        """Returns how an account stands, in its currency or another by today's rate.

        Raises AccountNotFound, MissingRate.
        """
        now = self._clock.now()
        async with self._database.read(tenant_id) as tx:
            account = await require_account(tx, tenant_id, account_id, is_locked=False)
            since = day_start(
                now.astimezone(zone(account.time_zone)).date().replace(month=1, day=1),
                zone(account.time_zone),
            )
            sums = await standing(tx, tenant_id, account.account_id, since=since, at=now)
            balance = await credit_balance(tx, tenant_id, account.account_id)
            automated = await account_rows.find_automated(tx, tenant_id, account.account_id)
            is_ready = await has_payment_method(tx, tenant_id, account.account_id, at=now)
            subscription = await _running(tx, account)
        running = _Running()
        if subscription is not None:
            running = await self._running_period(account, subscription, now)
        money = self._converter(account, currency_code, now)
        return _summary(
            account,
            subscription,
            sums,
            running,
            money=money,
            balance=balance,
            next_at=next_invoice_time(account, automated, now),
            is_ready=is_ready,
        )

    async def list_billing_history(
        self, page: PageRequest, *, account_id: str, start: str, end: str
    ) -> Page[HistoryEntry]:
        """Returns a page of the time line. start, end: an instant or a date; "" is open.

        Raises InvalidInstant.
        """
        async with self._database.read(page.tenant_id) as tx:
            stored = await account_rows.find_account(tx, page.tenant_id, account_id)
            time_zone = "UTC" if stored is None else stored.account.time_zone
            return await journal_rows.list_entries(
                tx,
                page,
                self._tokens,
                account_id=account_id,
                start=_instant(start, time_zone),
                end=_instant(end, time_zone),
            )

    async def configure_automated_billing(
        self, tenant_id: str, wanted: AutomatedBilling
    ) -> tuple[AutomatedBilling, datetime | None]:
        """Sets when an account is billed by itself; returns that and when it is next.

        Raises AccountNotFound.
        """
        now = self._clock.now()
        async with self._database.transaction(tenant_id) as tx:
            account = await require_account(tx, tenant_id, wanted.account_id)
            before = await account_rows.find_automated(tx, tenant_id, account.account_id)
            named = replace(wanted, account_id=account.account_id)
            stored = await account_rows.set_automated(tx, tenant_id, named, now)
            await audit.append(
                tx,
                action="billing.configure",
                resource=f"accounts/{account.account_id}",
                before=_settings(before),
                after=_settings(stored),
            )
        return stored, next_invoice_time(account, stored, now)

    async def get_automated_billing(
        self, tenant_id: str, account_id: str
    ) -> tuple[AutomatedBilling, datetime | None]:
        """Returns when an account is billed by itself, and when it is next.

        Raises AccountNotFound.
        """
        async with self._database.read(tenant_id) as tx:
            account = await require_account(tx, tenant_id, account_id, is_locked=False)
            stored = await account_rows.find_automated(tx, tenant_id, account.account_id)
        return stored, next_invoice_time(account, stored, self._clock.now())

    async def watch_billing(self, tenant_id: str, *, after: str) -> AsyncIterator[BillingPage]:
        """Yields what happens for ever, each fact once, in order; empty pages are heartbeats.

        after: a position of the feed, "" for the oldest kept. Raises InvalidFeedPosition,
        FeedPositionExpired.
        """
        pages = self._feed.watch(after=FeedPosition.parse(after), tenant_id=tenant_id)
        try:
            async for page in pages:
                facts = [(each.tenant_id, journal_rows.decode(each.fact)) for each in page.items]
                positions = [str(each.position) for each in page.items]
                for fact, position in zip(facts, positions, strict=True):
                    yield BillingPage([fact], position)
                if not facts:
                    yield BillingPage([], str(page.position))
        finally:
            await pages.aclose()

    async def _running_period(
        self, account: BillingAccount, subscription: Subscription, now: datetime
    ) -> _Running:
        """Returns what the running period costs so far, and by its usage per second at its end."""
        wanted = Wanted(tenant_id=account.tenant_id, account_id=account.account_id)
        try:
            preview = await self._invoices.preview_invoice(wanted)
        except NothingToInvoice:
            return _Running()
        accrued = preview.subtotal
        elapsed = Fraction(1)
        if subscription.period.start < now < subscription.period.end:
            elapsed = share_of(subscription.period, Period(subscription.period.start, now))
        digits = currency(account.currency_code).exponent
        async with self._database.read(account.tenant_id) as tx:
            waiting = await pending_lines(
                tx, account.tenant_id, account.account_id, until=subscription.period.end
            )
            plan = await plan_rows.find_plan(tx, subscription.plan_id, subscription.plan_version)
        # What is no fee grows with time; fees stay what they are.
        fees = sum((line.exact for line in waiting), Fraction(0))
        used = max(Fraction(accrued) - fees, Fraction(0))
        more = used / elapsed - used if elapsed else Fraction(0)
        minimum = Decimal(0)
        if plan is not None and subscription.mode is PhaseMode.BILLED:
            minimum = plan.rates_in(subscription.currency_code).minimum_commitment
        return _Running(
            accrued=accrued,
            forecast=max(accrued + to_decimal(more, digits), minimum),
            committed_remaining=max(minimum - accrued, Decimal(0)) if minimum else None,
        )

    def _converter(self, account: BillingAccount, currency_code: str, now: datetime) -> _Converter:
        if currency_code in ("", account.currency_code):
            return _Converter(account.currency_code, Decimal(1))
        day = now.astimezone(zone(account.time_zone)).date()
        found = self._rates.rate(account.currency_code, currency_code, day)
        return _Converter(currency_code, found.rate)


@dataclass(frozen=True, slots=True)
class _Converter:
    """Amounts of an account in the currency that was asked for."""

    currency_code: str
    rate: Decimal

    def __call__(self, amount: Decimal) -> Money:
        exact = Fraction(amount) * Fraction(self.rate)
        return Money(self.currency_code, amount if self.rate == 1 else to_decimal(exact))


def next_invoice_time(
    account: BillingAccount, automated: AutomatedBilling, now: datetime
) -> datetime | None:
    """Returns when an account is billed by itself next, None where that is off."""
    if not automated.enabled:
        return None
    return next_billing_time(now, automated.billing_day, account.time_zone)


async def _running(tx: Transaction, account: BillingAccount) -> Subscription | None:
    found = await find_subscription(tx, account.tenant_id, account_id=account.account_id)
    return None if found is None or found.state.is_final else await with_coupons(tx, found)


def _summary(
    account: BillingAccount,
    subscription: Subscription | None,
    sums: Standing,
    running: _Running,
    *,
    money: _Converter,
    balance: Decimal,
    next_at: datetime | None,
    is_ready: bool,
) -> Summary:
    committed = running.committed_remaining
    return Summary(
        tenant_id=account.tenant_id,
        account_id=account.account_id,
        subscription=subscription,
        accrued=money(running.accrued),
        forecast=money(running.forecast),
        open_total=money(sums.open_total),
        past_due_total=money(sums.past_due_total),
        open_invoice_count=sums.open_count,
        credit_balance=money(balance),
        committed_remaining=None if committed is None else money(committed),
        paid_year_total=money(sums.paid_total),
        last_invoice_id=sums.last_invoice_id,
        next_billing_at=next_at,
        payment_method_ready=is_ready,
        as_of_sequence=sums.as_of_sequence,
    )


def _settings(automated: AutomatedBilling) -> dict[str, object]:
    return {
        "enabled": automated.enabled,
        "billing_day": automated.billing_day,
        "include_usage": automated.include_usage,
        "auto_payment": automated.auto_payment,
        "send_notifications": automated.send_notifications,
        "grace_hours": automated.grace_hours,
    }


def _instant(text: str, time_zone: str) -> datetime | None:
    """Reads an instant, or a date's first one in the zone; None for an empty text."""
    if not text:
        return None
    try:
        if len(text) == len("2026-01-31"):
            return day_start(datetime.fromisoformat(text).date(), zone(time_zone))
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInstant(
            f"{text!r} is neither a date nor a time such as 2026-01-31T08:00:00Z", value=text
        ) from error
    if instant.tzinfo is None:
        raise InvalidInstant(f"{text!r} names no zone; add Z or an offset", value=text)
    return instant
