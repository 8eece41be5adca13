"""Says in up to five sentences what matters on a dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from services.reporting.domain.anomaly.anomaly import Anomaly
from services.reporting.domain.budgets import BudgetState
from services.reporting.domain.dashboard.dashboard import AlertGlance, CostDriver, Summary, ratio

SENTENCES_MAX: Final = 5
# A change of less is as usual.
CHANGE_MIN: Final = Decimal("0.01")
# A budget that is passed so probably is worth a sentence.
BREACH_MIN: Final = Decimal("0.5")
CENT: Final = Decimal("0.01")


def highlights(
    summary: Summary,
    *,
    currency_code: str,
    movers: Sequence[CostDriver],
    budgets: Sequence[BudgetState],
    alerts: Sequence[AlertGlance],
    anomalies: Sequence[Anomaly],
    potential_saving: Decimal | None,
) -> tuple[str, ...]:
    """Returns the sentences, most urgent first."""
    found = [
        _missing_prices(summary),
        _budgets(budgets),
        _alerts(alerts, budgets),
        _change(summary, movers, currency_code),
        _anomalies(anomalies),
        _wasted(summary, currency_code),
        _saving(potential_saving, currency_code),
    ]
    return tuple(sentence for sentence in found if sentence)[:SENTENCES_MAX]


def amount_text(amount: Decimal, currency_code: str) -> str:
    """Returns an amount for people, to the cent."""
    return f"{amount.quantize(CENT):,} {currency_code}"


def percent_text(share: Decimal) -> str:
    """Returns a ratio in percent, to one digit."""
    return f"{abs(share) * 100:.1f} %"


def _missing_prices(summary: Summary) -> str:
    count = summary.unpriced_event_count
    if not count:
        return ""
    return f"{count:,} events have no price, so their cost is missing in every figure."


def _budgets(budgets: Sequence[BudgetState]) -> str:
    over = [each for each in budgets if each.spent > each.limit]
    if over:
        names = f"{over[0].display_name} is over its limit"
        return f"{names}, and {len(over) - 1} more budgets." if over[1:] else f"{names}."
    likely = [
        (each.forecast.breach_probability, each.display_name)
        for each in budgets
        if each.forecast is not None and each.forecast.breach_probability >= BREACH_MIN
    ]
    if not likely:
        return ""
    probability, name = max(likely)
    return f"{name} will pass its limit with a probability of {percent_text(probability)}."


def _alerts(alerts: Sequence[AlertGlance], budgets: Sequence[BudgetState]) -> str:
    """Tells a critical alert, unless it is about a budget that is told to be over its limit."""
    told = {each.budget_id for each in budgets if each.spent > each.limit}
    critical = [
        each for each in alerts if each.severity == "critical" and each.budget_id not in told
    ]
    return critical[0].message if critical else ""


def _change(summary: Summary, movers: Sequence[CostDriver], currency_code: str) -> str:
    share = summary.change_ratio
    if share is None or abs(share) < CHANGE_MIN:
        return ""
    direction = "rose" if summary.change > 0 else "fell"
    sentence = (
        f"Cost {direction} by {percent_text(share)} to {amount_text(summary.cost, currency_code)}"
    )
    same_side = [each for each in movers if each.value and each.change * summary.change > 0]
    if not same_side:
        return f"{sentence}."
    most = max(same_side, key=lambda each: abs(each.change))
    part = amount_text(abs(most.change), currency_code)
    return f"{sentence}, most by {most.dimension} {most.value} ({part})."


def _anomalies(anomalies: Sequence[Anomaly]) -> str:
    costly = [each for each in anomalies if each.impact > 0]
    if not costly:
        return ""
    most = max(costly, key=lambda each: each.impact)
    where = " ".join(most.scope.named.values()) or "the tenant"
    impact = amount_text(most.impact, most.scope.currency_code)
    return f"Unusual cost of {where}: {impact} above what was expected."


def _wasted(summary: Summary, currency_code: str) -> str:
    share = None if summary.wasted is None else ratio(summary.wasted, summary.cost)
    if summary.wasted is None or share is None or share < CHANGE_MIN:
        return ""
    lost = amount_text(summary.wasted, currency_code)
    return f"Failed work cost {lost}, {percent_text(share)} of everything."


def _saving(potential: Decimal | None, currency_code: str) -> str:
    if not potential:
        return ""
    return f"Open recommendations would save {amount_text(potential, currency_code)} a month."
