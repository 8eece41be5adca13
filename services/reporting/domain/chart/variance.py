"""The way from one amount to another, step by step: a waterfall, from above to below."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from services.kernel.money import EXACT, add_exactly
from services.reporting.domain.chart.amounts import with_sign
from services.reporting.domain.chart.bar_rows import BarRow, bar_rows
from services.reporting.domain.chart.canvas import Canvas, Spec, empty
from services.reporting.domain.chart.rows import VarianceStep

CHANGES_MAX: Final = 9
# Where changes reach less far than this share of the totals, the totals are cut to show them.
_SEEN: Final = Decimal("0.2")


def variance(rows: Sequence[VarianceStep], canvas: Canvas) -> Spec:
    """Returns a waterfall. rows: a total, changes, and the total they lead to.

    The smallest changes are added up beyond CHANGES_MAX. A total is where the changes before it
    lead, whatever it says, so that no step is out of thin air.
    """
    steps = _few(rows)
    if not any(step.amount for step in steps):
        return empty(canvas, "There is no cost to compare in these periods.")
    placed: list[tuple[VarianceStep, Decimal, Decimal]] = []
    at = Decimal(0)
    for step in steps:
        if step.kind == "total":
            at = step.amount
            placed.append((step, Decimal(0), at))
        else:
            after = EXACT.add(at, step.amount)
            placed.append((step, at, after))
            at = after
    origin = _origin(placed)
    if origin:
        start = canvas.money.labels([origin])(origin)
        note = f"totals are drawn from {start} on"
        canvas = canvas.noted(note)
    labels = canvas.money.labels(step.amount for step in steps)
    bars = [
        BarRow(
            name=step.name,
            begin=origin if step.kind == "total" else begin,
            end=end,
            amount=step.amount,
            text=(
                labels(step.amount)
                if step.kind == "total"
                else with_sign(labels(step.amount), step.amount)
            ),
            note="",
            colour=_colour(step, canvas),
        )
        for step, begin, end in placed
    ]
    return bar_rows(bars, canvas, origin=origin, is_linked=True)


def _few(rows: Sequence[VarianceStep]) -> list[VarianceStep]:
    changes = [row for row in rows if row.kind != "total"]
    if len(changes) <= CHANGES_MAX:
        return list(rows)
    ranked = sorted(changes, key=lambda row: -abs(row.amount))
    kept, rest = ranked[: CHANGES_MAX - 1], ranked[CHANGES_MAX - 1 :]
    left = add_exactly(row.amount for row in rest)
    other = VarianceStep(f"Other ({len(rest):,})", left)
    last = rows[-1:] if rows[-1].kind == "total" else []
    first = [row for row in rows[: len(rows) - len(last)] if row.kind == "total" or row in kept]
    return [*first, other, *last]


def _origin(placed: Sequence[tuple[VarianceStep, Decimal, Decimal]]) -> Decimal:
    """Returns where the picture begins: at zero unless the changes would be too small to see."""
    reached = [end for _, _, end in placed]
    low, high = min(reached), max(reached)
    if low <= 0 or not high or EXACT.divide(high - low, high) >= _SEEN:
        return Decimal(0)
    # The changes take half of the width; a round number below, to the digit of the changes.
    span = max(high - low, EXACT.divide(high, 1_000))
    quantum = Decimal(1).scaleb(span.adjusted())
    steps = EXACT.divide_int(max(low - span, Decimal(0)), quantum)
    return EXACT.multiply(steps, quantum)


def _colour(step: VarianceStep, canvas: Canvas) -> str:
    if step.kind == "total":
        return canvas.theme.rest
    return canvas.theme.bad if step.amount > 0 else canvas.theme.accent
