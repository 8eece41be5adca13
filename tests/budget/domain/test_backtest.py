"""A replay tells each alert once, in order, and never lets a hard limit be passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from services.budget.domain.backtest import Backtest, Replay, ReplayedEvent
from services.budget.domain.calendar import Cadence, PeriodRule
from services.budget.domain.scope import Scope
from services.budget.domain.terms import BudgetTerms, Enforcement, Rollover, Throttle
from services.budget.domain.threshold import Basis, Threshold
from services.kernel.money import Money

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def replay(
    costs: list[tuple[timedelta, str]], end: timedelta = timedelta(days=60), **changed: object
) -> Backtest:
    fields: dict[str, object] = {
        "display_name": "Research",
        "scope": Scope(),
        "rule": PeriodRule(Cadence.MONTHLY),
        "amount": Money("USD", Decimal(100)),
    }
    run = Replay(BudgetTerms(**(fields | changed)))  # type: ignore[arg-type]
    for number, (after, cost) in enumerate(costs):
        run.add(ReplayedEvent(f"e{number}", START + after, Decimal(cost)))
    return run.finish(START + end)


def test_each_threshold_fires_once_in_order_at_its_event() -> None:
    found = replay([(HOUR * number, "10") for number in range(12)])

    assert [(each.event_id, each.threshold.ratio) for each in found.alerts] == [
        ("e4", Decimal("0.5")),
        ("e7", Decimal("0.75")),
        ("e8", Decimal("0.9")),
        ("e9", Decimal(1)),
    ]
    assert found.spent == 120
    assert found.blocked_count == 0


def test_thresholds_fire_anew_in_the_next_period() -> None:
    found = replay([(timedelta(days=1), "60"), (timedelta(days=40), "60")])

    assert [each.event_id for each in found.alerts] == ["e0", "e1"]
    assert [each.period.start.month for each in found.alerts] == [3, 4]
    assert [each.alert_count for each in found.periods] == [1, 1]


def test_a_hard_limit_stops_what_does_not_fit_and_lets_smaller_work_pass() -> None:
    found = replay(
        [(HOUR, "80"), (HOUR * 2, "30"), (HOUR * 3, "20"), (HOUR * 4, "0.01")],
        enforcement=Enforcement.HARD,
    )

    assert [each.event.event_id for each in found.blocks] == ["e1", "e3"]
    assert [each.remaining for each in found.blocks] == [20, 0]
    assert found.blocked_cost == Decimal("30.01")
    assert found.periods[0].totals.spent == 100


def test_a_throttle_lets_its_rate_pass() -> None:
    step = timedelta(seconds=0.1)
    found = replay(
        [(step * number, "1") for number in range(150)],
        enforcement=Enforcement.THROTTLE,
        throttle=Throttle(Decimal("0.9"), Decimal(2)),
    )

    # 90 pass freely, one is let through at once, and two a second of the six seconds left.
    assert found.blocked_count == 150 - 90 - 1 - 11


def test_what_is_left_rolls_into_the_next_replayed_period() -> None:
    found = replay(
        [(HOUR, "40"), (timedelta(days=32), "160")],
        enforcement=Enforcement.HARD,
        rollover=Rollover(is_enabled=True, cap_ratio=Decimal(1)),
    )

    assert found.blocked_count == 0
    assert found.periods[0].rolled_out == 60
    assert found.periods[1].totals.limit == 160


def test_periods_without_usage_are_there_too() -> None:
    found = replay([(HOUR, "1"), (timedelta(days=100), "1")], end=timedelta(days=110))

    assert [each.period.start.month for each in found.periods] == [3, 4, 5, 6]


def test_a_forecast_alert_fires_before_the_money_is_gone() -> None:
    ahead = (Threshold(Decimal(1), Basis.FORECAST),)
    found = replay([(timedelta(days=number), "5") for number in range(20)], thresholds=ahead)

    assert len(found.alerts) == 1
    assert found.alerts[0].event_id == ""
    assert found.alerts[0].spent < 100


@settings(max_examples=60, deadline=None)
@given(costs=st.lists(st.decimals("0.000001", 50, places=6), max_size=60))
def test_a_hard_limit_is_never_passed_in_any_replay(costs: list[Decimal]) -> None:
    found = replay(
        [(HOUR * 30 * number, str(cost)) for number, cost in enumerate(costs)],
        end=timedelta(days=90),
        enforcement=Enforcement.HARD,
    )

    assert all(each.totals.spent <= each.totals.limit for each in found.periods)
    admitted = sum((each.totals.spent for each in found.periods), Decimal(0))
    assert admitted + found.blocked_cost == found.spent == sum(costs, Decimal(0))
