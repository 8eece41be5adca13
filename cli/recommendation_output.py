"""How recommendations and savings are written for people."""

from __future__ import annotations

from finops.common.v1.interval_pb2 import MoneyInterval
from finops.common.v1.money_pb2 import Money
from finops.optimizer.v1.optimizer_model_pb2 import (
    Effort,
    Recommendation,
    RecommendationKind,
    RecommendationState,
    Risk,
)
from finops.optimizer.v1.saving_model_pb2 import SavingsRow

from cli.output import Output
from cli.times import utc_text


def show_list(found: list[Recommendation], output: Output) -> None:
    """Writes recommendations as a table."""
    columns = ("rank", "recommendation_id", "kind", "state", "monthly_saving", "confidence")
    rows = [
        (
            one.rank,
            one.recommendation_id,
            lower(RecommendationKind.Name(one.kind), "RECOMMENDATION_KIND_"),
            lower(RecommendationState.Name(one.state), "RECOMMENDATION_STATE_"),
            money_text(one.monthly_saving.expected),
            one.confidence_ratio,
            one.owner,
            one.title,
        )
        for one in found
    ]
    output.rows((*columns, "owner", "title"), rows, content=found)


def fields_of(found: Recommendation) -> dict[str, object]:
    """Returns what people see of one recommendation, field by field."""
    fields: dict[str, object] = {
        "recommendation_id": found.recommendation_id,
        "title": found.title,
        "summary": found.summary,
        "state": lower(RecommendationState.Name(found.state), "RECOMMENDATION_STATE_"),
        "owner": found.owner,
        "monthly_saving": interval_text(found.monthly_saving),
        "monthly_cost": money_text(found.monthly_cost),
        "monthly_kg_co2e": found.monthly_kg_co2e,
        "confidence": found.confidence_ratio,
        "effort": lower(Effort.Name(found.effort), "EFFORT_"),
        "risk": f"{lower(Risk.Name(found.risk), 'RISK_')}: {found.risk_note}",
    }
    for label, texts in (
        ("step", found.steps),
        ("verify", found.verification_steps),
        ("roll back", found.rollback_steps),
    ):
        fields |= {f"{label} {number}": text for number, text in enumerate(texts, start=1)}
    for evidence in found.evidence:
        against = f" against {evidence.reference}" if evidence.reference else ""
        fields[evidence.metric] = f"{evidence.value} {evidence.unit}{against}"
    for number, event in enumerate(found.events, start=1):
        state = lower(RecommendationState.Name(event.to_state), "RECOMMENDATION_STATE_")
        said = f": {event.note}" if event.note else ""
        fields[f"event {number}"] = f"{utc_text(event.event_time)} {event.actor} {state}{said}"
    return fields


def savings_row(row: SavingsRow) -> tuple[object, ...]:
    """Returns one row of savings."""
    return (
        row.group or "total",
        row.recommendation_count,
        row.completed_count,
        row.verified_count,
        money_text(row.open_monthly_saving.expected),
        money_text(row.claimed.expected),
        money_text(row.realized.expected),
        row.realized_ratio,
    )


def money_text(money: Money) -> str:
    """Returns an amount for people, cut to two digits."""
    if not money.currency_code:
        return ""
    whole, _, fraction = money.amount.partition(".")
    return f"{whole}.{fraction[:2].ljust(2, '0')} {money.currency_code}"


def interval_text(interval: MoneyInterval) -> str:
    """Returns an estimate with its bounds for people."""
    lower, upper = money_text(interval.lower), money_text(interval.upper)
    return f"{money_text(interval.expected)} ({lower} to {upper})"


def lower(name: str, prefix: str) -> str:
    """Returns an enum's value for people."""
    return name.removeprefix(prefix).lower()
