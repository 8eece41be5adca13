"""`finops budgets` asks what its options say, and shows what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable

import grpc
import pytest
from finops.budget.v1 import backtest_messages_pb2, budget_service_pb2
from finops.budget.v1 import budget_model_pb2 as model
from finops.budget.v1 import budget_status_model_pb2 as status_model
from finops.common.v1.money_pb2 import Money

from tests.cli import conftest
from tests.cli.conftest import Refusal, Result, Suite

Finops = Callable[..., Result]
BUDGET = "/finops.budget.v1.BudgetService"
REQUESTS = {
    "CreateBudget": budget_service_pb2.CreateBudgetRequest,
    "ListBudgets": budget_service_pb2.ListBudgetsRequest,
    "ListBudgetStatuses": budget_service_pb2.ListBudgetStatusesRequest,
    "GetBudgetStatus": budget_service_pb2.GetBudgetStatusRequest,
    "UpdateBudget": budget_service_pb2.UpdateBudgetRequest,
    "DeleteBudget": budget_service_pb2.DeleteBudgetRequest,
    "BacktestBudget": backtest_messages_pb2.BacktestBudgetRequest,
}


@pytest.fixture(autouse=True)
def known_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in REQUESTS.items():
        monkeypatch.setitem(conftest.REQUESTS, f"{BUDGET}/{name}", kind)


def stored() -> model.Budget:
    return model.Budget(
        budget_id="b1",
        display_name="Research",
        scope=model.BudgetScope(department_id="research", tags={"env": "prod"}),
        cadence=model.BUDGET_CADENCE_MONTHLY,
        amount=Money(currency_code="EUR", amount="1200.5"),
        enforcement=model.BUDGET_ENFORCEMENT_HARD,
        state=model.BUDGET_STATE_ACTIVE,
        thresholds=[model.AlertThreshold(threshold_ratio="0.875")],
    )


def test_create_says_scope_limit_and_period(finops: Finops, suite: Suite) -> None:
    suite.answers[f"{BUDGET}/CreateBudget"] = budget_service_pb2.CreateBudgetResponse(
        budget=stored()
    )

    result = finops(
        *("budgets", "create", "Research", "--amount", "1200.5 EUR", "--every", "weekly"),
        *("--at-limit", "hard", "--department", "research", "--tag", "env=prod"),
        *("--threshold", "0.875", "--rollover", "--tenant", "acme"),
    )

    assert result.code == 0
    request = suite.requests[-1]
    assert isinstance(request, budget_service_pb2.CreateBudgetRequest)
    assert request.tenant_id == "acme"
    assert request.budget.amount == Money(currency_code="EUR", amount="1200.5")
    assert request.budget.cadence == model.BUDGET_CADENCE_WEEKLY
    assert request.budget.enforcement == model.BUDGET_ENFORCEMENT_HARD
    assert dict(request.budget.scope.tags) == {"env": "prod"}
    assert request.budget.rollover.enabled
    assert "1,200.5 EUR" in result.out
    assert "87.5 %" in result.out
    assert "department_id=research tags.env=prod" in result.out


@pytest.mark.parametrize("wrong", [("--amount", "much"), ("--amount", "1", "--tag", "env")])
def test_what_is_no_amount_or_tag_is_refused_before_any_call(
    finops: Finops, suite: Suite, wrong: tuple[str, ...]
) -> None:
    result = finops("budgets", "create", "x", *wrong, "--tenant", "acme")

    assert result.code == 2
    assert suite.requests == []


def test_list_shows_every_page(finops: Finops, suite: Suite) -> None:
    def page(
        request: budget_service_pb2.ListBudgetsRequest,
    ) -> budget_service_pb2.ListBudgetsResponse:
        token = "" if request.page_token else "2"
        return budget_service_pb2.ListBudgetsResponse(budgets=[stored()], next_page_token=token)

    suite.answers[f"{BUDGET}/ListBudgets"] = page

    result = finops("budgets", "list", "--tenant", "acme", "--format", "json")

    assert [each["budgetId"] for each in json.loads(result.out)] == ["b1", "b1"]


def test_status_tells_what_is_left_and_what_is_expected(finops: Finops, suite: Suite) -> None:
    def dollars(amount: str) -> Money:
        return Money(currency_code="USD", amount=amount)

    status = status_model.BudgetStatus(
        budget_id="b1",
        display_name="Research",
        totals=status_model.BudgetTotals(
            limit=dollars("100"),
            spent=dollars("25.0000001"),
            held=dollars("0"),
            remaining=dollars("74.9999999"),
            utilization_ratio="0.25",
        ),
        burn_rate=status_model.BurnRate(week=dollars("3")),
        forecast=status_model.BudgetForecast(
            method=status_model.TREND_METHOD_SEASONAL, breach_probability_ratio="0.125"
        ),
    )
    suite.answers[f"{BUDGET}/GetBudgetStatus"] = budget_service_pb2.GetBudgetStatusResponse(
        budget_status=status
    )
    suite.answers[f"{BUDGET}/ListBudgetStatuses"] = budget_service_pb2.ListBudgetStatusesResponse(
        statuses=[status]
    )

    one = finops("budgets", "status", "b1", "--tenant", "acme")
    all_of_them = finops("budgets", "status", "--tenant", "acme", "--format", "csv")

    assert "25 USD (25 %)" in one.out
    assert "seasonal" in one.out
    assert "12.5 % likely" in one.out
    assert all_of_them.out.splitlines()[1].startswith("b1,Research,100 USD")


def test_update_and_delete_name_the_budget(finops: Finops, suite: Suite) -> None:
    suite.answers[f"{BUDGET}/UpdateBudget"] = budget_service_pb2.UpdateBudgetResponse(
        budget=stored()
    )
    suite.answers[f"{BUDGET}/DeleteBudget"] = budget_service_pb2.DeleteBudgetResponse()

    updated = finops("budgets", "update", "b1", "--amount", "5", "--tenant", "acme")
    deleted = finops("budgets", "delete", "b1", "--tenant", "acme")

    update, deletion = suite.requests
    assert (updated.code, deleted.code) == (0, 0)
    assert isinstance(update, budget_service_pb2.UpdateBudgetRequest)
    assert update.budget.amount == Money(currency_code="USD", amount="5")
    assert isinstance(deletion, budget_service_pb2.DeleteBudgetRequest)
    assert deletion.budget_id == "b1"


def test_a_backtest_of_nothing_stored_is_of_a_hard_monthly_budget(
    finops: Finops, suite: Suite
) -> None:
    alert = backtest_messages_pb2.BacktestAlert(
        threshold=model.AlertThreshold(threshold_ratio="0.5"), usage_event_id="e7"
    )
    suite.answers[f"{BUDGET}/BacktestBudget"] = backtest_messages_pb2.BacktestBudgetResponse(
        event_count=9, alerts=[alert]
    )

    result = finops("budgets", "backtest", "--amount", "5", "--tenant", "acme")

    request = suite.requests[-1]
    assert isinstance(request, backtest_messages_pb2.BacktestBudgetRequest)
    assert request.budget.enforcement == model.BUDGET_ENFORCEMENT_HARD
    assert request.budget.cadence == model.BUDGET_CADENCE_MONTHLY
    assert "e7" in result.out


def test_a_refusal_is_told_in_the_services_words(finops: Finops, suite: Suite) -> None:
    suite.answers[f"{BUDGET}/DeleteBudget"] = Refusal(
        grpc.StatusCode.NOT_FOUND, "No budget with this id exists for the tenant."
    )

    result = finops("budgets", "delete", "b9", "--tenant", "acme")

    assert result.code == 1
    assert "No budget with this id exists" in result.err


def test_amounts_and_shares_are_taken_as_people_write_them(finops: Finops, suite: Suite) -> None:
    suite.answers[f"{BUDGET}/CreateBudget"] = budget_service_pb2.CreateBudgetResponse(
        budget=stored()
    )

    finops(
        *("budgets", "create", "B", "--amount", "1e3", "--tenant", "acme"),
        *("--threshold", "80%", "--threshold", "1.5"),
    )

    asked = suite.requests[-1]
    assert isinstance(asked, budget_service_pb2.CreateBudgetRequest)
    assert asked.budget.amount == Money(currency_code="USD", amount="1000")
    assert [each.threshold_ratio for each in asked.budget.thresholds] == ["0.8", "1.5"]


@pytest.mark.parametrize("share", ["0", "80", "x", "-1", "1100%"])
def test_a_share_of_nothing_or_too_much_says_how_to_write_one(finops: Finops, share: str) -> None:
    result = finops("budgets", "create", "B", "--amount", "1", f"--threshold={share}")

    assert result.code == 2
    assert "0.8 or 80%" in result.err


def test_a_change_of_nothing_is_not_sent(finops: Finops, suite: Suite) -> None:
    result = finops("budgets", "update", "b1")

    assert result.code == 2
    assert "nothing to change" in result.err
    assert suite.requests == []
