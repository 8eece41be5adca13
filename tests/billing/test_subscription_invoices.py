"""Subscriptions and invoices: changes that are invoiced at once, and invoices that go unpaid."""

from __future__ import annotations

from datetime import timedelta

import pytest
from finops.billing.v1 import account_model_pb2, invoice_messages_pb2, invoice_model_pb2
from finops.billing.v1 import subscription_messages_pb2 as messages
from finops.billing.v1 import subscription_model_pb2 as models

from services.billing.service.prorating import JOB as PRORATE
from services.kernel.database import Database
from services.kernel.jobs import Job
from tests.billing.buying import Desk, desk_of, open_account, sell, stamp, subscribe
from tests.billing.conftest import NOW, Billing
from tests.billing.test_subscriptions import FIRST, waiting


@pytest.fixture
async def desk(billing: Billing) -> Desk:
    return desk_of(billing)


async def test_a_change_that_is_invoiced_at_once_is_invoiced_once(
    desk: Desk, billing: Billing, billing_database: Database
) -> None:
    account = await open_account(desk)
    await subscribe(desk, await sell(desk, "31"), start_time=stamp(FIRST), billing_day=1)
    update = messages.UpdateSubscriptionRequest(
        subscription=models.Subscription(plan_id=await sell(desk, "310")),
        proration_policy=models.PRORATION_POLICY_PRORATE_NOW,
    )
    await desk.billing.UpdateSubscription(update)
    payload = account.account_id.encode()
    job = Job(job_id=1, entrypoint=PRORATE, payload=payload, attempt=1, tenant_id=billing.tenant)

    await billing.service.prorating.run(job)
    await billing.service.prorating.run(job)

    listed = await desk.billing.ListInvoices(invoice_messages_pb2.ListInvoicesRequest())
    found = [(each.kind, each.total.amount, each.number != "") for each in listed.invoices]
    assert found == [(invoice_model_pb2.INVOICE_KIND_PRORATION, "224.5", True)]
    assert await waiting(billing_database, billing.tenant, account.account_id) == []


@pytest.mark.parametrize(
    ("end_action", "given_up"),
    [
        (account_model_pb2.DUNNING_END_UNCOLLECTIBLE, models.SUBSCRIPTION_STATE_UNPAID),
        (account_model_pb2.DUNNING_END_CANCEL, models.SUBSCRIPTION_STATE_CANCELED),
    ],
)
async def test_a_subscription_follows_its_unpaid_invoices(
    desk: Desk,
    billing: Billing,
    billing_database: Database,
    end_action: account_model_pb2.DunningEnd.ValueType,
    given_up: models.SubscriptionState.ValueType,
) -> None:
    dunning = account_model_pb2.DunningPolicy(attempt_days=[0, 3], end_action=end_action)
    account = await open_account(desk, dunning=dunning)
    await subscribe(desk, await sell(desk, "31"), start_time=stamp(FIRST), billing_day=1)
    await billing.service.prorating.run(
        Job(1, PRORATE, account.account_id.encode(), 1, billing.tenant)
    )

    async def state_when(invoice_state: str) -> models.SubscriptionState.ValueType:
        async with billing_database.transaction(billing.tenant) as tx:
            await tx.driver.execute(
                "UPDATE billing.invoice SET state = $1, issued_at = $2", invoice_state, NOW
            )
        await billing.service.advancing.follow_invoices(Job(1, "", b"", 1, None))
        answer = await desk.billing.GetSubscription(messages.GetSubscriptionRequest())
        return answer.subscription.state

    assert await state_when("past_due") == models.SUBSCRIPTION_STATE_PAST_DUE
    assert await state_when("paid") == models.SUBSCRIPTION_STATE_ACTIVE
    assert await state_when("uncollectible") == models.SUBSCRIPTION_STATE_PAST_DUE, "grace"
    billing.clock.advance(timedelta(days=4))
    assert await state_when("uncollectible") == given_up
