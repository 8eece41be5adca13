"""Which days a change is judged by, and what part of a saving is its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from services.optimizer.domain.comparison import Change, comparison, share_of
from services.optimizer.domain.counterfactual import RealizedSaving
from services.optimizer.domain.finding import Estimate

DAY = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOW = DAY + timedelta(days=60)


def change(days: int, claim: int = 100) -> Change:
    return Change(completed_at=DAY + timedelta(days=days), claim=Decimal(claim))


def days_of(others: list[Change], at: int = 0) -> tuple[int, int, int]:
    """Returns the days learnt from, the days measured, and how many changes fall into both."""
    found = comparison(change(at), others, now=NOW)
    return found.before.duration.days, found.after.duration.days, len(found.inseparable)


def test_a_change_alone_is_judged_by_twelve_weeks_before_and_all_days_since() -> None:
    assert days_of([]) == (84, 59, 0)


def test_the_same_money_is_judged_between_the_changes_before_and_after() -> None:
    assert days_of([change(-30), change(20)]) == (29, 19, 0)
    assert days_of([change(-15), change(8)]) == (14, 7, 0)


def test_what_was_done_too_close_cannot_be_told_apart() -> None:
    assert days_of([change(0), change(-14), change(7)]) == (84, 59, 3)


def test_what_two_changes_saved_at_once_is_shared_by_what_they_claimed() -> None:
    saving = RealizedSaving(
        realized=Estimate(Decimal(80), Decimal(60), Decimal(100)),
        counterfactual=Estimate(Decimal(100), Decimal(80), Decimal(120)),
        actual=Decimal(20),
        volume_effect=0.0,
        price_effect_ratio=0.0,
        error_ratio=0.0,
    )
    first, second = change(0, 300), change(1, 100)

    one = share_of(saving, first, [second])
    other = share_of(saving, second, [first])

    assert one.realized == Estimate(Decimal(60), Decimal(45), Decimal(75))
    assert one.realized.expected + other.realized.expected == saving.realized.expected
    assert one.counterfactual == Estimate(Decimal(80), Decimal(65), Decimal(95))
    assert "shared" in one.model
    assert share_of(saving, first, []) is saving
