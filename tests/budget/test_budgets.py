"""Budgets over a real connection: created, read, changed, listed, ended."""

from __future__ import annotations

from datetime import UTC

import grpc
from finops.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import budget_service_pb2 as messages
from finops.budget.v1 import ledger_service_pb2 as ledger
from finops.common.v1.money_pb2 import Money

from tests.budget.conftest import NOW, Caller
from tests.budget.making import at, budget_of, create, money, status_of, update
from tests.support.server import LocalServer, refused


async def test_a_budget_is_created_with_its_defaults_and_read_back(caller: Caller) -> None:
    made = await create(caller)

    request = messages.GetBudgetRequest(budget_id=made.budget_id)
    found = (await caller.budgets.GetBudget(request)).budget
    assert found == made
    assert found.state == model.BUDGET_STATE_ACTIVE
    assert found.version == 1
    assert [each.threshold_ratio for each in found.thresholds] == ["0.5", "0.75", "0.9", "1"]
    assert found.period_rule.time_zone == "UTC"
    assert found.start_time.ToDatetime().isoformat() == "2026-03-01T00:00:00"


async def test_a_change_makes_a_version_and_the_running_period_takes_its_limit(
    caller: Caller,
) -> None:
    made = await create(caller)

    changed = await update(caller, made, amount=Money(currency_code="USD", amount="250"))

    assert changed.version == 2
    assert changed.etag != made.etag
    status = await status_of(caller, made.budget_id)
    assert status.totals.limit.amount == "250"
    request = ledger.ListBudgetVersionsRequest(budget_id=made.budget_id)
    versions = (await caller.ledger.ListBudgetVersions(request)).versions
    assert [(each.version, each.budget.amount.amount) for each in versions] == [
        (2, "250"),
        (1, "100"),
    ]
    assert versions[1].effective_end_time == versions[0].effective_start_time


async def test_two_people_cannot_overwrite_each_other(caller: Caller) -> None:
    made = await create(caller)
    await update(caller, made, description="first")

    refusal = await refused(update(caller, made, description="second"))

    assert refusal.code is grpc.StatusCode.ABORTED
    assert refusal.reason == "BUDGET_CHANGED"


async def test_only_fields_of_the_mask_change_and_the_rest_stays(caller: Caller) -> None:
    made = await create(caller, labels={"team": "ml"}, description="kept")

    changed = await update(caller, made, mask=["labels"], labels={}, display_name="ignored")

    assert dict(changed.labels) == {}
    assert (changed.display_name, changed.description) == ("Research", "kept")


async def test_an_unknown_path_of_the_mask_is_refused(caller: Caller) -> None:
    made = await create(caller)

    refusal = await refused(update(caller, made, mask=["budget"]))

    assert refusal.reason == "UNKNOWN_MASK_PATH"


async def test_the_scope_of_a_running_period_is_never_swapped_under_it(
    caller: Caller,
) -> None:
    made = await create(caller)

    changed = await update(caller, made, scope=model.BudgetScope(user_id="ada"))
    inside = await refused(
        update(caller, changed, scope=model.BudgetScope(user_id="bob"), effective=at("2026-03-20"))
    )

    now = await caller.budgets.GetBudget(messages.GetBudgetRequest(budget_id=made.budget_id))
    later = await caller.budgets.GetBudget(
        messages.GetBudgetRequest(budget_id=made.budget_id, at_time=at("2026-04-01"))
    )
    assert now.budget.scope.user_id == ""
    assert later.budget.scope.user_id == "ada"
    assert inside.reason == "STRUCTURE_INSIDE_PERIOD"
    assert inside.metadata["next_edge"] == "2026-04-01T00:00:00+00:00"


async def test_a_closed_period_keeps_what_it_ran_under(caller: Caller) -> None:
    made = await create(caller)

    refusal = await refused(update(caller, made, amount=money("9"), effective=at("2026-02-20")))

    assert refusal.reason == "EFFECTIVE_TIME_IN_CLOSED_PERIOD"


async def test_a_budget_keeps_its_currency_and_its_start(caller: Caller) -> None:
    made = await create(caller)

    currency = await refused(update(caller, made, amount=Money(currency_code="EUR", amount="5")))
    start = await refused(update(caller, made, start_time=at("2026-03-10")))

    assert currency.reason == "BUDGET_CURRENCY_FIXED"
    assert start.reason == "BUDGET_START_FIXED"


async def test_a_draft_is_without_effect_until_it_is_activated(caller: Caller) -> None:
    request = messages.CreateBudgetRequest(budget=budget_of(), draft=True)
    draft = (await caller.budgets.CreateBudget(request)).budget
    nothing = await refused(status_of(caller, draft.budget_id))

    activation = messages.ActivateBudgetRequest(budget_id=draft.budget_id, etag=draft.etag)
    active = (await caller.budgets.ActivateBudget(activation)).budget
    twice = await refused(
        caller.budgets.ActivateBudget(messages.ActivateBudgetRequest(budget_id=draft.budget_id))
    )

    assert draft.state == model.BUDGET_STATE_DRAFT
    assert nothing.reason == "NO_PERIOD"
    assert active.state == model.BUDGET_STATE_ACTIVE
    assert (await status_of(caller, draft.budget_id)).totals.limit.amount == "100"
    assert twice.reason == "BUDGET_NOT_DRAFT"


