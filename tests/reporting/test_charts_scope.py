"""What a budget counts, as a filter over cost."""

from __future__ import annotations

from finops.budget.v1 import budget_model_pb2

from services.reporting.convert.chart_peers import to_cost_filter


def test_a_budgets_scope_is_a_filter_over_cost() -> None:
    scope = budget_model_pb2.BudgetScope(
        department_id="labs", user_id="ada", project='a "b"*', tags={"env": "prod"}
    )
    alone = budget_model_pb2.BudgetScope(department_id="labs", exclude_subdepartments=True)

    assert to_cost_filter(budget_model_pb2.BudgetScope()) == ""
    assert to_cost_filter(alone) == 'department="labs"'
    assert to_cost_filter(scope) == (
        'project = "a \\"b\\"\\*" AND department:"labs" AND user = "ada" AND tags."env" = "prod"'
    )
