"""Joint savings count overlaps once and never pass what is spent."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from services.optimizer.domain.finding import Estimate, Kind, Part
from services.optimizer.domain.portfolio import Advice, joint_saving, largest_parts, overlaps

AMOUNTS = st.decimals("0.01", "10000", places=2)


@st.composite
def portfolios(draw: st.DrawFn) -> list[Advice]:
    costs = {number: draw(AMOUNTS) for number in range(draw(st.integers(1, 6)))}
    found = []
    for index in range(draw(st.integers(0, 12))):
        ids = draw(st.sets(st.sampled_from(sorted(costs)), min_size=1))
        parts = [Part(number, costs[number]) for number in sorted(ids)]
        cost = sum((part.monthly_cost for part in parts), Decimal(0))
        low, middle, high = sorted(draw(st.tuples(*[st.decimals("0", "1", places=3)] * 3)))
        saving = Estimate(cost * middle, cost * low, cost * high)
        kind = draw(st.sampled_from(list(Kind)))
        advice = Advice(recommendation_id=f"r{index}", kind=kind, saving=saving, parts=parts)
        found.append(advice)
    return found


@given(portfolios())
@settings(max_examples=300)
def test_no_portfolio_saves_more_than_the_spend_it_touches(advice: list[Advice]) -> None:
    found = joint_saving(advice)

    touched = sum(largest_parts(advice).values(), Decimal(0))
    assert found.baseline == touched
    assert 0 <= found.saving.lower <= found.saving.expected <= found.saving.upper <= touched
    assert found.saving.expected <= found.separate
    marginal = sum((share.marginal.expected for share in found.shares), Decimal(0))
    assert marginal == found.saving.expected
    assert all(share.marginal.expected >= 0 for share in found.shares)


@given(portfolios(), st.dictionaries(st.integers(0, 6), AMOUNTS))
def test_no_portfolio_saves_more_than_another_baseline(
    advice: list[Advice], baseline: dict[int, Decimal]
) -> None:
    found = joint_saving(advice, baseline)

    assert 0 <= found.saving.upper <= sum(baseline.values(), Decimal(0))


def test_advice_that_excludes_each_other_is_taken_once_and_the_rest_multiplies() -> None:
    def advice(name: str, kind: Kind, amount: str) -> Advice:
        saving = Estimate(*(Decimal(amount),) * 3)
        return Advice(
            recommendation_id=name, kind=kind, saving=saving, parts=[Part(1, Decimal(100))]
        )

    found = joint_saving(
        [
            advice("size", Kind.RIGHTSIZING, "50"),
            advice("stop", Kind.IDLE_RESOURCE, "100"),
            advice("night", Kind.SHUTDOWN, "40"),
        ]
    )

    assert found.conflicts == [("size", "stop")]
    assert [share.marginal.expected for share in found.shares] == [50, 0, 20]
    assert found.saving.expected == 70
    assert found.separate == 190
    assert overlaps([advice("a", Kind.CACHING, "1"), advice("b", Kind.CARBON, "1")]) == {
        "a": ["b"],
        "b": ["a"],
    }
