"""Shared cost moves to those who caused it, and not a digit is lost."""

from __future__ import annotations

from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.money import add_exactly
from services.usage.domain import allocation
from services.usage.domain.allocation import (
    AllocatedCost,
    AllocationTooLarge,
    AppliedRule,
    CostCell,
    QuantityDriver,
    allocate,
)
from services.usage.domain.allocation_rule import (
    AllocationMethod,
    AllocationRule,
)
from services.usage.domain.dimension import value_of
from tests.support.shared import shared_path
from tests.usage.domain.shared_cost import by_department, numbers, rule, spend, used


def test_direct_allocation_moves_all_to_one() -> None:
    result = allocate([spend("10"), spend("5", "a")], [], [rule(AllocationMethod.DIRECT, "a")])

    assert by_department(result) == numbers(a="15")
    moved = [cost for cost in result.costs if cost.rules]
    assert moved == [
        AllocatedCost(
            spend("0", "a").attributes,
            (AppliedRule("r", 1, "department", is_distributed=True),),
            Decimal(10),
        )
    ]


def test_an_even_split_gives_the_last_digits_to_the_first_in_order() -> None:
    result = allocate([spend("1")], [], [rule(AllocationMethod.EVEN, "c", "a", "b")])

    third = "0.333333333333333333"
    assert by_department(result) == numbers(a="0.333333333333333334", b=third, c=third)


def test_fixed_weights_may_leave_a_share_at_the_source() -> None:
    fixed = rule(AllocationMethod.FIXED, ("shared", "20"), ("a", "80"), ("b", "0"))

    result = allocate([spend("10")], [], [fixed])

    assert by_department(result) == numbers(shared="2", a="8")


def test_shares_follow_the_targets_own_cost_in_the_same_currency() -> None:
    cells = [
        spend("9"),
        spend("4", currency_code="EUR"),
        spend("1", "a"),
        spend("2", "b"),
        spend("-5", "c"),
        spend("7", "b", currency_code="EUR"),
    ]

    result = allocate(cells, [], [rule(AllocationMethod.PROPORTIONAL_TO_COST)])

    shares = [(line.target, line.currency_code, line.weight, line.amount) for line in result.lines]
    assert shares == [
        ("b", "EUR", Decimal(7), Decimal(4)),
        ("a", "USD", Decimal(1), Decimal(3)),
        ("b", "USD", Decimal(2), Decimal(6)),
    ]


def test_shares_follow_the_quantity_of_the_drivers_kind() -> None:
    drivers = [
        used("30", "a"),
        used("10", "b"),
        used("1000", "b", resource_type="vm"),
        used("1000", "b", unit="image"),
        used("1000", ""),
        used("1000", "shared"),
    ]

    result = allocate([spend("8")], drivers, [rule(AllocationMethod.PROPORTIONAL_TO_QUANTITY)])

    assert by_department(result) == numbers(a="6", b="2")


def test_named_targets_confine_a_proportional_split() -> None:
    proportional = rule(AllocationMethod.PROPORTIONAL_TO_QUANTITY, "a", "c")

    result = allocate([spend("8")], [used("30", "a"), used("10", "b")], [proportional])

    assert by_department(result) == numbers(a="8")


def test_cost_without_a_driver_stays_and_says_so() -> None:
    result = allocate([spend("8")], [], [rule(AllocationMethod.PROPORTIONAL_TO_QUANTITY)])

    assert result.costs == (
        AllocatedCost(
            *spend("8")[:1], (AppliedRule("r", 1, "department", is_distributed=False),), Decimal(8)
        ),
    )
    assert [(line.target, line.weight, line.amount) for line in result.lines] == [
        ("", Decimal(0), Decimal(8))
    ]


def test_a_later_rule_shares_what_an_earlier_one_moved_to_its_source() -> None:
    first = rule(AllocationMethod.FIXED, ("platform", "1"), ("a", "1"), rule_id="1", priority=1)
    second = rule(
        AllocationMethod.EVEN,
        "a",
        "b",
        rule_id="2",
        priority=2,
        source=(("department", "platform"),),
        version=3,
    )

    result = allocate([spend("8")], [], [second, first])

    assert by_department(result) == numbers(a="6", b="2")
    trails = {
        tuple((step.allocation_rule_id, step.version) for step in cost.rules)
        for cost in result.costs
    }
    assert trails == {(("1", 1),), (("1", 1), ("2", 3))}


def test_a_rule_does_not_split_anew_what_another_has_placed_along_its_dimension() -> None:
    by_service = (("service", "S"),)
    first = rule(AllocationMethod.DIRECT, "a", rule_id="1", source=by_service)
    again = rule(AllocationMethod.DIRECT, "b", rule_id="2", source=by_service)
    project = rule(
        AllocationMethod.DIRECT, "p", rule_id="3", source=by_service, target_dimension="project"
    )

    result = allocate([spend("8", service="S")], [], [first, again, project])

    (cost,) = result.costs
    assert (cost.attributes.department, cost.attributes.project) == ("a", "p")


def test_a_pool_that_gave_its_cost_away_gets_nothing_back() -> None:
    by_tokens = AllocationMethod.PROPORTIONAL_TO_QUANTITY
    security = rule(by_tokens, rule_id="2", source=(("department", "security"),))
    drivers = [used("1", name) for name in ("shared", "security", "a", "b")]

    result = allocate(
        [spend("3"), spend("5", "security")], drivers, [rule(by_tokens, rule_id="1"), security]
    )

    # 3 goes in thirds to a, b and security; then 6 in halves to a and b.
    assert by_department(result) == numbers(a="4", b="4")


