"""Internal invoices of departments, from what allocation says they cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Protocol

import structlog

from services.billing.domain.account import BillingAccount
from services.billing.domain.billing_run import (
    RUNNING,
    BillingRun,
    ItemState,
    RunItem,
    RunKind,
    RunState,
    told,
)
from services.billing.domain.charges import Exchange, usage_lines
from services.billing.domain.draft import Draft, kept_lines
from services.billing.domain.invoice import InvoiceTerms
from services.billing.domain.invoice_period import month_of
from services.billing.domain.invoice_record import ZERO, ExchangeRate, Invoice
from services.billing.domain.invoice_state import InvoiceKind, InvoiceState
from services.billing.domain.invoicing import invoice_of
from services.billing.domain.metered_route import rated_here
from services.billing.domain.metering import ChargeMatcher, Dimension, Metered
from services.billing.domain.plan import PlanCharge, PlanRates, PriceModel
from services.billing.errors import PeriodNotOver, PlanNotFound
from services.billing.service.accounts import Accounts
from services.billing.service.issuing import Issuing
from services.billing.service.moving import add_event, queue_mail
from services.billing.store import accounts as account_rows
from services.billing.store import invoices as invoice_rows
from services.billing.store import plans
from services.billing.store import runs as rows
from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.errors import Error
from services.kernel.ids import new_id
from services.kernel.job_worker import ATTEMPTS
from services.kernel.jobs import Job, enqueue
from services.kernel.period import Period

CHARGEBACK_JOB: Final = "chargeback_run"
NO_DEPARTMENT: Final = "-"  # cost that no department bears

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedChargeback:
    """Which departments' cost of which month. plan_id: to price by; default cost as allocated.

    send_notifications: tells those who follow a department, once its invoice is made.
    """

    month: str
    department_ids: Sequence[str] = ()
    plan_id: str = ""
    send_notifications: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatedCost:
    """Cost that allocation gave a department, by what was used."""

    department_id: str
    dimension: Dimension
    metered: Metered


class AllocatedCosts(Protocol):
    """Asks what departments cost; the usage service, at the process edge."""

    async def of_period(
        self, tenant_id: str, period: Period, currency_code: str
    ) -> tuple[Sequence[AllocatedCost], Sequence[ExchangeRate]]:
        """Returns all of a period's allocated cost in one currency, and the rates it took."""


@dataclass(frozen=True, slots=True)
class _Charge:
    """One department's part of a run."""

    run: BillingRun
    account: BillingAccount
    department_id: str
    period: Period
    costs: Sequence[AllocatedCost]
    rates: Sequence[ExchangeRate]


