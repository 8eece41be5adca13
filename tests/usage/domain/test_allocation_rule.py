"""Rules refuse what cannot be shared, and circles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest

from services.usage.domain.allocation import (
    allocate,
)
from services.usage.domain.allocation_rule import (
    AllocationCycle,
    AllocationMethod,
    AllocationRule,
    InvalidAllocationRule,
    require_no_cycle,
    rules_in_force,
)
from tests.usage.domain.shared_cost import JUNE, SHARED, by_department, numbers, rule, spend


def test_the_latest_version_in_force_applies() -> None:
    versions = [
        rule(AllocationMethod.DIRECT, "a", version=1),
        rule(AllocationMethod.DIRECT, "b", version=2, effective_start_at=JUNE),
        rule(
            AllocationMethod.DIRECT,
            "c",
            rule_id="q",
            priority=1,
            effective_end_at=JUNE + timedelta(days=1),
        ),
    ]

    def in_force(at: datetime) -> list[tuple[str, int]]:
        return [(each.allocation_rule_id, each.version) for each in rules_in_force(versions, at)]

    assert in_force(JUNE - timedelta(seconds=1)) == [("q", 1), ("r", 1)]
    assert in_force(JUNE) == [("q", 1), ("r", 2)]
    assert in_force(JUNE + timedelta(days=1)) == [("r", 2)]


@pytest.mark.parametrize(
    "circle",
    [
        [rule(AllocationMethod.DIRECT, "shared")],
        [
            rule(AllocationMethod.EVEN, "a", "b", rule_id="1"),
            rule(AllocationMethod.DIRECT, "shared", rule_id="2", source=(("department", "b"),)),
        ],
        [
            rule(AllocationMethod.DIRECT, "p", rule_id="1", target_dimension="project"),
            rule(
                AllocationMethod.DIRECT,
                "x",
                rule_id="2",
                source=(("project", "p"),),
                target_dimension="user",
            ),
            rule(AllocationMethod.DIRECT, "shared", rule_id="3", source=(("user", "x"),)),
        ],
    ],
)
def test_a_circle_of_rules_is_refused(circle: Sequence[AllocationRule]) -> None:
    with pytest.raises(AllocationCycle) as refusal:
        allocate([], [], circle)

    assert refusal.value.reason == "ALLOCATION_CYCLE"
    assert refusal.value.metadata["rules"].split(" -> ")[0] in {"r", "1", "2", "3"}


def test_rules_whose_sources_exclude_each_other_are_no_circle() -> None:
    rules = [
        rule(AllocationMethod.DIRECT, "b", rule_id="1", source=(*SHARED, ("region", "eu"))),
        rule(
            AllocationMethod.DIRECT,
            "shared",
            rule_id="2",
            source=(("department", "b"), ("region", "us")),
        ),
        rule(AllocationMethod.DIRECT, "c", rule_id="3", source=(("department", "b"),)),
        rule(AllocationMethod.DIRECT, "d", rule_id="4", source=(("department", "c"),)),
    ]

    require_no_cycle(rules)

    result = allocate([spend("1", region="eu")], [], rules)
    assert by_department(result) == numbers(d="1")


@pytest.mark.parametrize(
    "make",
    [
        lambda: rule(AllocationMethod.DIRECT),
        lambda: rule(AllocationMethod.DIRECT, "a", "b"),
        lambda: rule(AllocationMethod.EVEN),
        lambda: rule(AllocationMethod.EVEN, "a", "a"),
        lambda: rule(AllocationMethod.EVEN, ""),
        lambda: rule(AllocationMethod.FIXED, ("a", "0")),
        lambda: rule(AllocationMethod.FIXED, ("a", "2"), ("b", "-1")),
        lambda: rule(AllocationMethod.FIXED, ("a", "NaN")),
        lambda: rule(AllocationMethod.PROPORTIONAL_TO_QUANTITY, driver_unit=""),
        lambda: rule(AllocationMethod.DIRECT, "a", source=()),
        lambda: rule(AllocationMethod.DIRECT, "a", source=(("manager", "x"),)),
        lambda: rule(AllocationMethod.DIRECT, "a", source=(("tag:", "x"),)),
        lambda: rule(AllocationMethod.DIRECT, "a", source=(*SHARED, *SHARED)),
        lambda: rule(AllocationMethod.DIRECT, "a", target_dimension="region"),
        lambda: rule(AllocationMethod.DIRECT, "a", target_dimension="tag:"),
        lambda: rule(AllocationMethod.DIRECT, "a", effective_start_at=JUNE, effective_end_at=JUNE),
        lambda: rule(AllocationMethod.EVEN, *map(str, range(1001))),
    ],
)
def test_an_impossible_rule_is_refused(make: Callable[[], AllocationRule]) -> None:
    with pytest.raises(InvalidAllocationRule) as refusal:
        make()

    assert refusal.value.reason == "INVALID_ALLOCATION_RULE"