def test_untagged_cost_is_moved_to_a_tag() -> None:
    to_team = rule(
        AllocationMethod.DIRECT, "x", source=(("tag:team", ""),), target_dimension="tag:team"
    )

    result = allocate([spend("1", tags=(("env", "dev"),))], [], [to_team])

    assert result.costs[0].attributes.tags == (("env", "dev"), ("team", "x"))
    assert value_of(result.costs[0].attributes, "tag:team") == "x"


def test_a_result_beyond_its_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "ALLOCATED_MAX", 2)

    with pytest.raises(AllocationTooLarge) as refusal:
        allocate([spend("1")], [], [rule(AllocationMethod.EVEN, "a", "b", "c")])

    assert refusal.value.reason == "ALLOCATION_TOO_LARGE"


def test_a_shared_bill_is_split_over_real_tenants_to_the_last_digit() -> None:
    tables = [
        pq.read_table(
            shared_path("llm_tenants", f"servegen_language_m_small_{name}.parquet")
        ).to_pylist()
        for name in ("rates", "tokens")
    ]
    six_hours = 6 * 3600
    mean_tokens = {
        (row["client_id"], row["window_start_s"] // six_hours): Decimal(
            str(row["input_tokens_mean"])
        )
        + Decimal(str(row["output_tokens_mean"]))
        for row in tables[1]
    }
    # Clients whose token counts were not published are counted at a thousand a request.
    drivers = [
        used(
            str(
                round(
                    Decimal(str(row["request_rate_per_s"]))
                    * 600
                    * mean_tokens.get(
                        (row["client_id"], row["window_start_s"] // six_hours), Decimal(1000)
                    ),
                    6,
                )
            ),
            f"tenant-{row['client_id']}",
        )
        for row in tables[0]
    ]
    bill = [spend("1234567.890123456789012345"), spend("0.000000000000000001", region="eu")]

    result = allocate(bill, drivers, [rule(AllocationMethod.PROPORTIONAL_TO_QUANTITY)])

    shares = by_department(result)
    assert len([share for share in shares.values() if share > 0]) == 43
    assert min(shares.values()) > 0
    assert add_exactly(shares.values()) == Decimal("1234567.890123456789012346")
    assert (
        allocate(
            reversed(bill), reversed(drivers), [rule(AllocationMethod.PROPORTIONAL_TO_QUANTITY)]
        )
        == result
    )


AMOUNTS = st.decimals(-(10**6), 10**6, places=18)
NAMES = ("shared", "platform", "a", "b", "")
CELLS = st.lists(
    st.builds(
        lambda amount, department, currency: spend(str(amount), department, currency_code=currency),
        AMOUNTS,
        st.sampled_from(NAMES),
        st.sampled_from(["USD", "EUR"]),
    ),
    max_size=6,
)
DRIVERS = st.lists(
    st.builds(
        lambda quantity, department: used(str(quantity), department),
        st.decimals(0, 10**9, places=6),
        st.sampled_from(NAMES),
    ),
    max_size=6,
)
RULES = st.lists(
    st.tuples(
        st.sampled_from(list(AllocationMethod)),
        st.sampled_from(["shared", "platform"]),
        st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2, unique=True),
    ),
    max_size=3,
).map(
    lambda drawn: [
        rule(
            method,
            *(targets[:1] if method is AllocationMethod.DIRECT else targets),
            rule_id=str(number),
            source=(("department", source),),
        )
        for number, (method, source, targets) in enumerate(drawn)
    ]
)


@given(CELLS, DRIVERS, RULES)
def test_allocation_conserves_every_currency(
    cells: list[CostCell], drivers: list[QuantityDriver], rules: list[AllocationRule]
) -> None:
    result = allocate(cells, drivers, rules)

    for currency in ("USD", "EUR"):
        before = [c.amount for c in cells if c.attributes.currency_code == currency]
        after = [c.amount for c in result.costs if c.attributes.currency_code == currency]
        assert add_exactly(before) == add_exactly(after)


@given(CELLS, DRIVERS, RULES)
def test_positive_cost_never_becomes_negative(
    cells: list[CostCell], drivers: list[QuantityDriver], rules: list[AllocationRule]
) -> None:
    positive = [cell._replace(amount=abs(cell.amount)) for cell in cells]

    result = allocate(positive, drivers, rules)

    assert all(cost.amount >= 0 for cost in result.costs)


@given(CELLS, DRIVERS, RULES, st.data())
def test_the_order_of_input_does_not_matter(
    cells: list[CostCell],
    drivers: list[QuantityDriver],
    rules: list[AllocationRule],
    data: st.DataObject,
) -> None:
    shuffled = allocate(
        data.draw(st.permutations(cells)),
        data.draw(st.permutations(drivers)),
        data.draw(st.permutations(rules)),
    )

    assert shuffled == allocate(cells, drivers, rules)


@given(AMOUNTS, st.integers(2, 9))
def test_ties_go_to_the_same_targets_every_time(amount: Decimal, count: int) -> None:
    names = [f"t{number}" for number in range(count)]

    shares = by_department(
        allocate([spend(str(amount))], [], [rule(AllocationMethod.EVEN, *reversed(names))])
    )

    sizes = [abs(shares[name]) for name in names]
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= Decimal("0.000000000000000001")
