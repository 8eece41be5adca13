"""Pricing plans: they change by versions, and who subscribed keeps theirs until moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from services.billing.domain.journal import BillingFact, FactKind
from services.billing.domain.plan import PlanState, PricingPlan, newest_on_sale
from services.billing.domain.subscription import NextTerms
from services.billing.errors import PlanExists, PlanNotFound
from services.billing.service.accounts import require_etag
from services.billing.service.journal import Journal
from services.billing.store import plans as rows
from services.billing.store import subscriptions as subscription_rows
from services.billing.tables.base import GLOBAL_TENANT
from services.kernel import audit
from services.kernel.caller import current_caller
from services.kernel.clock import Clock
from services.kernel.database import Database, Transaction
from services.kernel.ids import new_id
from services.kernel.pagination import Page, PageRequest, PageTokens


class Plans:
    """The use cases of plans. Only the seller changes them; every tenant reads them."""

    def __init__(
        self, database: Database, journal: Journal, *, tokens: PageTokens, clock: Clock
    ) -> None:
        """Takes the journal, which tells of every new version."""
        self._database = database
        self._journal = journal
        self._tokens = tokens
        self._clock = clock

    async def create_pricing_plan(self, plan: PricingPlan) -> PricingPlan:
        """Creates a plan's first version. Raises PlanExists."""
        now = self._clock.now()
        plan = replace(
            plan, plan_id=plan.plan_id or new_id(), version=1, effective_at=now, created_at=now
        )
        async with self._database.system_transaction() as tx:
            if not await rows.add_plan(tx, plan):
                raise PlanExists(plan_id=plan.plan_id)
            await self._changed(tx, plan, "create")
        return plan

    async def get_pricing_plan(self, tenant_id: str, plan_id: str, version: int) -> PricingPlan:
        """Returns a version of a plan, 0 for its newest. Raises PlanNotFound."""
        async with self._database.read(tenant_id) as tx:
            plan = await rows.find_plan(tx, plan_id, version)
        if plan is None:
            raise PlanNotFound(plan_id=plan_id, version=version)
        return plan

    async def list_pricing_plans(self, page: PageRequest) -> Page[PricingPlan]:
        """Returns a page of the plans on sale; the seller also sees drafts and retired ones."""
        shows_all = current_caller().is_platform_admin
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_plans(
                tx, page, self._tokens, at=self._clock.now(), shows_all=shows_all
            )

    async def list_pricing_plan_versions(
        self, page: PageRequest, plan_id: str
    ) -> Page[PricingPlan]:
        """Returns a page of a plan's versions."""
        async with self._database.read(page.tenant_id) as tx:
            return await rows.list_versions(tx, page, self._tokens, plan_id)

    async def update_pricing_plan(
        self,
        plan_id: str,
        change: Callable[[PricingPlan], PricingPlan],
        *,
        effective_at: datetime | None,
        moves_subscriptions: bool,
        etag: str = "",
    ) -> PricingPlan:
        """Adds a version, sold from an instant on, default now.

        moves_subscriptions: those that run get it with their next period.
        Raises PlanNotFound, ResourceChanged, InvalidPlan.
        """
        now = self._clock.now()
        async with self._database.system_transaction() as tx:
            known = await self._newest(tx, plan_id)
            require_etag(etag, known.version)
            plan = replace(
                change(known),
                version=known.version + 1,
                effective_at=effective_at or now,
                created_at=now,
                revision=1,
            )
            if not await rows.add_plan(tx, plan):
                raise PlanExists(plan_id=plan_id, version=plan.version)
            if moves_subscriptions:
                await _move(tx, plan)
            await self._changed(tx, plan, "update")
        return plan

    async def delete_pricing_plan(self, plan_id: str, *, etag: str = "") -> None:
        """Retires a plan: nobody new may subscribe. Raises PlanNotFound, ResourceChanged."""
        async with self._database.system_transaction() as tx:
            known = await self._newest(tx, plan_id)
            require_etag(etag, known.version)
            await rows.retire_plan(tx, plan_id)
            await self._changed(tx, replace(known, state=PlanState.RETIRED), "delete")

    async def seed(self, plans: Sequence[PricingPlan]) -> bool:
        """Adds plans where there are none yet, and tells whether it did."""
        async with self._database.system_transaction() as tx:
            if await rows.count_plans(tx):
                return False
            for plan in plans:
                await rows.add_plan(tx, plan)
        return True

    async def _newest(self, tx: Transaction, plan_id: str) -> PricingPlan:
        plan = await rows.find_plan(tx, plan_id)
        if plan is None:
            raise PlanNotFound(plan_id=plan_id)
        return plan

    async def _changed(self, tx: Transaction, plan: PricingPlan, verb: str) -> None:
        await audit.append(
            tx,
            action=f"plans.{verb}",
            resource=f"plans/{plan.plan_id}",
            after={"version": plan.version, "state": plan.state, "interval": plan.interval},
            tenant_id=GLOBAL_TENANT,
        )
        await self._journal.record(
            tx,
            BillingFact(
                kind=FactKind.PLAN,
                resource_id=plan.plan_id,
                to_state=plan.state.value,
                occurred_at=self._clock.now(),
            ),
            tenant_id=GLOBAL_TENANT,
        )


async def plan_on_sale(
    tx: Transaction, plan_id: str, at: datetime, version: int = 0
) -> PricingPlan | None:
    """Returns the version that is sold at an instant, or a given one whatever its state."""
    if version:
        return await rows.find_plan(tx, plan_id, version)
    return newest_on_sale(await rows.plan_versions(tx, plan_id), at)


async def _move(tx: Transaction, plan: PricingPlan) -> None:
    """Gives those that run on the plan its new version with their next period."""
    for subscription in await subscription_rows.subscriptions_of_plan(tx, plan.plan_id):
        if subscription.currency_code in plan.currency_codes:
            terms = NextTerms(
                plan_id=plan.plan_id, plan_version=plan.version, quantity=subscription.quantity
            )
            moved = replace(subscription, next_terms=terms, revision=subscription.revision + 1)
            await subscription_rows.update_subscription(tx, moved)
