"""Charts of budgets, recommendations and alerts say what they show."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.reporting.domain.chart.burn_down import burn_down
from services.reporting.domain.chart.canvas import Canvas
from services.reporting.domain.chart.gauge import gauge
from services.reporting.domain.chart.priorities import CHOICES_MAX, nice_step, priorities
from services.reporting.domain.chart.rows import (
    AlertMark,
    BudgetUse,
    BurnStep,
    CostStep,
    SavingChoice,
    from_json,
    to_json,
)
from services.reporting.domain.chart.theme import LIGHT
from services.reporting.domain.chart.timeline import MARKS_MAX, timeline
from services.reporting.service.charts import money_style
from tests.reporting.domain.chart.samples import START, budget, burning, choices, samples

CANVAS = Canvas(title="Budget", description="Budget", money=money_style("USD"))


def words_of(spec: dict[str, Any]) -> str:
    """Returns all that a specification says in words of its own."""
    marks = [str(layer["mark"].get("text", "")) for layer in spec["layer"]]
    return " | ".join([*spec["title"]["subtitle"], *marks]).replace("\N{NO-BREAK SPACE}", " ")


def arcs_of(use: BudgetUse) -> dict[str, dict[str, Any]]:
    """Returns the marks of a ring by what they stand for."""
    layers = gauge([use], CANVAS)["layer"]
    found = [each for each in layers if each["mark"]["type"] == "arc"]
    return {each["data"]["values"][0]["name"]: each["mark"] for each in reversed(found)}


def test_a_ring_is_filled_as_far_as_the_budget_is_spent() -> None:
    use = BudgetUse("Research", Decimal(200), Decimal(100), Decimal(50))

    arcs = arcs_of(use)

    assert arcs["Spent"]["theta"] == pytest.approx(-math.pi / 2)
    assert arcs["Spent"]["theta2"] == pytest.approx(0)
    assert arcs["Held"]["theta"] == pytest.approx(0)
    assert arcs["Held"]["theta2"] == pytest.approx(math.pi / 4)
    assert "75 %" in words_of(gauge([use], CANVAS))


@pytest.mark.parametrize(
    ("spent", "expected", "colour", "said"),
    [
        ("50", "90", LIGHT.accent, "within the limit"),
        ("50", "110", LIGHT.warning, "heading over the limit"),
        ("100", "110", LIGHT.bad, "the limit is reached"),
        ("130.50", "150", LIGHT.bad, "$30 over the limit"),
    ],
)
def test_a_ring_says_in_words_and_colour_how_it_stands(
    spent: str, expected: str, colour: str, said: str
) -> None:
    use = BudgetUse("Research", Decimal(100), Decimal(spent), expected=Decimal(expected))

    assert arcs_of(use)["Spent"]["color"] == colour
    spec = gauge([use], CANVAS)
    assert said in words_of(spec)


def test_a_ring_keeps_exact_amounts() -> None:
    spec = gauge(budget(spent="7843.200000000000000001"), CANVAS)

    spent = spec["layer"][1]["data"]["values"][0]
    assert spent["amount_exact"] == "7843.200000000000000001"
    assert spent["said"] == "Spent: $7,843.20"


def test_a_budget_without_an_amount_is_told() -> None:
    assert "has no amount" in words_of(gauge([BudgetUse("Pilot", Decimal(0), Decimal(3))], CANVAS))


def test_a_burn_down_marks_when_nothing_is_left() -> None:
    spec = burn_down(burning(), CANVAS)

    assert "Runs out 26 May" in words_of(spec)
    assert "80 % interval" in words_of(spec)
    assert "an even pace" in words_of(spec)
    area = next(each for each in spec["layer"] if each["mark"]["type"] == "area")
    first, last = area["data"]["values"]
    assert (first["remaining_exact"], first["lower_exact"]) == ("4800", "4800")
    assert (last["lower_exact"], last["upper_exact"]) == ("-3900", "-1800")


def test_a_budget_without_an_outlook_is_drawn_as_it_is_known() -> None:
    known = [row for row in burning() if row.kind == "actual"]

    spec = burn_down(known, CANVAS)

    assert [each["mark"]["type"] for each in spec["layer"]] == ["rule", "line"]
    assert "Runs out" not in words_of(spec)


def test_what_saves_most_for_least_is_first_and_nothing_hides_another() -> None:
    spec = priorities(choices(), CANVAS)

    points = next(each for each in spec["layer"] if each["mark"]["type"] == "circle")
    values = points["data"]["values"]
    assert len(values) == CHOICES_MAX
    assert values[0]["number"] == "1"
    assert [row["saving"] for row in values] == sorted(
        (row["saving"] for row in values), reverse=True
    )
    places = [(row["x"], row["y"]) for row in values]
    gaps = [math.dist(one, other) for one in places for other in places if one != other]
    assert min(gaps) >= 22
    assert "not shown: 14 more" in words_of(spec)


def test_a_saving_of_nothing_is_no_recommendation() -> None:
    spec = priorities([SavingChoice("Nothing", "low", Decimal(0))], CANVAS)

    assert "no open recommendation" in words_of(spec)


@pytest.mark.parametrize(
    ("least", "step"), [(1.0, 1), (1.1, 2), (2.2, 2.5), (3.0, 5), (5.1, 10), (0.003, 0.005)]
)
def test_a_step_of_an_axis_is_round(least: float, step: float) -> None:
    assert nice_step(least) == pytest.approx(step)


def test_open_alerts_are_filled_and_only_the_latest_are_drawn() -> None:
    rows = [
        AlertMark(START + timedelta(minutes=place), "info", f"alert {place}", place == MARKS_MAX)
        for place in range(MARKS_MAX + 10)
    ]

    spec = timeline(rows, CANVAS)

    values = spec["data"]["values"]
    assert len(values) == MARKS_MAX
    assert [row["name"] for row in values if row["open"]] == [f"alert {MARKS_MAX}"]
    assert f"the latest {MARKS_MAX} of {MARKS_MAX + 10} · {CANVAS.tz.key}" in words_of(spec)


@pytest.mark.parametrize("name", samples())
def test_rows_travel_as_json(name: str) -> None:
    _, rows = samples()[name]

    assert [from_json(type(row), to_json(row)) for row in rows] == rows


def test_rows_keep_all_digits_and_the_instant() -> None:
    row = CostStep(START, Decimal("0.000000000000000001"))

    written = to_json(row)

    assert written["cost"] == "0.000000000000000001"
    assert written["start_at"] == "2026-05-01T00:00:00Z"
    with pytest.raises(KeyError):
        from_json(BurnStep, {"at": written["start_at"], "unknown": 1})
    assert from_json(CostStep, written) == replace(row)
