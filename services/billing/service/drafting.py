"""Computes what an invoice would be now: for previews, drafts and the lock alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

from services.billing.domain.account import BillingAccount, TaxMode
from services.billing.domain.charges import (
    Exchange,
    UsageSum,
    late_usage_lines,
    line_key,
    usage_lines,
)
from services.billing.domain.credit import in_order_of_use
from services.billing.domain.draft import Draft, kept_lines, usage_of_lines
from services.billing.domain.invoice import Commitment, ExactLine, InvoiceTerms, Settlement
from services.billing.domain.invoice_record import ExchangeRate
from services.billing.domain.invoice_state import InvoiceKind
from services.billing.domain.invoicing import invoice_of
from services.billing.domain.metered_route import metered_charges, rated_here
from services.billing.domain.metering import (
    ChargeMatcher,
    Dimension,
    Metered,
    hour_of,
    metered_period,
)
from services.billing.domain.plan import PriceModel, PricingPlan
from services.billing.domain.proration import share_of
from services.billing.domain.provider import ProviderKind
from services.billing.domain.settlement import stripe_settlement
from services.billing.domain.subscription import Phase, PhaseMode, Subscription
from services.billing.domain.tax import AppliedTax, applied_taxes
from services.billing.errors import ExchangeRateMissing, NothingToInvoice
from services.billing.service.routed_usage import RoutedUsage
from services.billing.service.usage_parts import (
    UsagePart,
    add_usage,
    part_of,
    read_billed_late,
    read_usage,
)
from services.billing.store import metering, plans, taxes
from services.billing.store.coupons import coupon_discounts
from services.billing.store.credits import account_grants
from services.billing.store.pending_lines import fees_of_period, pending_lines
from services.billing.store.provider_settings import find_effective
from services.billing.store.subscriptions import phases_in
from services.kernel.database import Transaction
from services.kernel.exchange import ExchangeRates, MissingRate
from services.kernel.period import Period, zone

RATE_SOURCE = "ECB"
Members = list[tuple[Dimension, Metered]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which invoice is wanted. plan: to price by instead of the subscribed ones, to compare."""

    account: BillingAccount
    subscription: Subscription
    period: Period
    now: datetime
    include_usage: bool = True
    plan: PricingPlan | None = None

    @property
    def day(self) -> date:
        """The last local day of the period that has begun: the day of tax and exchange rates."""
        last = min(self.period.end - timedelta(microseconds=1), self.now)
        return last.astimezone(zone(self.subscription.time_zone)).date()

    @property
    def kind(self) -> InvoiceKind:
        """FINAL where the subscription ends by the period's end."""
        ended_at = self.subscription.ended_at
        is_last = ended_at is not None and ended_at <= self.period.end
        return InvoiceKind.FINAL if is_last else InvoiceKind.PERIOD


