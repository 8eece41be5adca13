"""Asks the optimizer through its stub."""

from __future__ import annotations

from typing import Final

import grpc
from finops.optimizer.v1 import (
    optimizer_messages_pb2,
    optimizer_model_pb2,
    optimizer_service_pb2,  # noqa: F401 - holds the contract; the stubs load its messages alone
    optimizer_service_pb2_grpc,
)

from services.kernel.money import parse_decimal
from services.reporting.convert.asking import asking, to_amount
from services.reporting.domain.figures import both
from services.reporting.domain.recommendations import OpenRecommendation, OpenSavings
from services.reporting.errors import OptimizerRefused

QUERY_SECONDS: Final = 30.0
SAVINGS_MAX: Final = 200  # nobody reads more of them in one place
OPEN: Final = "state = PROPOSED OR state = ACCEPTED OR state = IN_PROGRESS"


class StubOptimizerReader:
    """Reads open recommendations; implements `service.peers.OptimizerReader`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the optimizer service, with this service's token on each call."""
        self._optimizer = optimizer_service_pb2_grpc.OptimizerServiceStub(channel)

    async def open_savings(
        self, tenant_id: str, currency_code: str, filter_: str, *, most: int = SAVINGS_MAX
    ) -> OpenSavings:
        """Reads the best of them and what all of them save together."""
        request = optimizer_messages_pb2.ListRecommendationsRequest(
            tenant_id=tenant_id,
            currency=currency_code,
            filter=both(filter_, OPEN),
            page_size=most,
        )
        with asking(tenant_id, OptimizerRefused):
            answer = await self._optimizer.ListRecommendations(request, timeout=QUERY_SECONDS)
        joint = answer.joint_monthly_saving
        return OpenSavings(
            items=tuple(_recommendation(each) for each in answer.recommendations),
            joint=to_amount(joint.expected),
            joint_lower=to_amount(joint.lower),
            joint_upper=to_amount(joint.upper),
            currency_code=joint.expected.currency_code or currency_code,
        )


def _recommendation(message: optimizer_model_pb2.Recommendation) -> OpenRecommendation:
    saving, scope = message.monthly_saving, message.scope
    return OpenRecommendation(
        recommendation_id=message.recommendation_id,
        kind=_named(optimizer_model_pb2.RecommendationKind.Name(message.kind), "KIND"),
        title=message.title,
        state=_named(optimizer_model_pb2.RecommendationState.Name(message.state), "STATE"),
        currency_code=saving.expected.currency_code,
        monthly_saving=to_amount(saving.expected),
        monthly_lower=to_amount(saving.lower),
        monthly_upper=to_amount(saving.upper),
        confidence=parse_decimal(message.confidence_ratio or "0"),
        effort=_named(optimizer_model_pb2.Effort.Name(message.effort), "EFFORT"),
        risk=_named(optimizer_model_pb2.Risk.Name(message.risk), "RISK"),
        department=scope.department_id,
        service=scope.service,
        resource_type=scope.resource_type,
    )


def _named(name: str, enum: str) -> str:
    """Returns the last part of an enum value's name in lower case."""
    return name.rpartition(f"{enum}_")[2].lower()
