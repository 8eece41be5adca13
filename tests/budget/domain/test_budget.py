"""A budget through time: versions, increases, periods and what they leave."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.budget.domain.budget import (
    Budget,
    BudgetIncrease,
    BudgetState,
    BudgetVersion,
    IncreaseState,
)
from services.budget.domain.calendar import Cadence, PeriodRule
from services.budget.domain.directory import Directory
from services.budget.domain.scope import Scope, SpendAttributes, spend_keys
from services.budget.domain.terms import BudgetTerms, PlannedPoint, Rollover
from services.budget.service.budget_index import BudgetIndex
from services.budget.store.terms import terms_json, terms_of
from services.kernel.errors import FieldViolations
from services.kernel.money import Money
from services.kernel.period import Period

START = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = BudgetTerms(
    display_name="Research",
    scope=Scope(),
    rule=PeriodRule(Cadence.MONTHLY),
    amount=Money("USD", Decimal(100)),
)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def version(number: int, effective: str, **changed: object) -> BudgetVersion:
    terms = replace(TERMS, **changed)  # type: ignore[arg-type]
    return BudgetVersion(number, terms, day(effective), "ada", day(effective))


def budget(*versions: BudgetVersion, **changed: object) -> Budget:
    fields: dict[str, object] = {
        "tenant_id": "acme",
        "budget_id": "b1",
        "versions": versions or (version(1, "2026-01-01"),),
        "created_by": "ada",
        "created_at": START,
        "started_at": START,
    }
    return Budget(**(fields | changed))  # type: ignore[arg-type]


def amount(text: str) -> Money:
    return Money("USD", Decimal(text))


def test_a_version_of_the_middle_counts_for_its_period_and_those_after() -> None:
    made = budget(version(1, "2026-01-01"), version(2, "2026-02-15", amount=amount("300")))
    january, february = made.period_at(day("2026-01-10")), made.period_at(day("2026-02-10"))
    assert january is not None
    assert february is not None

    assert made.limit_parts(january, day("2026-03-01")).amount == 100
    assert made.limit_parts(february, day("2026-02-14")).amount == 100
    assert made.limit_parts(february, day("2026-02-14")).until == day("2026-02-15")
    assert made.limit_parts(february, day("2026-02-15")).amount == 300
    assert made.limit_parts(february, day("2026-02-15")).until == february.end


def test_another_cadence_cuts_the_period_in_which_it_begins() -> None:
    quarterly = PeriodRule(Cadence.QUARTERLY)
    made = budget(version(1, "2026-01-01"), version(2, "2026-02-01", rule=quarterly))

    assert made.period_at(day("2026-01-31")) == Period(day("2026-01-01"), day("2026-02-01"))
    assert made.period_at(day("2026-02-01")) == Period(day("2026-02-01"), day("2026-04-01"))
    assert made.period_at(day("2026-04-01")) == Period(day("2026-04-01"), day("2026-07-01"))


def test_a_budget_counts_from_its_start_to_its_end_only() -> None:
    made = budget(version(1, "2026-01-10", end_at=day("2026-03-20")), started_at=day("2026-01-10"))

    assert made.period_at(day("2026-01-09")) is None
    assert made.period_at(day("2026-01-10")) == Period(day("2026-01-10"), day("2026-02-01"))
    assert made.period_at(day("2026-03-19")) == Period(day("2026-03-01"), day("2026-03-20"))
    assert made.period_at(day("2026-03-20")) is None
    assert made.state_at(day("2026-01-01")) is BudgetState.SCHEDULED
    assert made.state_at(day("2026-02-01")) is BudgetState.ACTIVE
    assert made.state_at(day("2026-03-20")) is BudgetState.ENDED


def test_increases_add_up_while_they_last() -> None:
    def increase(start: str, end: str, revoked: str = "") -> BudgetIncrease:
        return BudgetIncrease(
            increase_id=start,
            budget_id="b1",
            amount=Decimal(10),
            start_at=day(start),
            end_at=day(end),
            reason="",
            author="ada",
            created_at=START,
            revoked_at=day(revoked) if revoked else None,
        )

    both = increase("2026-01-05", "2026-01-20"), increase("2026-01-10", "2026-02-10", "2026-01-15")
    made = budget(increases=both)
    january = Period(day("2026-01-01"), day("2026-02-01"))

    found = [
        made.limit_parts(january, day(at)).increased
        for at in ("2026-01-04", "2026-01-05", "2026-01-10", "2026-01-15", "2026-01-20")
    ]

    assert found == [0, 10, 20, 10, 0]
    assert made.limit_parts(january, day("2026-01-05")).until == day("2026-01-10")
    assert both[1].state_at(day("2026-01-16")) is IncreaseState.REVOKED
    assert both[0].state_at(day("2026-01-21")) is IncreaseState.EXPIRED
    assert both[0].state_at(day("2026-01-01")) is IncreaseState.SCHEDULED


@pytest.mark.parametrize(
    ("rollover", "left", "carried"),
    [
        (Rollover(), "40", "0"),
        (Rollover(is_enabled=True), "40", "40"),
        (Rollover(is_enabled=True, cap_ratio=Decimal("0.25")), "40", "25"),
        (Rollover(is_enabled=True, cap_amount=Decimal(7)), "40", "7"),
        (Rollover(is_enabled=True), "-5", "0"),
        (Rollover(is_enabled=True, carries_overspend=True), "-5", "-5"),
        (Rollover(carries_overspend=True), "-5", "0"),
    ],
)
def test_what_is_carried_is_capped(rollover: Rollover, left: str, carried: str) -> None:
    assert rollover.carried(Decimal(100), Decimal(left)) == Decimal(carried)


def test_a_scope_is_a_conjunction() -> None:
    directory = Directory(
        parents={"eng": "", "ml": "eng"},
        departments={"ada": "ml"},
        managers={"ada": "grace", "grace": ""},
    )
    spend = directory.completed(
        SpendAttributes(user_id="ada", resource_type="llm", tags=(("env", "prod"), ("x", "1")))
    )

    def covers(**conditions: object) -> bool:
        return Scope(**conditions).covers(spend)  # type: ignore[arg-type]

    assert spend.department_id == "ml"
    assert covers(department_id="eng")
    assert not covers(department_id="eng", is_subtree_excluded=True)
    assert covers(department_id="ml", is_subtree_excluded=True, resource_type="llm")
    assert covers(manager_id="grace", tags=(("env", "prod"),))
    assert covers(manager_id="ada")
    assert not covers(user_id="ada", resource_type="vm")
    assert not covers(tags=(("env", "test"),))


def test_a_directory_that_runs_in_a_circle_ends_the_chain() -> None:
    directory = Directory(parents={"a": "b", "b": "a"})

    assert directory.department_chain("a") == ("a", "b")
    assert directory.department_chain("unknown") == ("unknown",)


names = st.sampled_from(["", "a", "b"])
scopes = st.builds(
    Scope,
    department_id=names,
    user_id=names,
    manager_id=names,
    project=names,
    resource_type=names,
    provider=names,
    tags=st.sampled_from([(), (("k", "a"),), (("k", "a"), ("z", "b"))]),
)
spends = st.builds(
    SpendAttributes,
    user_id=names,
    department_id=names,
    project=names,
    resource_type=names,
    provider=names,
    tags=st.sampled_from([(), (("k", "a"),), (("k", "a"), ("z", "b"))]),
    department_chain=st.sampled_from([(), ("a",), ("a", "b")]),
    manager_chain=st.sampled_from([(), ("a",), ("b", "a")]),
)


@settings(max_examples=300, deadline=None)
@given(found=st.lists(scopes, min_size=1, max_size=6), spend=spends)
def test_the_index_finds_exactly_the_budgets_that_cover(
    found: list[Scope], spend: SpendAttributes
) -> None:
    made = [
        budget(version(1, "2026-01-01", scope=scope), budget_id=f"b{number}")
        for number, scope in enumerate(found)
    ]
    index = BudgetIndex(1, made)

    covering = [each.budget.budget_id for each in index.covering(spend, day("2026-02-02"))]

    assert covering == [f"b{number}" for number, scope in enumerate(found) if scope.covers(spend)]
    assert set(spend_keys(spend)).issuperset(
        next(iter(scope.keys())) for scope in found if scope.covers(spend) and any(scope.keys())
    )


def test_the_index_asks_the_version_of_the_instant() -> None:
    made = budget(version(1, "2026-01-01"), version(2, "2026-02-01", scope=Scope(user_id="ada")))
    index = BudgetIndex(1, [made])
    bob = SpendAttributes(user_id="bob")

    assert len(index.covering(bob, day("2026-01-15"))) == 1
    assert index.covering(bob, day("2026-02-15")) == []
    assert index.covering(bob, day("2026-01-15"))[0].period.end == day("2026-02-01")


def test_terms_are_stored_without_loss() -> None:
    full = replace(
        TERMS,
        scope=Scope(department_id="eng", is_subtree_excluded=True, tags=(("a", "b"),)),
        rule=PeriodRule(Cadence.CUSTOM, "Asia/Kolkata", anchor_at=START, custom_days=9),
        rollover=Rollover(is_enabled=True, cap_amount=Decimal("0.000000000000000001")),
        plan=(PlannedPoint(Decimal("0.5"), Decimal("0.7")),),
        start_at=START,
        end_at=START + timedelta(days=400),
        labels=(("team", "ml"),),
    )

    assert terms_of(terms_json(full)) == full
    assert terms_of(terms_json(TERMS)) == TERMS


def test_terms_that_cannot_hold_are_refused() -> None:
    falling = (PlannedPoint(Decimal("0.5"), Decimal(1)), PlannedPoint(Decimal(1), Decimal("0.2")))
    for wrong in (
        {"amount": amount("0")},
        {"amount": amount("1000000000000000000")},
        {"plan": falling},
        {"start_at": START, "end_at": START},
        {"display_name": ""},
    ):
        with pytest.raises(FieldViolations):
            replace(TERMS, **wrong)
