"""A refused authorization as the error that the caller gets."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.budget.domain.spend import BudgetCheck, SpendAuthorization, SpendOutcome
from services.budget.domain.spend_errors import SpendLimitReached, SpendThrottled, SpendUnpriced
from services.kernel.errors import ResourceExhausted
from services.kernel.money import format_decimal

_KINDS = {
    SpendOutcome.DENIED_LIMIT: SpendLimitReached,
    SpendOutcome.DENIED_THROTTLED: SpendThrottled,
    SpendOutcome.DENIED_UNPRICED: SpendUnpriced,
}


def denial_of(authorization: SpendAuthorization, now: datetime) -> ResourceExhausted:
    """Returns the error of a denied authorization: a violation for each budget in the way."""
    decision = authorization.decision
    retry_after: timedelta | None = None
    if decision.retry_at is not None:
        retry_after = max(decision.retry_at - now, timedelta(milliseconds=1))
    blocking = [check for check in decision.checks if check.is_blocking]
    return _KINDS[decision.outcome](
        decision.explanation,
        retry_after=retry_after,
        violations=[(f"budget:{check.budget_id}", _sentence(check)) for check in blocking],
        authorization_id=authorization.authorization_id,
        budget_ids=",".join(check.budget_id for check in blocking),
    )


def _sentence(check: BudgetCheck) -> str:
    code = check.currency_code
    figures = ", ".join(
        f"{name} {format_decimal(amount)} {code}"
        for name, amount in (
            ("limit", check.limit),
            ("spent", check.spent),
            ("held", check.held),
            ("remaining", check.remaining),
            ("asked", check.asked),
        )
    )
    reset = "never" if check.reset_at is None else check.reset_at.isoformat()
    return f"{check.display_name}: {figures}, next reset {reset}. {check.reason}"