class Drafting:
    """Reads everything an invoice depends on, in the caller's transaction, and computes it."""

    def __init__(self, rates: ExchangeRates) -> None:
        """Takes the exchange rates."""
        self._rates = rates

    async def draft(self, tx: Transaction, target: Target) -> Draft:
        """Returns what the invoice is now.

        Raises NothingToInvoice, ExchangeRateMissing, PlanCurrencyMissing.
        """
        tenant_id = target.subscription.tenant_id
        routed = RoutedUsage(tenant_id, target.subscription.subscription_id)
        parts = await self._parts(tx, target, routed)
        late_parts, claims = await self._late(tx, target, parts, routed)
        known = await metering.dimensions_of(
            tx,
            {
                (tenant_id, dimension_id)
                for part in (*parts, *late_parts)
                for dimension_id in (*part.usage, *part.late)
            },
        )
        dimensions = {dimension_id: each for (_, dimension_id), each in known.items()}
        pending = await self._pending(tx, target)
        builder = _Lines(target, self._rates, dimensions)
        lines = [*pending, *builder.of_usage(parts), *builder.of_late(late_parts)]
        terms = await self._terms(tx, target, parts, pending)
        computed = invoice_of(lines, terms)
        kept = kept_lines(computed, target.period)
        return Draft(
            computed=computed,
            kind=target.kind,
            period=target.period,
            lines=kept,
            usage=usage_of_lines(kept, builder.members),
            exchange_rates=builder.used_rates(),
            unpriced_events=sum(
                amount.unpriced_events for part in parts for amount in part.usage.values()
            ),
            plan_id=parts[-1].phase.plan_id if target.plan is None else target.plan.plan_id,
            plan_version=(
                parts[-1].phase.plan_version if target.plan is None else target.plan.version
            ),
            pending_keys=[line.key for line in pending],
            late=claims,
            metered_until=hour_of(target.period.end) if target.include_usage else None,
        )

    async def _parts(self, tx: Transaction, target: Target, routed: RoutedUsage) -> list[UsagePart]:
        """Returns the period cut where plan, quantity or mode changed, with the usage of each."""
        subscription = target.subscription
        tenant_id, period = subscription.tenant_id, target.period
        phases = await phases_in(tx, tenant_id, subscription.subscription_id, period)
        parts = await self._cut(tx, target, phases, period)
        if not parts:
            raise NothingToInvoice(subscription_id=subscription.subscription_id)
        if target.include_usage and not target.account.department_id:
            await read_usage(tx, tenant_id, parts, routed)
        return parts

    async def _cut(
        self, tx: Transaction, target: Target, phases: Iterable[Phase], period: Period
    ) -> list[UsagePart]:
        """Returns what is of a period of each phase, with its prices."""
        parts: list[UsagePart] = []
        for phase in phases:
            within = phase.within(period)
            if within is None:
                continue
            plan = target.plan or await plans.find_plan(tx, phase.plan_id, phase.plan_version)
            if plan is None:
                raise NothingToInvoice(plan_id=phase.plan_id)
            rates = plan.rates_in(target.subscription.currency_code)
            if metered_charges(rates):
                # What no route has of their usage is priced here, like any other.
                parts.append(UsagePart(phase, rated_here(rates), within, target.plan is None))
            else:
                parts.append(UsagePart(phase, rates, within))
        return parts

    async def _late(
        self, tx: Transaction, target: Target, parts: Sequence[UsagePart], routed: RoutedUsage
    ) -> tuple[list[UsagePart], list[tuple[datetime, str]]]:
        """Adds late usage of the period to its parts; returns that of earlier periods, and all."""
        subscription = target.subscription
        if not target.include_usage or target.account.department_id or target.plan is not None:
            return [], []
        tenant_id = subscription.tenant_id
        end = hour_of(target.period.end)
        waiting = (await metering.waiting_late_usage(tx, {tenant_id: end})).get(tenant_id, [])
        claims: list[tuple[datetime, str]] = []
        earlier: dict[tuple[datetime, datetime], UsagePart] = {}
        for hour_at, dimension_id, amount in waiting:
            own = part_of(parts, hour_at)
            before = None if own is not None else await self._earlier(tx, target, hour_at)
            part = own or before
            if part is None:
                continue  # before the subscription began: nobody pays for it
            claims.append((hour_at, dimension_id))
            if part.may_be_routed and await routed.route_of(tx, hour_at, [dimension_id]):
                # The provider's, which is told of it until the route closes: what comes after that
                # is on no invoice, and a comparison with usage shows it.
                continue
            if own is not None:
                add_usage(own.usage, dimension_id, amount)
            else:
                known = earlier.setdefault((part.part.start, part.part.end), part)
                add_usage(known.late, dimension_id, amount)
        for part in earlier.values():
            await read_usage(tx, tenant_id, [part], routed)
            hours = metered_period(part.part)
            if hours is not None:
                await read_billed_late(tx, tenant_id, part, hours, routed)
        return list(earlier.values()), claims

    async def _earlier(
        self, tx: Transaction, target: Target, hour_at: datetime
    ) -> UsagePart | None:
        """Returns the part of the earlier period that an hour falls into."""
        subscription = target.subscription
        calendar = subscription.calendar.period(hour_at)
        start = max(calendar.start, subscription.started_at)
        if calendar.end <= start:
            return None
        period = Period(start, calendar.end)
        phases = await phases_in(tx, subscription.tenant_id, subscription.subscription_id, period)
        return part_of(await self._cut(tx, target, phases, period), hour_at)

    async def _pending(self, tx: Transaction, target: Target) -> list[ExactLine]:
        """Returns the fees and prorations that wait for this invoice."""
        account = target.account
        if target.plan is not None:
            return []
        return await pending_lines(
            tx, account.tenant_id, account.account_id, until=target.period.end
        )

    async def _terms(
        self,
        tx: Transaction,
        target: Target,
        parts: Sequence[UsagePart],
        pending: Sequence[ExactLine],
    ) -> InvoiceTerms:
        account, subscription = target.account, target.subscription
        rates = parts[-1].rates
        coupons = await coupon_discounts(tx, subscription.tenant_id, subscription.subscription_id)
        discounts = (*rates.discounts, *subscription.discounts, *coupons)
        grants = await account_grants(tx, account.tenant_id, account.account_id)
        return InvoiceTerms(
            currency_code=subscription.currency_code,
            rounding=account.rounding_mode,
            taxes=await _taxes(tx, target),
            discounts=discounts,
            credits=[
                grant.available()
                for grant in in_order_of_use(grants, target.now)
                if grant.currency_code == subscription.currency_code
            ],
            commitment=await _commitment(tx, target, parts[-1], pending),
            settlement=await _settlement(tx, target),
        )


