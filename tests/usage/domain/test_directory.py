"""Chains of departments and managers end, and lines hold everybody once."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import Error
from services.usage.domain.directory import (
    Department,
    DepartmentCycle,
    Directory,
    HierarchyTooDeep,
    ManagerCycle,
    UnknownDepartment,
    UnknownUser,
    User,
)

COMPANY = Directory(
    [
        Department("company"),
        Department("engineering", "company"),
        Department("platform", "engineering"),
        Department("search", "engineering"),
        Department("sales", "company"),
    ],
    [
        User("ada", "company"),
        User("bob", "engineering", "ada"),
        User("cyd", "platform", "bob"),
        User("dan", "search", "bob"),
        User("eve", "sales", "ada"),
        User("fay"),
    ],
)


def test_a_managers_line_is_everybody_below_them() -> None:
    assert COMPANY.line_of("ada") == ["ada", "bob", "eve", "cyd", "dan"]
    assert COMPANY.line_of("bob") == ["bob", "cyd", "dan"]
    assert COMPANY.line_of("fay") == ["fay"]
    assert COMPANY.managers() == ["ada", "bob"]


def test_a_department_has_a_chain_above_and_a_tree_below() -> None:
    assert COMPANY.department_chain("platform") == ["platform", "engineering", "company"]
    assert COMPANY.department_subtree("engineering") == ["engineering", "platform", "search"]
    assert COMPANY.manager_chain("cyd") == ["bob", "ada"]
    assert COMPANY.manager_chain("stranger") == []
    assert COMPANY.department_of("cyd") == "platform"
    assert COMPANY.department_of("stranger") == ""


@pytest.mark.parametrize(
    ("departments", "users", "error", "reason", "metadata"),
    [
        (
            [Department("a", "b"), Department("b", "a")],
            [],
            DepartmentCycle,
            "DEPARTMENT_CYCLE",
            {"department_id": "a"},
        ),
        ([Department("a", "a")], [], DepartmentCycle, "DEPARTMENT_CYCLE", {"department_id": "a"}),
        (
            [],
            [User("x", "", "y"), User("y", "", "z"), User("z", "", "y")],
            ManagerCycle,
            "MANAGER_CYCLE",
            {"user_id": "y"},
        ),
        (
            [Department("a", "b")],
            [],
            UnknownDepartment,
            "UNKNOWN_DEPARTMENT",
            {"department_id": "b"},
        ),
        ([], [User("x", "b")], UnknownDepartment, "UNKNOWN_DEPARTMENT", {"department_id": "b"}),
        ([], [User("x", "", "y")], UnknownUser, "UNKNOWN_USER", {"user_id": "y"}),
        (
            [],
            [User(str(n), "", str(n + 1) if n < 64 else "") for n in range(65)],
            HierarchyTooDeep,
            "HIERARCHY_TOO_DEEP",
            {"user_id": "0"},
        ),
    ],
)
def test_a_broken_hierarchy_is_refused(
    departments: Sequence[Department],
    users: Sequence[User],
    error: type[Error],
    reason: str,
    metadata: dict[str, str],
) -> None:
    with pytest.raises(error) as refusal:
        Directory(departments, users)

    assert refusal.value.reason == reason
    assert refusal.value.metadata == metadata


def test_a_stranger_has_no_line_and_no_department() -> None:
    with pytest.raises(UnknownUser):
        COMPANY.line_of("stranger")
    with pytest.raises(UnknownDepartment):
        COMPANY.department_subtree("stranger")
    with pytest.raises(UnknownDepartment):
        COMPANY.department_chain("stranger")


@st.composite
def forests(draw: st.DrawFn) -> list[User]:
    size = draw(st.integers(1, 30))
    managers = [draw(st.integers(-1, number - 1)) for number in range(size)]
    return [
        User(f"u{number}", "", f"u{manager}" if manager >= 0 else "")
        for number, manager in enumerate(managers)
    ]


@given(forests(), st.data())
def test_a_line_costs_the_manager_and_the_lines_of_their_reports(
    users: list[User], data: st.DataObject
) -> None:
    directory = Directory([], users)
    cost = {user.user_id: Decimal(data.draw(st.integers(0, 1000))) for user in users}

    def line_cost(manager: str) -> Decimal:
        return sum((cost[user] for user in directory.line_of(manager)), Decimal(0))

    for user in users:
        reports = [each.user_id for each in users if each.manager_id == user.user_id]
        below = sum((line_cost(report) for report in reports), Decimal(0))
        assert line_cost(user.user_id) == cost[user.user_id] + below
        assert all(
            user.user_id in directory.line_of(boss)
            for boss in directory.manager_chain(user.user_id)
        )


@given(forests(), st.data())
def test_closing_a_circle_is_always_found(users: list[User], data: st.DataObject) -> None:
    directory = Directory([], users)
    top = data.draw(st.sampled_from(users))
    below = data.draw(st.sampled_from(directory.line_of(top.user_id)))

    closed = [User(user.user_id, "", below if user is top else user.manager_id) for user in users]

    with pytest.raises(ManagerCycle):
        Directory([], closed)
