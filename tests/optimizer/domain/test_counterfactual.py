"""Realized savings against simulated interventions of known size."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from services.optimizer.domain.counterfactual import DayUse, measure
from services.optimizer.domain.finding import Estimate
from services.optimizer.domain.lifecycle import Verdict, verdict_of

CASES = 500
BEFORE, AFTER = 56, 28


def world(
    draw: np.random.Generator,
) -> tuple[list[DayUse], list[DayUse], Decimal]:
    """Returns days before and after an intervention, and what it truly saved.

    Seasonality over the week, growth in volume, price changes, noise with memory, and a size of 0
    to 60 %.
    """
    days = BEFORE + AFTER
    season = np.exp(draw.normal(0, draw.uniform(0.05, 0.4), 7))
    growth = np.exp(draw.normal(0, 0.004) * np.arange(days))
    jumps = np.exp(draw.normal(0, 0.02, days))
    volume = draw.uniform(50, 5000) * growth * jumps
    price = np.ones(days)
    for _ in range(draw.integers(0, 3)):
        price[draw.integers(5, days) :] *= draw.uniform(0.7, 1.3)
    memory, spread = draw.uniform(0, 0.6), draw.uniform(0.02, 0.12)
    noise = np.zeros(days)
    for day in range(1, days):
        noise[day] = memory * noise[day - 1] + spread * draw.standard_normal()
    weekday = np.arange(days) % 7
    plain = volume * season[weekday] * price * np.exp(noise)
    size = draw.uniform(0, 0.6)
    cost = plain.copy()
    cost[BEFORE:] *= 1 - size
    found = [
        DayUse(
            Decimal(str(round(float(cost[day]), 6))),
            float(volume[day] / volume[0]),
            float(price[day] / price[0]),
            int(weekday[day]),
        )
        for day in range(days)
    ]
    truth = Decimal(str(round(float(plain[BEFORE:].sum() * size), 6)))
    return found[:BEFORE], found[BEFORE:], truth


def test_the_interval_holds_the_truth_in_85_to_95_of_100_cases() -> None:
    draw = np.random.default_rng(7)
    covered = 0
    errors = []

    for _ in range(CASES):
        before, after, truth = world(draw)
        found = measure(before, after)
        assert found is not None
        covered += found.realized.lower <= truth <= found.realized.upper
        errors.append(abs(float((found.realized.expected - truth) / (found.actual + truth))))

    share = covered / CASES
    print(f"{share:.1%} of {CASES} intervals hold the truth, median error {np.median(errors):.2%}")  # noqa: T201
    assert 0.85 <= share <= 0.95


def test_growth_and_price_are_taken_out_of_the_comparison() -> None:
    def day(number: int, cost: str, volume: float, price: float) -> DayUse:
        return DayUse(Decimal(cost), volume, price, number % 7)

    before = [day(number, "100", 1.0, 1.0) for number in range(28)]
    after = [day(number, "120", 2.0, 1.2) for number in range(28, 42)]

    found = measure(before, after)

    # 240 a day would have been paid; 120 were.
    assert found is not None
    assert abs(found.realized.expected - 14 * 120) < 40
    assert round(found.volume_effect, 6) == 1.0
    assert round(found.price_effect_ratio, 6) == 0.2
    assert measure(before[:10], after) is None
    assert measure(before, after[:6]) is None


def test_a_verdict_needs_the_interval_not_the_mean() -> None:
    claim = Estimate(Decimal(100), Decimal(80), Decimal(120))

    def verdict(expected: int, lower: int, upper: int) -> Verdict:
        return verdict_of(Estimate(Decimal(expected), Decimal(lower), Decimal(upper)), claim)

    assert verdict(90, 10, 170) is Verdict.VERIFIED
    assert verdict(-5, -20, -1) is Verdict.REFUTED
    assert verdict(2, -20, 30) is Verdict.REFUTED
    assert verdict(60, -5, 125) is Verdict.INCONCLUSIVE
