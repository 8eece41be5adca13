"""What other services say to the questions of reports, where they refuse or change meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from finops.optimizer.v1.optimizer_service_pb2_grpc import (
    OptimizerServiceServicer,
)
from finops.optimizer.v1.optimizer_service_pb2_grpc import (
    add_OptimizerServiceServicer_to_server as add_optimizer,
)
from finops.usage.v1 import (
    cost_model_pb2,
    usage_service_pb2,  # noqa: F401 - holds the contract; the stubs load its messages alone
    usage_service_pb2_grpc,
)

from services.kernel.errors import InvalidArgument
from services.kernel.period import Period
from services.reporting.convert.optimizer_peer import StubOptimizerReader
from services.reporting.convert.peers import StubUsageReader
from services.reporting.domain.costs import CostQuestion
from services.reporting.errors import CostsKeepChanging, OptimizerRefused
from tests.reporting.conftest import NOW
from tests.support.server import service_token_of, serving


class Pages:
    """QueryCosts in which every page is of another state than the one before."""

    pages = 0

    async def QueryCosts(  # noqa: N802 - the contract's own name
        self, _: cost_model_pb2.QueryCostsRequest, __: object
    ) -> cost_model_pb2.QueryCostsResponse:
        self.pages += 1
        return cost_model_pb2.QueryCostsResponse(
            sequence=str(self.pages), next_page_token="more" if self.pages % 2 else ""
        )


async def test_costs_that_change_between_pages_are_refused_rather_than_wrong(tenant: str) -> None:
    restless: Any = type("Restless", (Pages, usage_service_pb2_grpc.UsageServiceServicer), {})()
    add = usage_service_pb2_grpc.add_UsageServiceServicer_to_server

    async with serving(lambda server: add(restless, server)) as usage:
        reader = StubUsageReader(usage.channel_with(service_token_of("reporting", tenant="")))
        with pytest.raises(CostsKeepChanging) as caught:
            await reader.costs(CostQuestion(tenant, Period(NOW - timedelta(days=1), NOW)))

    assert caught.value.reason == "COSTS_KEEP_CHANGING"
    assert restless.pages == 10


class Refusing:
    """ListRecommendations that refuses every question."""

    async def ListRecommendations(self, _: object, __: object) -> object:  # noqa: N802 - as above
        raise InvalidArgument("there is no field 'planet'")


async def test_what_the_optimizer_refuses_is_said_in_its_words(tenant: str) -> None:
    refusing: Any = type("Refusing", (Refusing, OptimizerServiceServicer), {})()

    async with serving(lambda server: add_optimizer(refusing, server)) as optimizer:
        channel = optimizer.channel_with(service_token_of("reporting", tenant=""))
        with pytest.raises(OptimizerRefused) as caught:
            await StubOptimizerReader(channel).open_savings(tenant, "USD", 'planet = "mars"')

    assert caught.value.reason == "OPTIMIZER_REFUSED"
    assert "planet" in caught.value.message
