"""Completes a question about spend: who bears it, and how much is to be held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from services.budget.domain.scope import SpendAttributes
from services.budget.domain.spend import SpendAuthorization
from services.budget.service.directories import Directories
from services.budget.service.estimating import Estimates
from services.budget.service.spend_request import Ask
from services.budget.service.spending import Spending
from services.kernel.money import Money


@dataclass(frozen=True, slots=True)
class SpendQuestion:
    """What a caller asks. usage, usage_max: expected and greatest quantities by meter."""

    tenant_id: str
    subject: SpendAttributes
    amount: Money | None
    hold_for: timedelta
    usage: Mapping[str, Decimal] = field(default_factory=dict)
    usage_max: Mapping[str, Decimal] = field(default_factory=dict)
    usage_source: str = ""
    usage_event_id: str = ""
    is_trial: bool = False
    request_id: str = ""
    digest: bytes = b""


class Asking:
    """The use case of asking for spend."""

    def __init__(self, spending: Spending, directories: Directories, estimates: Estimates) -> None:
        """Takes who decides, and what completes a question."""
        self._spending = spending
        self._directories = directories
        self._estimates = estimates

    async def authorize_spend(self, question: SpendQuestion) -> SpendAuthorization:
        """Returns the decision; raises what Spending.authorize_spend does."""
        directory = await self._directories.get(question.tenant_id)
        subject = directory.completed(question.subject)
        estimate = await self._estimates.estimate(
            question.tenant_id,
            subject,
            amount=question.amount,
            usage=question.usage,
            usage_max=question.usage_max,
            currency_code=directory.currency_code,
        )
        return await self._spending.authorize_spend(
            Ask(
                tenant_id=question.tenant_id,
                subject=subject,
                estimate=estimate,
                hold_for=question.hold_for,
                usage_source=question.usage_source,
                usage_event_id=question.usage_event_id,
                is_trial=question.is_trial,
                request_id="" if question.is_trial else question.request_id,
                digest=question.digest,
            )
        )