class _Lines:
    """Makes lines of usage, and remembers what each is made of and which rates it took."""

    def __init__(
        self, target: Target, rates: ExchangeRates, dimensions: dict[str, Dimension]
    ) -> None:
        self._target = target
        self._rates = rates
        self._dimensions = dimensions
        self._used: dict[str, ExchangeRate] = {}
        self.members: dict[str, Members] = {}

    def of_usage(self, parts: Iterable[UsagePart]) -> list[ExactLine]:
        lines: list[ExactLine] = []
        for part in parts:
            is_free = part.phase.mode is not PhaseMode.BILLED
            sums = self._sums(part, part.usage, is_free=is_free, is_late=False)
            lines += usage_lines(part.rates, sums, part.part, exchange=self._exchange(part, sums))
        return lines

    def of_late(self, parts: Iterable[UsagePart]) -> list[ExactLine]:
        lines: list[ExactLine] = []
        for part in parts:
            is_free = part.phase.mode is not PhaseMode.BILLED
            late = self._sums(part, part.late, is_free=is_free, is_late=True)
            billed = self._sums(part, part.usage, is_free=is_free, is_late=None)
            exchange = self._exchange(part, [*late, *billed])
            lines += late_usage_lines(part.rates, billed, late, exchange=exchange)
        return lines

    def used_rates(self) -> list[ExchangeRate]:
        return [self._used[code] for code in sorted(self._used)]

    def _sums(
        self, part: UsagePart, usage: dict[str, Metered], *, is_free: bool, is_late: bool | None
    ) -> list[UsageSum]:
        """is_late: of which lines the usage is the content; None for none."""
        metered = [
            (self._dimensions[dimension_id], amount) for dimension_id, amount in usage.items()
        ]
        found = ChargeMatcher(part.rates).sums(metered, part.part, is_free=is_free)
        if is_late is not None:
            for one, members in found:
                key = line_key(one, is_late=is_late) + (":free" if is_free else "")
                self.members[key] = members
        return [one for one, _ in found]

    def _exchange(self, part: UsagePart, sums: Iterable[UsageSum]) -> Exchange:
        """Returns the rates that usage priced by its cost needs. Raises ExchangeRateMissing."""
        to_currency = self._target.subscription.currency_code
        by_cost = {
            charge.charge_id
            for charge in part.rates.charges
            if charge.price_model is PriceModel.COST_PLUS
        }
        for one in sums:
            code = one.cost_currency
            if one.charge_id not in by_cost or code in ("", to_currency) or code in self._used:
                continue
            try:
                found = self._rates.rate(code, to_currency, self._target.day)
            except MissingRate as error:
                raise ExchangeRateMissing(
                    error.message, from_currency=code, to_currency=to_currency
                ) from error
            self._used[code] = ExchangeRate(
                from_currency=code,
                to_currency=to_currency,
                rate=found.rate,
                rate_date=found.rate_date,
                source=RATE_SOURCE,
            )
        return Exchange(to_currency, {code: each.rate for code, each in self._used.items()})


async def _taxes(tx: Transaction, target: Target) -> dict[str, AppliedTax]:
    account = target.account
    address = account.particulars.address
    if account.tax_mode is not TaxMode.TABLE or address is None:
        return {}
    return applied_taxes(
        await taxes.tax_rates_of(tx, address.country_code),
        country_code=address.country_code,
        subdivision_code=address.subdivision_code,
        day=target.day,
        has_tax_id=bool(account.particulars.tax_ids),
    )


async def _settlement(tx: Transaction, target: Target) -> Settlement | None:
    """Returns what the tenant's provider can collect; by transfer anything can be paid."""
    stored = await find_effective(tx, target.account.tenant_id)
    if stored is None or stored.settings.kind is not ProviderKind.STRIPE:
        return None
    return stripe_settlement(target.subscription.currency_code)


async def _commitment(
    tx: Transaction,
    target: Target,
    part: UsagePart,
    pending: Sequence[ExactLine],
) -> Commitment | None:
    """Returns the least the period costs; of a period cut short, its share of a whole one."""
    minimum = Fraction(part.rates.minimum_commitment)
    if not minimum or target.now < target.period.end or part.phase.mode is not PhaseMode.BILLED:
        return None
    account, period = target.account, target.period
    whole = target.subscription.calendar.period(period.start)
    own = {line.key for line in pending}
    fees = await fees_of_period(tx, account.tenant_id, account.account_id, period)
    before = sum((fee.exact for fee in fees if fee.key not in own), Fraction(0))
    return Commitment(
        minimum=minimum * share_of(whole, period), period=period, counted_before=before
    )
