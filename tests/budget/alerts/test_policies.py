"""Who is told next, and when nobody is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from finops.budget.v1 import alert_model_pb2 as model
from finops.budget.v1 import (
    alert_policy_service_pb2 as messages,
)
from finops.budget.v1 import (
    alert_service_pb2,
    budget_model_pb2,
)
from finops.common.v1.period_pb2 import Period
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.budget.domain.suppression import QuietHours
from tests.budget.alerts.alerting import Alerting
from tests.budget.alerts.receiving import http_receiver
from tests.budget.alerts.test_firing import half, spend
from tests.budget.making import create
from tests.support.server import all_of, refused

MINUTE = timedelta(minutes=1)


async def policy_of(alerting: Alerting, *steps: model.EscalationStep) -> str:
    policy = model.EscalationPolicy(display_name="On call", steps=steps)
    request = messages.CreateEscalationPolicyRequest(policy=policy)
    answer = await alerting.policies.CreateEscalationPolicy(request)
    return answer.escalation_policy.policy_id


async def rule_of(alerting: Alerting, **fields: Any) -> model.SuppressionRule:
    rule = model.SuppressionRule(**{"display_name": "Quiet"} | fields)
    request = messages.CreateSuppressionRuleRequest(rule=rule)
    return (await alerting.policies.CreateSuppressionRule(request)).suppression_rule


async def pass_by(alerting: Alerting, step: timedelta) -> None:
    alerting.clock.advance(step)
    await alerting.work()


async def test_nobody_acknowledges_and_the_next_channel_hears_of_it_in_order(
    alerting: Alerting,
) -> None:
    async with http_receiver() as first, http_receiver() as second:
        policy_id = await policy_of(
            alerting,
            model.EscalationStep(
                after_minutes=10, channel_ids=[await alerting.webhook(first.url)], repeat_count=1
            ),
            model.EscalationStep(
                after_minutes=20, channel_ids=[await alerting.webhook(second.url)]
            ),
        )
        await create(alerting.caller, thresholds=[half()], escalation_policy_id=policy_id)
        await spend(alerting, "60")
        await alerting.work()

        counts = []
        for minutes in (9, 2, 10, 19, 2, 600):
            await pass_by(alerting, minutes * MINUTE)
            counts.append((len(first.requests), len(second.requests)))

    assert counts == [(0, 0), (1, 0), (2, 0), (2, 0), (2, 1), (2, 1)]
    (alert,) = await alerting.listed()
    assert alert.state == model.ALERT_STATE_ESCALATED
    assert alert.escalation_level == 2
    assert not alert.HasField("next_escalation_time")


async def test_an_acknowledged_alert_is_not_escalated_and_says_who_has_it(
    alerting: Alerting,
) -> None:
    async with http_receiver() as receiver:
        step = model.EscalationStep(
            after_minutes=10, channel_ids=[await alerting.webhook(receiver.url)]
        )
        policy_id = await policy_of(alerting, step)
        await create(alerting.caller, thresholds=[half()], escalation_policy_id=policy_id)
        await spend(alerting, "60")
        await alerting.work()
        (alert,) = await alerting.listed()
        request = alert_service_pb2.AcknowledgeAlertRequest(
            alert_id=alert.alert_id, note="I look", etag=alert.etag
        )

        taken = (await alerting.alerts.AcknowledgeAlert(request)).alert
        stale = await refused(alerting.alerts.AcknowledgeAlert(request))
        await pass_by(alerting, 60 * MINUTE)

    assert receiver.requests == []
    assert (taken.state, taken.acknowledged_by) == (model.ALERT_STATE_ACKNOWLEDGED, "ada")
    assert stale.reason == "ALERT_RESOURCE_CHANGED"
    history = (await alerting.got(alert.alert_id)).transitions
    assert [(step.actor, step.note) for step in history] == [("system", ""), ("ada", "I look")]


async def test_a_step_skips_alerts_that_are_not_severe_enough(alerting: Alerting) -> None:
    async with http_receiver() as receiver:
        step = model.EscalationStep(
            after_minutes=1,
            channel_ids=[await alerting.webhook(receiver.url)],
            severity_min=budget_model_pb2.ALERT_SEVERITY_CRITICAL,
        )
        policy_id = await policy_of(alerting, step)
        await create(alerting.caller, escalation_policy_id=policy_id)
        await spend(alerting, "120")
        await alerting.work()
        await pass_by(alerting, 2 * MINUTE)

    assert len(receiver.requests) == 1
    escalated = await alerting.listed("state = ESCALATED")
    assert [alert.threshold.threshold_ratio for alert in escalated] == ["1"]


async def test_a_snoozed_alert_is_silent_and_opens_again(alerting: Alerting) -> None:
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url)
        await create(alerting.caller, thresholds=[half()], channel_ids=[channel_id])
        await spend(alerting, "60")
        await alerting.work()
        (alert,) = await alerting.listed()

        await snooze(alerting, alert.alert_id, timedelta(hours=2))
        await pass_by(alerting, timedelta(hours=1))
        (silent,) = await alerting.listed()
        await pass_by(alerting, timedelta(hours=1))

    (awake,) = await alerting.listed()
    assert silent.state == model.ALERT_STATE_SNOOZED
    assert awake.state == model.ALERT_STATE_OPEN
    assert len(receiver.requests) == 2


async def test_a_resolved_alert_changes_no_more(alerting: Alerting) -> None:
    await create(alerting.caller, thresholds=[half()])
    await spend(alerting, "60")
    (alert,) = await alerting.listed()
    past = await refused(snooze(alerting, alert.alert_id, -MINUTE))
    distant = await refused(snooze(alerting, alert.alert_id, timedelta(days=91)))

    request = alert_service_pb2.ResolveAlertRequest(alert_id=alert.alert_id, note="Paid")
    resolved = (await alerting.alerts.ResolveAlert(request)).alert
    closed = await refused(snooze(alerting, alert.alert_id, MINUTE))
    await spend(alerting, "20")

    assert resolved.state == model.ALERT_STATE_RESOLVED
    assert resolved.HasField("resolve_time")
    assert closed.reason == "ALERT_CLOSED"
    assert closed.metadata["state"] == "resolved"
    assert past.reason == "SNOOZE_NOT_IN_FUTURE"
    assert distant.reason == "SNOOZE_TOO_LONG"
    assert len(await alerting.listed()) == 1


async def test_alerts_are_watched_from_any_position(alerting: Alerting) -> None:
    await create(alerting.caller)
    await spend(alerting, "80")
    (alert, _) = await alerting.listed("kind = ACTUAL_THRESHOLD")
    request = alert_service_pb2.ResolveAlertRequest(alert_id=alert.alert_id)
    await alerting.alerts.ResolveAlert(request)

    stream = alerting.alerts.WatchAlerts(alert_service_pb2.WatchAlertsRequest())
    seen = await all_of(aiter(stream), most=3)
    resumed = alerting.alerts.WatchAlerts(
        alert_service_pb2.WatchAlertsRequest(
            after_sequence=seen[0].sequence, filter="state = RESOLVED"
        )
    )
    (later,) = await all_of(aiter(resumed), most=1)

    assert [change.alert.threshold.threshold_ratio for change in seen] == ["0.5", "0.75", "0.5"]
    assert seen[2].transition.to_state == model.ALERT_STATE_RESOLVED
    assert later.alert == seen[2].alert


async def test_quiet_hours_hold_mails_back_until_they_end_but_not_critical_ones(
    alerting: Alerting,
) -> None:
    hours = model.QuietHours(time_zone="Europe/Berlin", start_clock="10:00", end_clock="12:00")
    await rule_of(alerting, kind=model.SUPPRESSION_KIND_QUIET_HOURS, quiet_hours=hours)
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url)
        await create(alerting.caller, channel_ids=[channel_id])

        await spend(alerting, "120")  # 09:30 UTC, 10:30 in Berlin
        await alerting.work()
        critical = len(receiver.requests)
        await pass_by(alerting, 89 * MINUTE)
        during = len(receiver.requests)
        await pass_by(alerting, 2 * MINUTE)

    assert (critical, during, len(receiver.requests)) == (1, 1, 4)
    assert {a.suppression_rule_id != "" for a in await alerting.listed("severity = INFO")} == {True}


async def test_in_a_maintenance_window_alerts_are_visible_and_nobody_is_told(
    alerting: Alerting,
) -> None:
    now = alerting.clock.now()
    window = Period(start_time=stamp(now - MINUTE), end_time=stamp(now + MINUTE))
    rule = await rule_of(alerting, kind=model.SUPPRESSION_KIND_MAINTENANCE, window=window)
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url)
        await create(alerting.caller, thresholds=[half()], channel_ids=[channel_id])
        await spend(alerting, "60")
        await alerting.work()
        await pass_by(alerting, 60 * MINUTE)

    assert receiver.requests == []
    assert len(await alerting.listed()) == 1
    (delivery,) = await alerting.sent()
    assert delivery.state == 5  # suppressed
    kept = await alerting.policies.GetSuppressionRule(
        messages.GetSuppressionRuleRequest(rule_id=rule.rule_id)
    )
    assert kept.suppression_rule.suppressed_count == 1


async def test_a_storm_becomes_one_digest_and_its_first_alerts_go_at_once(
    alerting: Alerting,
) -> None:
    grouping = model.AlertGrouping(window=Duration(seconds=300), alert_count_min=3)
    await rule_of(alerting, kind=model.SUPPRESSION_KIND_GROUPING, grouping=grouping)
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url)
        for _ in range(3):
            await create(alerting.caller, channel_ids=[channel_id])

        await spend(alerting, "120")
        await alerting.work()
        at_once = len(receiver.requests)
        await pass_by(alerting, 6 * MINUTE)

    assert at_once == 2
    assert len(receiver.requests) == 3
    digested = [each for each in await alerting.sent() if each.digest_delivery_id]
    assert len(digested) == 10
    (digest_id,) = {each.digest_delivery_id for each in digested}
    assert (await alerting.delivery(digest_id)).event_type == "alert.digest"


@pytest.mark.parametrize(
    ("instant", "end"),
    [
        ("2026-03-07T23:30:00-05:00", "2026-03-08T03:00:00-04:00"),  # the night New York springs
        ("2026-03-08T01:59:00-05:00", "2026-03-08T03:00:00-04:00"),
        ("2026-03-08T03:00:00-04:00", None),
        ("2026-11-01T01:30:00-04:00", "2026-11-01T02:30:00-05:00"),  # one hour comes twice
        ("2026-11-01T02:29:00-05:00", "2026-11-01T02:30:00-05:00"),
        ("2026-03-09T22:59:00-04:00", None),
    ],
)
def test_quiet_hours_over_midnight_and_clock_changes(instant: str, end: str | None) -> None:
    hours = QuietHours("America/New_York", 23 * 60, 2 * 60 + 30)

    found = hours.end_after(datetime.fromisoformat(instant))

    assert found == (None if end is None else datetime.fromisoformat(end).astimezone(UTC))


async def test_a_rule_that_cannot_work_is_refused_and_says_why(alerting: Alerting) -> None:
    without = await refused(rule_of(alerting, kind=model.SUPPRESSION_KIND_MAINTENANCE))
    grouping = model.AlertGrouping(group_by=["colour"])
    unknown = await refused(
        rule_of(alerting, kind=model.SUPPRESSION_KIND_GROUPING, grouping=grouping)
    )
    wrong = await refused(
        rule_of(alerting, kind=model.SUPPRESSION_KIND_GROUPING, filter="colour = red")
    )

    assert without.reason == unknown.reason == "INVALID_SUPPRESSION_RULE"
    assert "needs window" in without.message
    assert "budget_id" in unknown.metadata["allowed"]
    assert wrong.reason == "UNKNOWN_FILTER_FIELD"


async def test_policies_and_rules_are_kept_changed_and_deleted(alerting: Alerting) -> None:
    async with http_receiver() as receiver:
        channel_id = await alerting.webhook(receiver.url)
    step = model.EscalationStep(after_minutes=5, channel_ids=[channel_id])
    policy_id = await policy_of(alerting, step)
    nobody = await refused(
        policy_of(alerting, model.EscalationStep(after_minutes=5, channel_ids=["nobody"]))
    )
    rule = await rule_of(alerting, kind=model.SUPPRESSION_KIND_GROUPING)

    renamed = await alerting.policies.UpdateEscalationPolicy(
        messages.UpdateEscalationPolicyRequest(
            policy=model.EscalationPolicy(policy_id=policy_id, display_name="Night")
        )
    )
    disabled = await alerting.policies.UpdateSuppressionRule(
        messages.UpdateSuppressionRuleRequest(
            rule=model.SuppressionRule(rule_id=rule.rule_id, disabled=True, etag=rule.etag)
        )
    )
    policies = await alerting.policies.ListEscalationPolicies(
        messages.ListEscalationPoliciesRequest()
    )
    rules = await alerting.policies.ListSuppressionRules(
        messages.ListSuppressionRulesRequest(filter="enabled = false AND kind = GROUPING")
    )

    assert nobody.reason == "CHANNEL_NOT_FOUND"
    assert renamed.escalation_policy.steps[0].after_minutes == 5
    assert rule.grouping.alert_count_min == 5
    assert [each.display_name for each in policies.policies] == ["Night"]
    assert list(rules.rules) == [disabled.suppression_rule]
    for resource in ("escalation", "suppression"):
        await delete(alerting, resource, policy_id, rule.rule_id)
    gone = [
        await refused(delete(alerting, resource, policy_id, rule.rule_id))
        for resource in ("escalation", "suppression")
    ]
    assert [each.reason for each in gone] == [
        "ESCALATION_POLICY_NOT_FOUND",
        "SUPPRESSION_RULE_NOT_FOUND",
    ]


async def delete(alerting: Alerting, resource: str, policy_id: str, rule_id: str) -> None:
    if resource == "escalation":
        request = messages.DeleteEscalationPolicyRequest(policy_id=policy_id)
        await alerting.policies.DeleteEscalationPolicy(request)
    else:
        await alerting.policies.DeleteSuppressionRule(
            messages.DeleteSuppressionRuleRequest(rule_id=rule_id)
        )


async def snooze(alerting: Alerting, alert_id: str, step: timedelta) -> None:
    request = alert_service_pb2.SnoozeAlertRequest(
        alert_id=alert_id, until_time=stamp(alerting.clock.now() + step)
    )
    await alerting.alerts.SnoozeAlert(request)


def stamp(instant: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(instant)
    return made