async def test_a_deleted_budget_is_readable_and_changes_no_more(caller: Caller) -> None:
    made = await create(caller)

    request = messages.DeleteBudgetRequest(budget_id=made.budget_id, etag=made.etag)
    await caller.budgets.DeleteBudget(request)
    refusal = await refused(update(caller, made, etag="", description="late"))
    missing = await refused(
        caller.budgets.GetBudget(messages.GetBudgetRequest(budget_id="nowhere"))
    )

    read = messages.GetBudgetRequest(budget_id=made.budget_id)
    found = (await caller.budgets.GetBudget(read)).budget
    assert found.state == model.BUDGET_STATE_ENDED
    assert found.end_time.ToDatetime(tzinfo=UTC) == NOW
    assert refusal.reason == "BUDGET_ENDED"
    assert missing.reason == "BUDGET_NOT_FOUND"


async def test_budgets_are_filtered_ordered_and_paged(caller: Caller) -> None:
    for name, amount, department in (("a", "3", "eng"), ("b", "1", "eng"), ("c", "2", "ops")):
        await create(
            caller,
            display_name=name,
            amount=money(amount),
            scope=model.BudgetScope(department_id=department),
            labels={"owner": name},
        )

    request = messages.ListBudgetsRequest(
        filter='department_id = "eng" AND state = ACTIVE', order_by="amount", page_size=1
    )
    first = await caller.budgets.ListBudgets(request)
    request.page_token = first.next_page_token
    second = await caller.budgets.ListBudgets(request)
    labelled = await caller.budgets.ListBudgets(
        messages.ListBudgetsRequest(filter='labels.owner = "c" AND cadence = MONTHLY')
    )

    assert [each.display_name for each in first.budgets] == ["b"]
    assert [each.display_name for each in second.budgets] == ["a"]
    assert second.next_page_token == ""
    assert [each.display_name for each in labelled.budgets] == ["c"]


async def test_terms_that_contradict_each_other_are_named_by_field(caller: Caller) -> None:
    rule = model.PeriodRule(custom_days=10)
    wrong_rule = await refused(create(caller, period_rule=rule))
    twice = [model.AlertThreshold(threshold_ratio="0.5")] * 2
    wrong_thresholds = await refused(create(caller, thresholds=twice))
    excluded = model.BudgetScope(exclude_subdepartments=True)
    wrong_scope = await refused(create(caller, scope=excluded))
    wrong_zone = await refused(
        create(caller, period_rule=model.PeriodRule(time_zone="Mars/Olympus"))
    )

    assert wrong_rule.fields == ["budget.period_rule"]
    assert wrong_thresholds.fields == ["budget.thresholds"]
    assert wrong_scope.fields == ["budget.scope.exclude_subdepartments"]
    assert wrong_zone.reason == "UNKNOWN_TIME_ZONE"


async def test_an_instant_beyond_the_calendar_is_named_and_refused(caller: Caller) -> None:
    far = at("9999-12-31")
    anchored = await refused(create(caller, period_rule=model.PeriodRule(anchor_time=far)))
    ended = await refused(create(caller, end_time=at("0001-01-02")))
    asked = await refused(status_of(caller, "b1", far))

    assert [*anchored.fields, *ended.fields, *asked.fields] == [
        "anchor_time",
        "end_time",
        "at_time",
    ]


async def test_a_budget_that_is_over_before_it_begins_is_refused(caller: Caller) -> None:
    refusal = await refused(create(caller, end_time=at("2026-03-17")))

    assert refusal.fields == ["budget.end_time"]


async def test_a_budget_names_only_who_can_be_told(caller: Caller) -> None:
    threshold = model.AlertThreshold(threshold_ratio="0.5", channel_ids=["nobody"])
    made = await create(caller)

    by_budget = await refused(create(caller, channel_ids=["nobody"]))
    by_threshold = await refused(create(caller, thresholds=[threshold]))
    by_change = await refused(update(caller, made, channel_ids=["nobody"]))
    policy = await refused(create(caller, escalation_policy_id="none"))

    for refusal in (by_budget, by_threshold, by_change):
        assert (refusal.reason, refusal.metadata) == (
            "CHANNEL_NOT_FOUND",
            {"channel_id": "nobody"},
        )
    assert policy.reason == "ESCALATION_POLICY_NOT_FOUND"


async def test_a_state_that_no_budget_can_have_is_named_with_those_that_are(caller: Caller) -> None:
    request = messages.ListBudgetsRequest(filter="state = RUNNING")

    refusal = await refused(caller.budgets.ListBudgets(request))

    assert "ACTIVE" in refusal.message


async def test_a_budget_that_would_begin_too_long_ago_is_refused(caller: Caller) -> None:
    refusal = await refused(
        create(caller, cadence=model.BUDGET_CADENCE_DAILY, start_time=at("2025-01-01"))
    )

    assert refusal.reason == "TOO_MANY_PAST_PERIODS"


async def test_every_change_is_audited_with_what_it_changed(
    caller: Caller, server: LocalServer
) -> None:
    made = await create(caller)
    await update(caller, made, amount=money("7"), reason="less")

    stub = audit_service_pb2_grpc.AuditServiceStub(
        server.channel("org_admin", tenant=caller.tenant_id)
    )
    answer = await stub.ListAuditEntries(audit_service_pb2.ListAuditEntriesRequest())
    actions = [each.action for each in answer.entries]
    assert sorted(actions) == ["budgets.create", "budgets.update"]
