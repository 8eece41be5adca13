"""From recorded usage to people and programs, with the service's workers running."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest
from finops.budget.v1 import alert_model_pb2 as model
from finops.budget.v1 import budget_model_pb2
from finops.budget.v1 import notification_model_pb2 as notifications

from services.budget.store.alert_candidates import PeriodKey
from tests.budget.alerts.alerting import Alerting
from tests.budget.alerts.receiving import Mailbox, Receiver, http_receiver
from tests.budget.alerts.test_firing import half, ratios
from tests.budget.conftest import NOW
from tests.budget.making import create, money, update
from tests.support.waiting import eventually


def bodies(receiver: Receiver) -> list[dict[str, object]]:
    return [json.loads(request.body) for request in receiver.requests]


@pytest.mark.usefixtures("working")
async def test_a_mail_about_recorded_usage_is_there_within_seconds(
    alerting: Alerting, mailbox: Mailbox
) -> None:
    """Cyclenerd/poweroff-google-cloud-cap-billing#9: budgets lag hours, and ten thousand dollars.

    aws-solutions/innovation-sandbox-on-aws#168: the same, of another cloud.
    """
    await create(alerting.caller, recipients=["ada@example.com"], thresholds=[half()])

    began = time.perf_counter()
    await alerting.caller.record("60")

    async def arrived() -> bool:
        return bool(mailbox.mails)

    await eventually(arrived, seconds=20)
    assert time.perf_counter() - began < 20  # what a loaded machine takes; the bench measures it
    (alert,) = await alerting.listed()
    assert alert.feed_sequence
    assert alert.observed.amount == "60"


@pytest.mark.usefixtures("working")
async def test_costs_and_budgets_are_told_to_those_who_subscribed_and_asked_for_them(
    alerting: Alerting,
) -> None:
    """openmeterio/openmeter#94: quotas and webhooks."""
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url)
        await alerting.subscribe(channel_id, "budget.created", "budget.updated")
        await alerting.subscribe(channel_id, "cost.recorded", text="user_id = grace AND amount > 1")
        budget = await create(alerting.caller, thresholds=[half()])
        await update(alerting.caller, budget, display_name="Renamed")
        await alerting.caller.record("5", user_id="grace")
        await alerting.caller.record("6", user_id="ada")
        await alerting.caller.record("0.5", user_id="grace")
        await alerting.caller.record("7", user_id="grace")

        async def told() -> bool:
            return {"5", "7"} <= set(costs(receiver)) and len(changes(receiver)) == 2

        await eventually(told, seconds=20)

    assert changes(receiver) == ["budget.created", "budget.updated"]
    assert costs(receiver) == ["5", "7"]


def costs(receiver: Receiver) -> list[str]:
    return [
        change["billedCost"]["amount"]
        for body in bodies(receiver)
        if body["type"] == "cost.recorded"
        for change in body["data"]["changes"]  # type: ignore[index] # JSON
    ]


def changes(receiver: Receiver) -> list[str]:
    return [str(body["type"]) for body in bodies(receiver) if body["type"] != "cost.recorded"]


async def test_a_forecast_that_passes_the_limit_alerts_and_resolves_when_it_no_longer_does(
    alerting: Alerting,
) -> None:
    """cloud-custodian/cloud-custodian#5324: guardrails on projected spend."""
    for days in range(1, 15):
        await alerting.caller.record("10", NOW - timedelta(days=days))
    forecast = budget_model_pb2.AlertThreshold(
        threshold_ratio="1", basis=budget_model_pb2.THRESHOLD_BASIS_FORECAST
    )
    budget = await create(alerting.caller, amount=money("200"), thresholds=[forecast])
    start = NOW.replace(day=1, hour=0, minute=0)
    key = PeriodKey(alerting.caller.tenant_id, budget.budget_id, start)

    await alerting.built.forecasts.evaluate([key])
    (fired,) = await alerting.listed()
    await alerting.built.forecasts.evaluate([key])
    (same,) = await alerting.listed()
    await update(alerting.caller, budget, amount=money("2000"))
    await alerting.built.forecasts.evaluate([key])
    (resolved,) = await alerting.listed()

    assert fired.kind == model.ALERT_KIND_FORECAST_THRESHOLD
    assert fired.state == model.ALERT_STATE_OPEN
    assert "is forecast to spend" in fired.message
    assert same == fired
    assert resolved.state == model.ALERT_STATE_AUTO_RESOLVED
    assert resolved.alert_id == fired.alert_id


async def test_a_budget_made_over_spend_that_is_there_alerts_at_once(alerting: Alerting) -> None:
    """BerriAI/litellm#37144: a budget that does not know what was spent."""
    await alerting.caller.record("80")

    await create(alerting.caller)

    assert ratios(await alerting.listed()) == ["0.5", "0.75"]


@pytest.mark.usefixtures("working")
async def test_dead_mail_servers_lose_nothing(alerting: Alerting, mailbox: Mailbox) -> None:
    mailbox.refusing = True
    await create(alerting.caller, recipients=["ada@example.com"], thresholds=[half()])
    await alerting.caller.record("60")

    async def failed() -> bool:
        return any(each.attempt_count for each in await alerting.sent())

    await eventually(failed, seconds=20)
    mailbox.refusing = False
    alerting.clock.advance(timedelta(minutes=1))

    async def delivered() -> bool:
        (delivery,) = await alerting.sent()
        return delivery.state == notifications.DELIVERY_STATE_DELIVERED

    await eventually(delivered, seconds=20)
    assert len(mailbox.mails) == 1