class Chargebacks:
    """The use case of charging departments: the invoices' engine without a provider."""

    def __init__(
        self,
        database: Database,
        costs: AllocatedCosts,
        accounts: Accounts,
        issuing: Issuing,
        *,
        clock: Clock,
    ) -> None:
        """Takes what allocation says, and what numbers and locks invoices."""
        self._database = database
        self._costs = costs
        self._accounts = accounts
        self._issuing = issuing
        self._clock = clock

    async def generate_chargeback(self, tenant_id: str, wanted: WantedChargeback) -> BillingRun:
        """Starts a run that makes an internal invoice for each department.

        Raises AccountNotFound, PeriodNotOver, PlanNotFound.
        """
        now, actor = self._clock.now(), current_caller().subject
        async with self._database.transaction(tenant_id) as tx:
            account = await self._accounts.load(tx, tenant_id)
            month = month_of(wanted.month, account.time_zone)
            if month.end > now:
                raise PeriodNotOver(end=month.end.isoformat())
            if wanted.plan_id and await plans.find_plan(tx, wanted.plan_id) is None:
                raise PlanNotFound(plan_id=wanted.plan_id)
            run = BillingRun(
                tenant_id=tenant_id,
                run_id=new_id(),
                kind=RunKind.CHARGEBACK,
                state=RunState.PENDING,
                month=wanted.month,
                finalize=True,
                plan_id=wanted.plan_id,
                department_ids=list(wanted.department_ids),
                send_notifications=wanted.send_notifications,
                actor=actor,
                created_at=now,
            )
            await rows.add_run(tx, run)
            await queue_chargeback(tx, run)
            await audit.append(
                tx,
                action="chargebacks.generate",
                resource=f"runs/{run.run_id}",
                after={"month": wanted.month, "plan_id": wanted.plan_id},
            )
        return run

    async def work(self, job: Job) -> None:
        """Makes the internal invoices of a run: the queue's handler; harmless twice.

        Where the cost cannot be asked for, the run says why while the queue tries again.
        """
        body = json.loads(job.payload)
        tenant_id, run_id = body["tenant_id"], body["run_id"]
        async with self._database.transaction(tenant_id) as tx:
            run = await rows.find_run(tx, run_id, is_locked=True)
            if run is None or run.state not in RUNNING:
                return
            account = await self._accounts.load(tx, tenant_id)
            started_at = run.started_at or self._clock.now()
            await rows.set_state(tx, run_id, RunState.LOCKING, started_at=started_at)
        try:
            await self._charge_all(run, account)
        except Exception as error:
            is_last = job.attempt >= ATTEMPTS
            state = RunState.FAILED if is_last else RunState.LOCKING
            ended_at = self._clock.now() if is_last else None
            async with self._database.transaction(tenant_id) as tx:
                await rows.set_state(tx, run_id, state, error=told(error), ended_at=ended_at)
            raise

    async def _charge_all(self, run: BillingRun, account: BillingAccount) -> None:
        tenant_id, run_id = run.tenant_id, run.run_id
        period = month_of(run.month, account.time_zone)
        costs, rates = await self._costs.of_period(tenant_id, period, account.currency_code)
        by_department: dict[str, list[AllocatedCost]] = {}
        for cost in costs:
            department_id = cost.department_id or NO_DEPARTMENT
            by_department.setdefault(department_id, []).append(cost)
        for department_id in run.department_ids or sorted(by_department):
            async with self._database.read(tenant_id) as tx:
                now = await rows.find_run(tx, run_id)
            if now is None or now.state not in RUNNING:
                return
            own = by_department.get(department_id, [])
            await self._charge(_Charge(run, account, department_id, period, own, rates))
        async with self._database.transaction(tenant_id) as tx:
            done = await rows.find_run(tx, run_id, is_locked=True)
            if done is not None and done.state in RUNNING:
                await rows.set_state(tx, run_id, done.outcome(), ended_at=self._clock.now())

    async def _charge(self, charge: _Charge) -> None:
        """Makes one department's invoice; what goes wrong with it stops no other."""
        tenant_id = charge.run.tenant_id
        item = RunItem(
            tenant_id=tenant_id,
            run_id=charge.run.run_id,
            item_id=charge.department_id,
            account_id=charge.account.account_id,
            department_id=charge.department_id,
            state=ItemState.PENDING,
            updated_at=self._clock.now(),
        )
        try:
            async with self._database.transaction(tenant_id) as tx:
                await self._accounts.load(tx, tenant_id, is_locked=True)
                if await rows.ensure_item(tx, item) is ItemState.DONE:
                    return
                invoice = await self._invoice(tx, charge)
                total = invoice.money(invoice.total)
                made = invoice.invoice_id
                done = replace(item, state=ItemState.DONE, invoice_id=made, total=total)
                await rows.save_item(tx, done)
                if charge.run.send_notifications:
                    await queue_mail(tx, invoice)
        except Exception as error:
            if isinstance(error, Error):
                log.warning("department not charged", department=item.item_id, reason=error.reason)
            else:
                log.exception("department not charged", run=item.run_id, department=item.item_id)
            async with self._database.transaction(tenant_id) as tx:
                await rows.ensure_item(tx, item)
                failed = replace(item, state=ItemState.FAILED, error=told(error))
                await rows.save_item(tx, failed)

    async def _invoice(self, tx: Transaction, charge: _Charge) -> Invoice:
        """Returns the department's valid invoice of the month, made now where it has none."""
        run, account = charge.run, charge.account
        known = await invoice_rows.find_chargeback(
            tx, run.tenant_id, charge.department_id, charge.period.start
        )
        if known is not None:
            return known
        draft = await self._draft(tx, charge)
        now = self._clock.now()
        empty = Invoice(
            tenant_id=run.tenant_id,
            invoice_id=new_id(),
            account_id=await _account_of(tx, account, charge.department_id),
            department_id=charge.department_id,
            run_id=run.run_id,
            kind=InvoiceKind.CHARGEBACK,
            state=InvoiceState.DRAFT,
            period=charge.period,
            currency_code=account.currency_code,
            subtotal=ZERO,
            discount_total=ZERO,
            credit_total=ZERO,
            tax_total=ZERO,
            total=ZERO,
            line_count=0,
            created_at=now,
        )
        await invoice_rows.add_invoice(tx, empty)
        await add_event(tx, empty, kind="state", description="Made.", actor=run.actor, now=now)
        return await self._issuing.seal(tx, empty, draft, account, actor=run.actor, now=now)

    async def _draft(self, tx: Transaction, charge: _Charge) -> Draft:
        run, account, period = charge.run, charge.account, charge.period
        plan = await plans.find_plan(tx, run.plan_id) if run.plan_id else None
        code = account.currency_code
        prices = _as_allocated(code) if plan is None else rated_here(plan.rates_in(code))
        metered = [(cost.dimension, cost.metered) for cost in charge.costs]
        sums = [one for one, _ in ChargeMatcher(prices).sums(metered, period)]
        lines = usage_lines(prices, sums, period, exchange=Exchange(code))
        terms = InvoiceTerms(currency_code=code, rounding=account.rounding_mode)
        computed = invoice_of(lines, terms)
        return Draft(
            computed=computed,
            kind=InvoiceKind.CHARGEBACK,
            period=period,
            lines=kept_lines(computed, period),
            exchange_rates=charge.rates,
            unpriced_events=sum(cost.metered.unpriced_events for cost in charge.costs),
            plan_id=run.plan_id,
            plan_version=0 if plan is None else plan.version,
        )


async def queue_chargeback(tx: Transaction, run: BillingRun) -> None:
    """Queues a run's work; departments that are done stay done."""
    payload = json.dumps({"tenant_id": run.tenant_id, "run_id": run.run_id}).encode()
    await enqueue(tx, CHARGEBACK_JOB, payload, key=f"{CHARGEBACK_JOB}:{run.run_id}")


def _as_allocated(currency_code: str) -> PlanRates:
    """Returns prices that charge cost as it was allocated, one line a kind of resource."""
    charge = PlanCharge(
        charge_id="allocated_cost",
        display_name="Allocated cost",
        price_model=PriceModel.COST_PLUS,
        cost_ratio=Decimal(1),
        group_by="resource_type",
    )
    return PlanRates(currency_code=currency_code, charges=(charge,))


async def _account_of(tx: Transaction, account: BillingAccount, department_id: str) -> str:
    """Returns the department's own account where it has one, else the tenant's."""
    found = await account_rows.find_department_account(tx, account.tenant_id, department_id)
    return found or account.account_id
