"""Which alerts fire, how often, and in which order."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

from finops.budget.v1 import alert_model_pb2 as model
from finops.budget.v1 import budget_model_pb2
from standardwebhooks import Webhook

from services.budget import bootstrap
from services.budget.convert.usage_reader import StubUsageReader
from services.budget.settings import BudgetSettings
from tests.budget.alerts.alerting import SECRET, Alerting
from tests.budget.alerts.receiving import Mailbox, http_receiver
from tests.budget.conftest import RunningUsage
from tests.budget.making import create, money, status_of, update
from tests.budget.test_spend import admitted_or_none, authorize, settle
from tests.support.server import service_token_of


async def spend(alerting: Alerting, amount: str) -> None:
    """Spends at once, inside one transaction of the service."""
    held = await authorize(alerting.caller, amount)
    await settle(alerting.caller, held.authorization_id, amount)


def ratios(alerts: list[model.Alert]) -> list[str]:
    return [alert.threshold.threshold_ratio for alert in alerts]


async def test_each_threshold_fires_once_a_period_however_often_spend_grows(
    alerting: Alerting,
) -> None:
    """BerriAI/litellm#3738, #3113, #32597: an alert on every request."""
    await create(alerting.caller)

    for _ in range(12):
        await spend(alerting, "9")

    fired = await alerting.listed("kind = ACTUAL_THRESHOLD")
    assert ratios(fired) == ["0.5", "0.75", "0.9", "1"]
    assert [alert.observed.amount for alert in fired] == ["54", "81", "90", "108"]
    assert [alert.severity for alert in fired] == [1, 2, 2, 3]


async def test_own_percentages_fire_and_a_hundred_and_twenty_percent_too(
    alerting: Alerting,
) -> None:
    """BerriAI/litellm#1612, openmeterio/openmeter#3200: own percentages; numbers never fired."""
    thresholds = [
        budget_model_pb2.AlertThreshold(threshold_ratio=ratio) for ratio in ("0.1", "0.333", "1.2")
    ]
    await create(alerting.caller, thresholds=thresholds)

    await spend(alerting, "10")
    first = ratios(await alerting.listed())
    await spend(alerting, "23.3")
    second = ratios(await alerting.listed())
    await spend(alerting, "86.7")

    assert first == ["0.1"]
    assert second == ["0.1", "0.333"]
    assert ratios(await alerting.listed("kind = ACTUAL_THRESHOLD")) == ["0.1", "0.333", "1.2"]


async def test_the_next_period_alerts_anew(alerting: Alerting) -> None:
    """twentyhq/twenty#16801: alerts of the payment provider fire in the first cycle only."""
    await create(
        alerting.caller, cadence=budget_model_pb2.BUDGET_CADENCE_DAILY, thresholds=[half()]
    )

    await spend(alerting, "60")
    alerting.clock.advance(timedelta(days=1))
    await spend(alerting, "60")

    fired = await alerting.listed()
    assert ratios(fired) == ["0.5", "0.5"]
    assert fired[0].period.end_time == fired[1].period.start_time


async def test_one_large_cost_fires_all_it_passes_in_order(alerting: Alerting) -> None:
    await create(alerting.caller)

    await spend(alerting, "150")

    fired = await alerting.listed("kind = ACTUAL_THRESHOLD")
    assert ratios(fired) == ["0.5", "0.75", "0.9", "1"]
    assert len({alert.alert_id for alert in fired}) == 4


async def test_a_committed_threshold_counts_what_is_held(alerting: Alerting) -> None:
    committed = budget_model_pb2.AlertThreshold(
        threshold_ratio="0.8", basis=budget_model_pb2.THRESHOLD_BASIS_COMMITTED
    )
    await create(alerting.caller, thresholds=[committed])

    await authorize(alerting.caller, "80")

    (alert,) = await alerting.listed()
    assert alert.kind == model.ALERT_KIND_COMMITTED_THRESHOLD
    assert alert.observed.amount == "80"


async def test_a_refusal_at_a_hard_limit_is_one_alert(alerting: Alerting) -> None:
    await create(alerting.caller, enforcement=budget_model_pb2.BUDGET_ENFORCEMENT_HARD)

    for _ in range(3):
        assert await admitted_or_none(alerting.caller, Decimal(101)) is None

    (alert,) = await alerting.listed()
    assert alert.kind == model.ALERT_KIND_LIMIT_DENIAL
    assert alert.severity == budget_model_pb2.ALERT_SEVERITY_CRITICAL


