"""Charts of cost show exact sums, and every group once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.kernel.money import add_exactly
from services.reporting.domain.chart.bars import BARS_MAX, bars
from services.reporting.domain.chart.canvas import Canvas, Spec
from services.reporting.domain.chart.heatmap import heatmap
from services.reporting.domain.chart.over_time import SERIES_MAX, cost_over_time
from services.reporting.domain.chart.ranking import largest_groups
from services.reporting.domain.chart.rows import CostStep, GroupCost, HourCost, VarianceStep
from services.reporting.domain.chart.theme import LIGHT
from services.reporting.domain.chart.treemap import Box, squarified, treemap
from services.reporting.domain.chart.variance import CHANGES_MAX, variance
from services.reporting.service.charts import money_style
from tests.reporting.domain.chart.samples import (
    DAY,
    START,
    changes,
    days_and_forecast,
    grouped_days,
    groups,
    nested,
)

CANVAS = Canvas(title="Cost", description="Cost", money=money_style("USD"))
AMOUNTS = some.decimals("-1e12", "1e12", places=18)


def rows_of(spec: Spec) -> list[dict[str, Any]]:
    """Returns all rows of a specification, those of its layers too."""
    layers = [layer.get("data", {}).get("values", []) for layer in spec["layer"]]
    return [*spec["data"]["values"], *(row for rows in layers for row in rows)]


def exact_sum(rows: list[dict[str, Any]], field: str = "cost_exact") -> Decimal:
    return add_exactly(Decimal(row[field]) for row in rows if field in row)


@given(
    some.lists(some.tuples(some.sampled_from("abcdefghijklmnopq"), AMOUNTS), max_size=40),
    some.integers(1, 12),
)
def test_the_largest_and_the_rest_add_up(costs: list[tuple[str, Decimal]], most: int) -> None:
    rows = [GroupCost(name, cost) for name, cost in costs]

    found = largest_groups(rows, most)

    assert len(found) == min(most, len({row.name for row in rows}))
    assert add_exactly(row.cost for row in found) == add_exactly(row.cost for row in rows)
    assert sorted(name for row in found for name in row.names) == sorted({r.name for r in rows})


def test_bars_are_the_largest_and_the_exact_rest() -> None:
    rows = [
        GroupCost(f"team {place}", Decimal(f"{place}.000000000000000001")) for place in range(30)
    ]

    shown = rows_of(bars(rows, CANVAS))

    assert len(shown) == BARS_MAX
    assert shown[0]["name"] == "team 29"
    assert shown[-1]["name"] == "Other (21)"
    assert shown[-1]["cost_exact"] == "210.000000000000000021"
    assert shown[-1]["colour"] == LIGHT.rest
    assert exact_sum(shown) == add_exactly(row.cost for row in rows)


def test_a_bar_is_as_long_as_its_cost_and_a_credit_goes_the_other_way() -> None:
    rows = [GroupCost("a", Decimal(40)), GroupCost("b", Decimal(20)), GroupCost("c", Decimal(-20))]

    one, half, credit = rows_of(bars(rows, CANVAS))

    length = one["x1"] - one["x0"]
    assert half["x1"] - half["x0"] == pytest.approx(length / 2)
    assert credit["x1"] == pytest.approx(one["x0"])
    assert credit["x1"] - credit["x0"] == pytest.approx(length / 2)
    assert credit["amount"] == "\N{MINUS SIGN}$20.00"


def test_a_line_is_followed_by_its_forecast_and_bands() -> None:
    rows = days_and_forecast()

    spec = cost_over_time(rows, CANVAS)

    wide, narrow, ahead, known, _ = spec["layer"]
    assert known["data"]["values"][0] == {
        "at": "2026-05-01T00:00:00Z",
        "start": "2026-05-01T00:00:00Z",
        "cost": 900.0,
        "cost_exact": "900",
    }
    assert len(known["data"]["values"]) == 45
    assert ahead["data"]["values"][0]["cost"] == known["data"]["values"][-1]["cost"]
    assert ahead["mark"]["strokeDash"]
    assert wide["encoding"]["y2"] == {"field": "upper_95"}
    assert narrow["encoding"]["y"]["field"] == "lower_80"
    assert "forecast" in " ".join(spec["title"]["subtitle"])


def test_times_are_those_of_the_tenants_clock() -> None:
    canvas = Canvas(
        title="Cost", description="", money=money_style("EUR"), tz=ZoneInfo("Europe/Berlin")
    )
    rows = [CostStep(START - timedelta(hours=2) + DAY * day, Decimal(1)) for day in range(3)]

    first = cost_over_time(rows, canvas)["layer"][0]["data"]["values"][0]

    assert first["at"] == "2026-05-01T00:00:00Z"
    assert first["start"] == "2026-04-30T22:00:00Z"


def test_stacked_groups_have_every_step_and_the_exact_sum() -> None:
    rows = grouped_days()
    # One group begins late, another one has no name.
    rows = [row for row in rows if row.group != "Engineering" or row.start_at > START + DAY * 9]
    rows = [CostStep(row.start_at, row.cost, row.group.replace("Finance", "")) for row in rows]

    shown = rows_of(cost_over_time(rows, CANVAS))

    assert len(shown) == SERIES_MAX * 30
    assert exact_sum(shown) == add_exactly(row.cost for row in rows)
    late = [row["cost_exact"] for row in shown if row["group"] == "Engineering"]
    assert late[:10] == ["0"] * 10


def test_groups_whose_names_are_cut_alike_stay_apart() -> None:
    rows = [CostStep(START, Decimal(place), f"{'x' * 80}{place}") for place in range(1, 5)]

    spec = cost_over_time(rows, CANVAS)

    names = spec["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert len(set(names)) == 4


def test_an_hour_of_a_week_is_the_sum_of_all_weeks() -> None:
    rows = [HourCost(2, 14, Decimal("1.5")), HourCost(2, 14, Decimal("2.25"))]

    spec = heatmap(rows, CANVAS)

    shown = [row for row in spec["data"]["values"] if row["cost"]]
    assert len(spec["data"]["values"]) == 7 * 24
    assert [(row["weekday"], row["hour"], row["cost_exact"]) for row in shown] == [(2, 14, "3.75")]
    assert "Wed 14:00\N{EN DASH}15:00: $3.75" in " ".join(spec["title"]["subtitle"])


@given(some.lists(some.floats(0.001, 1e9), min_size=1, max_size=40))
def test_tiles_fill_their_box_in_proportion(sizes: list[float]) -> None:
    sizes = sorted(sizes, reverse=True)

    boxes = squarified(sizes, Box(10, 20, 400, 300))

    scale = 400 * 300 / sum(sizes)
    assert len(boxes) == len(sizes)
    for size, box in zip(sizes, boxes, strict=True):
        assert box.width * box.height == pytest.approx(size * scale, rel=1e-6, abs=1e-3)
        assert box.x >= 10 - 1e-6
        assert box.y >= 20 - 1e-6
        assert box.x + box.width <= 410 + 1e-3
        assert box.y + box.height <= 320 + 1e-3


def test_tiles_are_nearly_square() -> None:
    # The example of the article that the method is from.
    boxes = squarified([6, 6, 4, 3, 2, 2, 1], Box(0, 0, 6, 4))

    worst = max(max(box.width / box.height, box.height / box.width) for box in boxes)
    assert boxes[0] == Box(0, 0, 3, 2)
    assert worst == pytest.approx(25 / 9, rel=0.01)


@pytest.mark.parametrize("rows", [nested(), groups()])
def test_tiles_add_up(rows: list[GroupCost]) -> None:
    shown = [row for row in rows_of(treemap(rows, CANVAS)) if "cost_exact" in row]

    assert exact_sum(shown) == add_exactly(row.cost for row in rows)


def test_credits_are_told_beside_the_tiles() -> None:
    rows = [GroupCost("a", Decimal(10)), GroupCost("b", Decimal("-2.5"))]

    spec = treemap(rows, CANVAS)

    assert [row["name"] for row in spec["data"]["values"]] == ["a"]
    assert "credits of \N{MINUS SIGN}$2.50" in " ".join(spec["title"]["subtitle"])


def test_a_waterfall_leads_from_one_total_to_the_other() -> None:
    rows = changes()

    shown = [row for row in rows_of(variance(rows, CANVAS)) if "cost_exact" in row]

    first, *steps, last = shown
    assert len(steps) == CHANGES_MAX
    assert steps[-1]["name"] == "Other (4)"
    moved = exact_sum(steps)
    assert Decimal(first["cost_exact"]) + moved == Decimal(last["cost_exact"])
    assert steps[0]["amount"] == "+$5,200"
    assert steps[0]["colour"] == LIGHT.bad
    assert steps[1]["colour"] == LIGHT.accent


def test_small_changes_of_large_totals_are_seen_and_the_cut_is_told() -> None:
    rows = [
        VarianceStep("May", Decimal(1_000_000), "total"),
        VarianceStep("Research", Decimal(2_000)),
        VarianceStep("June", Decimal(1_002_000), "total"),
    ]

    spec = variance(rows, CANVAS)

    change = spec["data"]["values"][1]
    assert change["x1"] - change["x0"] > 0.2 * CANVAS.inner_width
    assert "totals are drawn from $998,000 on" in " ".join(spec["title"]["subtitle"])


def test_large_changes_are_drawn_from_zero() -> None:
    rows = [
        VarianceStep("May", Decimal(100), "total"),
        VarianceStep("Research", Decimal(60)),
        VarianceStep("June", Decimal(160), "total"),
    ]

    spec = variance(rows, CANVAS)

    assert "drawn from" not in " ".join(spec["title"]["subtitle"])
