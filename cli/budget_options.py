"""What `finops budgets` says about a budget on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Final

import typer
from finops.budget.v1.budget_model_pb2 import (
    AlertThreshold,
    Budget,
    BudgetCadence,
    BudgetEnforcement,
    BudgetScope,
    PeriodRule,
    RolloverPolicy,
)
from finops.common.v1.money_pb2 import Money

from cli.errors import UsageError

SHARE_MAX: Final = 10  # of the limit


class Cadence(StrEnum):
    """Length of a period."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"


class AtLimit(StrEnum):
    """What happens at the limit."""

    ALERT = "alert"
    THROTTLE = "throttle"
    HARD = "hard"


Amount = Annotated[
    str, typer.Option("--amount", help="Limit of a period, for example 500 or '500 EUR'.")
]
Every = Annotated[Cadence, typer.Option("--every", help="Length of a period.")]
Limit = Annotated[AtLimit, typer.Option("--at-limit", help="What happens at the limit.")]
Department = Annotated[
    str,
    typer.Option("--department", help="Only this department and those below.", show_default=False),
]
User = Annotated[str, typer.Option("--user", help="Only this person.", show_default=False)]
Project = Annotated[str, typer.Option("--project", help="Only this project.", show_default=False)]
ResourceType = Annotated[
    str,
    typer.Option("--resource-type", help="Only this kind of resource.", show_default=False),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="Only cost with this KEY=VALUE. Repeat it.", show_default=False),
]
Zone = Annotated[
    str,
    typer.Option("--zone", help="IANA zone of its periods. [default: the tenant's]"),
]
Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold", help="Share to alert at, as 0.8 or 80%. Repeat it. [default: 0.5 0.75 0.9 1]"
    ),
]
Rollover = Annotated[
    bool, typer.Option("--rollover", help="Carry what is left into the next period.")
]


def money_of(text: str) -> Money:
    """Returns `500` or `500 EUR` as money, dollars by default. Raises UsageError."""
    amount, _, currency = text.strip().partition(" ")
    try:
        plain = format(Decimal(amount), "f")
    except InvalidOperation:
        raise UsageError(
            f"--amount is a number such as 1000 or '1000.50 EUR', not {text!r}"
        ) from None
    return Money(currency_code=currency.strip().upper() or "USD", amount=plain)


def ratio_of(text: str) -> str:
    """Returns `0.8` or `80%` as a share. Raises UsageError."""
    try:
        ratio = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except InvalidOperation:
        ratio = Decimal(0)
    if not 0 < ratio <= SHARE_MAX:
        raise UsageError(f"--threshold is a share of the limit such as 0.8 or 80%, not {text!r}")
    return format(ratio, "f")


def scope_of(
    *,
    department: str,
    user: str,
    project: str,
    resource_type: str,
    tags: Sequence[str] | None,
) -> BudgetScope:
    """Returns the scope of the options. Raises UsageError for a tag without a value."""
    scope = BudgetScope(
        department_id=department, user_id=user, project=project, resource_type=resource_type
    )
    for text in tags or []:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"--tag is KEY=VALUE, not {text!r}")
        scope.tags[key] = value
    return scope


def budget_of(
    name: str,
    scope: BudgetScope,
    *,
    amount: str,
    every: Cadence,
    at_limit: AtLimit,
    zone: str,
    thresholds: Sequence[str] | None,
    rollover: bool,
) -> Budget:
    """Returns the budget of the options. Raises UsageError."""
    return Budget(
        display_name=name,
        scope=scope,
        cadence=BudgetCadence.Value(f"BUDGET_CADENCE_{every.name}"),
        period_rule=PeriodRule(time_zone=zone),
        amount=money_of(amount),
        enforcement=BudgetEnforcement.Value(f"BUDGET_ENFORCEMENT_{at_limit.name}"),
        thresholds=[AlertThreshold(threshold_ratio=ratio_of(text)) for text in thresholds or []],
        rollover=RolloverPolicy(enabled=rollover),
    )