async def test_a_raised_limit_resolves_alerts_and_they_return_when_it_is_reached_again(
    alerting: Alerting,
) -> None:
    budget = await create(alerting.caller, thresholds=[half()])
    await spend(alerting, "60")

    await update(alerting.caller, budget, amount=money("1000"))
    (resolved,) = await alerting.listed()
    await spend(alerting, "500")
    (again,) = await alerting.listed()
    history = (await alerting.got(again.alert_id)).transitions

    assert resolved.state == model.ALERT_STATE_AUTO_RESOLVED
    assert again.alert_id == resolved.alert_id
    assert again.state == model.ALERT_STATE_OPEN
    assert [step.to_state for step in history] == [
        model.ALERT_STATE_OPEN,
        model.ALERT_STATE_AUTO_RESOLVED,
        model.ALERT_STATE_OPEN,
    ]


async def test_a_settlement_above_its_hold_alerts_once_it_passes_the_limit(
    alerting: Alerting,
) -> None:
    await create(alerting.caller)
    small, large, larger = [await authorize(alerting.caller, "1") for _ in range(3)]

    await settle(alerting.caller, small.authorization_id, "40")
    within = await alerting.listed("kind = SETTLEMENT_EXCESS")
    await settle(alerting.caller, large.authorization_id, "80")
    await settle(alerting.caller, larger.authorization_id, "5")

    assert within == []
    (alert,) = await alerting.listed("kind = SETTLEMENT_EXCESS")
    assert alert.observed.amount == "120"


async def test_a_period_that_overspend_took_as_a_whole_alerts_as_it_begins(
    alerting: Alerting,
) -> None:
    budget = await create(
        alerting.caller,
        cadence=budget_model_pb2.BUDGET_CADENCE_DAILY,
        thresholds=[half()],
        rollover=budget_model_pb2.RolloverPolicy(enabled=True, carry_overspend=True),
    )
    await spend(alerting, "250")

    alerting.clock.advance(timedelta(days=1))
    await status_of(alerting.caller, budget.budget_id)
    await spend(alerting, "1")

    fired = await alerting.listed()
    assert [alert.limit.amount for alert in fired] == ["100", "-50"]
    assert fired[0].period.end_time == fired[1].period.start_time


async def test_a_replica_that_has_not_seen_a_budget_yet_resolves_its_alert_with_the_hold(
    alerting: Alerting, settings: BudgetSettings, usage_server: RunningUsage
) -> None:
    database, clock = alerting.built.alert_work._database, alerting.clock
    usage = StubUsageReader(usage_server.server.channel_with(service_token_of("budget", tenant="")))
    other = bootstrap.foundation_of(
        database, usage, bootstrap.alert_base(database, clock=clock), settings, clock=clock
    )
    await other.indexes.get(alerting.caller.tenant_id)
    committed = budget_model_pb2.AlertThreshold(
        threshold_ratio="0.8", basis=budget_model_pb2.THRESHOLD_BASIS_COMMITTED
    )
    await create(alerting.caller, thresholds=[committed])
    await authorize(alerting.caller, "80")

    clock.advance(timedelta(minutes=16))
    await other.spending.expire_holds()

    (alert,) = await alerting.listed()
    assert alert.state == model.ALERT_STATE_AUTO_RESOLVED


async def test_a_mail_and_a_signed_webhook_tell_of_an_alert(
    alerting: Alerting, mailbox: Mailbox
) -> None:
    """langfuse/langfuse#714, opencost/opencost#737, #3867: cost alerts that reach somebody."""
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url)
        await create(
            alerting.caller,
            thresholds=[half()],
            recipients=["ada@example.com"],
            channel_ids=[channel_id],
        )

        await spend(alerting, "60")
        await alerting.work()

    (request,) = receiver.requests
    verified = Webhook(SECRET)
    content = verified.sign(
        request.headers["webhook-id"], alerting.clock.now(), request.body.decode()
    )
    assert request.headers["webhook-signature"] == content
    body = json.loads(request.body)
    (alert,) = await alerting.listed()
    assert body["type"] == "alert.opened"
    assert body["data"]["alertId"] == alert.alert_id
    assert body["data"]["threshold"] == {"thresholdRatio": "0.5", "basis": "ACTUAL"}
    (mail,) = mailbox.mails
    assert mailbox.receivers == ["ada@example.com"]
    assert mail["Subject"] == "[INFO] Research: spend reached 50 %"
    deliveries = (await alerting.got(alert.alert_id)).transitions[0].delivery_ids
    assert len(deliveries) == 2
    whole = [await alerting.delivery(each) for each in deliveries]
    assert {each.attempts[0].http_status for each in whole} == {0, 200}
    assert any("250 2.0.0 queued as 4711" in each.attempts[0].response_excerpt for each in whole)


def half() -> budget_model_pb2.AlertThreshold:
    return budget_model_pb2.AlertThreshold(threshold_ratio="0.5")
