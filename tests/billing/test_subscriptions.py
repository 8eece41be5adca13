"""Subscriptions through their whole life, with exact proration, previewed and then made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from finops.billing.v1 import (
    billing_service_pb2,
    subscription_service_pb2,
)
from finops.billing.v1 import subscription_messages_pb2 as messages
from finops.billing.v1 import subscription_model_pb2 as models
from google.protobuf.field_mask_pb2 import FieldMask

from services.billing.domain.invoice import ExactLine
from services.billing.domain.subscription import PhaseMode
from services.billing.service.advancing import JOB as ADVANCE
from services.billing.store.pending_lines import pending_lines
from services.billing.store.subscriptions import phases_in
from services.kernel.database import Database
from services.kernel.jobs import Job
from services.kernel.period import Period
from tests.billing.buying import Desk, desk_of, money, open_account, sell, stamp, subscribe
from tests.billing.conftest import NOW, Billing
from tests.support.server import refused

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
FAR = datetime(2030, 1, 1, tzinfo=UTC)
SHARE = Fraction(21 * 24 + 12, 31 * 24)  # of March from the 10th at noon on


@pytest.fixture
async def desk(billing: Billing) -> Desk:
    return desk_of(billing)


async def waiting(database: Database, tenant: str, account_id: str) -> list[ExactLine]:
    async with database.read(tenant) as tx:
        lines = await pending_lines(tx, tenant, account_id, until=FAR)
    return sorted(lines, key=lambda line: (line.period.start if line.period else FAR, line.exact))


async def advance(billing: Billing) -> None:
    job = Job(job_id=1, entrypoint=ADVANCE, payload=b"", attempt=1, tenant_id=None)
    await billing.service.advancing.run(job)


async def test_an_upgrade_costs_to_the_cent_what_its_preview_showed(
    desk: Desk, billing: Billing, billing_database: Database
) -> None:
    account = await open_account(desk)
    small, large = await sell(desk, "31"), await sell(desk, "310")
    made = await subscribe(desk, small, start_time=stamp(FIRST), billing_day=1)
    request = subscription_service_pb2.PreviewSubscriptionChangeRequest(plan_id=large)

    shown = (await desk.subscriptions.PreviewSubscriptionChange(request)).preview
    billing.clock.advance(timedelta(minutes=10))
    changed = await desk.billing.UpdateSubscription(
        messages.UpdateSubscriptionRequest(
            subscription=models.Subscription(plan_id=large), preview_id=shown.preview_id
        )
    )

    assert made.state == models.SUBSCRIPTION_STATE_ACTIVE
    assert [line.amount.amount for line in shown.lines] == ["-21.5", "215"]
    assert shown.total.amount == "193.5"
    assert shown.next_invoice.total.amount == "534.5", "31 + 193.50 + 310 in advance"
    assert Fraction(shown.unused_ratio).limit_denominator(10**6) == SHARE
    assert changed.subscription.plan_id == large
    lines = await waiting(billing_database, billing.tenant, account.account_id)
    assert [line.exact for line in lines] == [31, -31 * SHARE, 310 * SHARE]
    async with billing_database.read(billing.tenant) as tx:
        period = Period(FIRST, datetime(2026, 4, 1, tzinfo=UTC))
        phases = await phases_in(tx, billing.tenant, made.subscription_id, period)
    assert [(phase.plan_id, phase.start_at) for phase in phases] == [(small, FIRST), (large, NOW)]


async def test_what_was_discounted_is_given_back_discounted_whatever_the_new_plan_gives(
    desk: Desk, billing: Billing, billing_database: Database
) -> None:
    account = await open_account(desk)
    dear = await sell(desk, "31", discount="0.5")
    plain = await sell(desk, "31")
    await subscribe(desk, dear, start_time=stamp(FIRST), billing_day=1)

    await desk.billing.UpdateSubscription(
        messages.UpdateSubscriptionRequest(subscription=models.Subscription(plan_id=plain))
    )

    lines = await waiting(billing_database, billing.tenant, account.account_id)
    assert sum(line.exact for line in lines) == 31 * (Fraction(1, 2) * (1 - SHARE) + SHARE)


async def test_a_preview_that_has_lapsed_or_is_of_something_else_is_refused(
    desk: Desk, billing: Billing
) -> None:
    await open_account(desk)
    small, large = await sell(desk), await sell(desk, "310")
    await subscribe(desk, small)
    request = subscription_service_pb2.PreviewSubscriptionChangeRequest(plan_id=large)
    shown = (await desk.subscriptions.PreviewSubscriptionChange(request)).preview
    update = messages.UpdateSubscriptionRequest(
        subscription=models.Subscription(plan_id=large, quantity="2"), preview_id=shown.preview_id
    )

    other = await refused(desk.billing.UpdateSubscription(update))
    update.subscription.ClearField("quantity")
    billing.clock.advance(timedelta(minutes=16))
    late = await refused(desk.billing.UpdateSubscription(update))

    assert (other.reason, late.reason) == ("PREVIEW_OUTDATED", "PREVIEW_OUTDATED")


async def test_a_trial_charges_nothing_until_it_ends(
    desk: Desk, billing: Billing, billing_database: Database
) -> None:
    account = await open_account(desk)
    made = await subscribe(desk, await sell(desk, "30", trial_days=14))

    before = await waiting(billing_database, billing.tenant, account.account_id)
    billing.clock.advance(timedelta(days=14))
    await advance(billing)
    found = await desk.billing.GetSubscription(messages.GetSubscriptionRequest())

    assert made.state == models.SUBSCRIPTION_STATE_TRIALING
    assert made.billing_day == 24, "the day the trial ends"
    assert before == []
    assert found.subscription.state == models.SUBSCRIPTION_STATE_ACTIVE
    lines = await waiting(billing_database, billing.tenant, account.account_id)
    share = Fraction(61, 62)  # of the period from midnight of the 24th on, the trial ends at noon
    assert [line.exact for line in lines] == [30 * share]


@pytest.mark.parametrize(
    ("behavior", "state"),
    [
        (models.TRIAL_END_BEHAVIOR_PAUSE, models.SUBSCRIPTION_STATE_PAUSED),
        (models.TRIAL_END_BEHAVIOR_CANCEL, models.SUBSCRIPTION_STATE_CANCELED),
        (models.TRIAL_END_BEHAVIOR_INVOICE, models.SUBSCRIPTION_STATE_ACTIVE),
    ],
)
async def test_a_trial_without_payment_method_ends_as_it_was_told(
    desk: Desk,
    billing: Billing,
    behavior: models.TrialEndBehavior.ValueType,
    state: models.SubscriptionState.ValueType,
) -> None:
    await open_account(desk, collection_method=1)
    await subscribe(
        desk, await sell(desk, trial_days=7), trial_end_behavior=behavior, billing_day=1
    )

    billing.clock.advance(timedelta(days=8))
    await advance(billing)

    found = await desk.billing.GetSubscription(messages.GetSubscriptionRequest())
    assert found.subscription.state == state


async def test_a_pause_credits_what_is_unused_and_resuming_charges_the_rest(
    desk: Desk, billing: Billing, billing_database: Database
) -> None:
    account = await open_account(desk)
    made = await subscribe(desk, await sell(desk, "31"), start_time=stamp(FIRST), billing_day=1)

    paused = await desk.billing.PauseSubscription(
        messages.PauseSubscriptionRequest(
            reason="holidays", resume_time=stamp(NOW + timedelta(days=2))
        )
    )
    billing.clock.advance(timedelta(days=3))
    await advance(billing)
    found = await desk.billing.GetSubscription(messages.GetSubscriptionRequest())

    assert paused.subscription.state == models.SUBSCRIPTION_STATE_PAUSED
    assert found.subscription.state == models.SUBSCRIPTION_STATE_ACTIVE
    lines = await waiting(billing_database, billing.tenant, account.account_id)
    assert [line.exact for line in lines] == [31, Fraction("-21.5"), Fraction("19.5")]
    async with billing_database.read(billing.tenant) as tx:
        phases = await phases_in(tx, billing.tenant, made.subscription_id, Period(FIRST, FAR))
    assert [phase.mode for phase in phases] == [
        PhaseMode.BILLED,
        PhaseMode.PAUSED,
        PhaseMode.BILLED,
    ]
    events = await desk.subscriptions.ListSubscriptionEvents(
        subscription_service_pb2.ListSubscriptionEventsRequest(
            subscription_id=made.subscription_id, order_by="event_time"
        )
    )
    assert [event.reason for event in events.events] == ["", "holidays", ""]
    assert [event.actor for event in events.events] == ["ada", "ada", "system"]


async def test_a_cancellation_ends_with_its_period_and_can_be_taken_back(
    desk: Desk, billing: Billing, billing_database: Database
) -> None:
    account = await open_account(desk)
    await subscribe(desk, await sell(desk, "31"), start_time=stamp(FIRST), billing_day=1)
    cancel = messages.CancelSubscriptionRequest()

    first = await desk.billing.CancelSubscription(cancel)
    back = await desk.subscriptions.ResumeSubscription(
        subscription_service_pb2.ResumeSubscriptionRequest()
    )
    await desk.billing.CancelSubscription(cancel)
    billing.clock.advance(timedelta(days=30))
    await advance(billing)
    ended = (await desk.billing.GetSubscription(messages.GetSubscriptionRequest())).subscription

    assert first.subscription.cancel_at_period_end
    assert not back.subscription.cancel_at_period_end
    assert ended.state == models.SUBSCRIPTION_STATE_CANCELED
    assert ended.end_time == stamp(datetime(2026, 4, 1, tzinfo=UTC))
    lines = await waiting(billing_database, billing.tenant, account.account_id)
    assert [line.exact for line in lines] == [31], "no fee of a period that never began"


async def test_a_cancellation_now_credits_the_unused_fee(
    desk: Desk, billing: Billing, billing_database: Database
) -> None:
    account = await open_account(desk)
    await subscribe(desk, await sell(desk, "31"), start_time=stamp(FIRST), billing_day=1)

    ended = await desk.billing.CancelSubscription(
        messages.CancelSubscriptionRequest(immediately=True)
    )
    again = await refused(
        desk.billing.CancelSubscription(messages.CancelSubscriptionRequest(immediately=True))
    )

    assert ended.subscription.period.end_time == stamp(NOW)
    lines = await waiting(billing_database, billing.tenant, account.account_id)
    assert [line.exact for line in lines] == [31, Fraction("-21.5")]
    assert again.reason == "SUBSCRIPTION_STATE_FORBIDS"


async def test_periods_follow_one_another_on_the_31st_each_with_its_fee(
    desk: Desk, billing: Billing, billing_database: Database
) -> None:
    account = await open_account(desk)
    start = datetime(2026, 1, 31, tzinfo=UTC)

    made = await subscribe(desk, await sell(desk, "10"), start_time=stamp(start))

    assert made.billing_day == 31
    assert made.period.start_time == stamp(datetime(2026, 2, 28, tzinfo=UTC))
    assert made.period.end_time == stamp(datetime(2026, 3, 31, tzinfo=UTC))
    lines = await waiting(billing_database, billing.tenant, account.account_id)
    begins = [line.period.start.date().isoformat() for line in lines if line.period]
    assert begins == ["2026-01-31", "2026-02-28"]
    assert len({line.key for line in lines}) == 2


async def test_a_change_that_waits_comes_with_the_next_period_another_interval_only_so(
    desk: Desk, billing: Billing, billing_database: Database
) -> None:
    account = await open_account(desk)
    yearly = await sell(desk, "300", interval=3)
    await subscribe(desk, await sell(desk, "31"), start_time=stamp(FIRST), billing_day=1)
    update = messages.UpdateSubscriptionRequest(subscription=models.Subscription(plan_id=yearly))

    refusal = await refused(desk.billing.UpdateSubscription(update))
    update.proration_policy = models.PRORATION_POLICY_NEXT_PERIOD
    kept = await desk.billing.UpdateSubscription(update)
    billing.clock.advance(timedelta(days=30))
    await advance(billing)
    found = (await desk.billing.GetSubscription(messages.GetSubscriptionRequest())).subscription

    assert refusal.reason == "INTERVAL_WAITS"
    assert kept.subscription.plan_id != yearly
    assert found.plan_id == yearly
    assert found.period.end_time == stamp(datetime(2027, 4, 1, tzinfo=UTC))
    lines = await waiting(billing_database, billing.tenant, account.account_id)
    assert [line.exact for line in lines] == [31, 300]


async def test_quantity_labels_and_etag(desk: Desk) -> None:
    await open_account(desk)
    made = await subscribe(desk, await sell(desk, "31"))
    wanted = models.Subscription(quantity="3", labels={"team": "a"}, etag=made.etag)

    changed = await desk.billing.UpdateSubscription(
        messages.UpdateSubscriptionRequest(subscription=wanted)
    )
    stale = await refused(
        desk.billing.UpdateSubscription(messages.UpdateSubscriptionRequest(subscription=wanted))
    )
    mask = await refused(
        desk.billing.UpdateSubscription(
            messages.UpdateSubscriptionRequest(
                subscription=wanted, update_mask=FieldMask(paths=["currency"])
            )
        )
    )

    assert changed.subscription.quantity == "3"
    assert dict(changed.subscription.labels) == {"team": "a"}
    assert stale.reason == "BILLING_RESOURCE_CHANGED"
    assert mask.reason == "UNKNOWN_MASK_PATH"


async def test_what_cannot_be_subscribed_to_is_refused_with_a_reason(desk: Desk) -> None:
    no_account = await refused(subscribe(desk, "none"))
    account = await open_account(desk)
    plan_id = await sell(desk)
    hidden = await sell(desk, restricted=True)
    draft = await sell(desk, state=1)
    cases = {
        "PLAN_NOT_FOUND": {"plan_id": "none"},
        "PLAN_NOT_ON_SALE": {"plan_id": hidden},
        "CURRENCY_MISMATCH": {"plan_id": plan_id, "currency_code": "USD"},
        "INVALID_BILLING_INSTANT": {"plan_id": plan_id, "start_time": stamp(FAR)},
        "ACCOUNT_NOT_FOUND": {"plan_id": plan_id, "account_id": "none"},
    }

    for reason, fields in cases.items():
        assert (await refused(subscribe(desk, **fields))).reason == reason  # type: ignore[arg-type]
    assert (await refused(subscribe(desk, draft))).reason == "PLAN_NOT_ON_SALE"
    await subscribe(desk, plan_id)
    again = await refused(subscribe(desk, plan_id, account_id=account.account_id))
    assert (no_account.reason, again.reason) == ("ACCOUNT_NOT_FOUND", "SUBSCRIPTION_EXISTS")
    missing = messages.GetSubscriptionRequest(subscription_id="none")
    assert (await refused(desk.billing.GetSubscription(missing))).reason == "SUBSCRIPTION_NOT_FOUND"


async def test_the_history_tells_what_happened_and_the_summary_how_it_stands(
    desk: Desk,
) -> None:
    await open_account(desk)
    plan_id = await sell(desk, "31")
    await subscribe(desk, plan_id, start_time=stamp(FIRST), billing_day=1)
    await desk.billing.PauseSubscription(messages.PauseSubscriptionRequest())

    history = await desk.billing.ListBillingHistory(
        billing_service_pb2.ListBillingHistoryRequest(start="2026-03-01")
    )
    summary = (
        await desk.billing.GetBillingSummary(billing_service_pb2.GetBillingSummaryRequest())
    ).summary
    odd = await refused(
        desk.billing.ListBillingHistory(billing_service_pb2.ListBillingHistoryRequest(start="soon"))
    )

    assert [entry.title for entry in history.entries] == [
        "Subscription paused",
        f"Subscribed to {plan_id}",
    ]
    assert {entry.state for entry in history.entries} == {"paused"}
    assert summary.accrued.amount == "9.5"
    assert summary.open_total == money("0")
    assert not summary.payment_method_ready
    assert odd.reason == "INVALID_BILLING_INSTANT"
