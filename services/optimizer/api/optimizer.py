"""OptimizerService: recommendations, their savings and their proof."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from finops.optimizer.v1 import optimizer_messages_pb2 as messages
from finops.optimizer.v1 import (
    optimizer_service_pb2,  # noqa: F401 - loads the contract, which the stubs do not
    optimizer_service_pb2_grpc,
)

from services.optimizer.api.tenant import as_tenant, as_watched
from services.optimizer.convert import recommendations as convert
from services.optimizer.convert import runs as run_convert
from services.optimizer.convert import savings as saving_convert
from services.optimizer.service.measuring import Measuring
from services.optimizer.service.recommending import Recommendations
from services.optimizer.service.runs import Runs
from services.optimizer.service.saving import SavingQueries

Context = grpc.aio.ServicerContext[Any, Any]


class OptimizerServicer(optimizer_service_pb2_grpc.OptimizerServiceServicer):
    """Serves OptimizerService."""

    def __init__(
        self,
        *,
        runs: Runs,
        recommendations: Recommendations,
        savings: SavingQueries,
        measuring: Measuring,
    ) -> None:
        """Takes the use cases."""
        self._runs = runs
        self._recommendations = recommendations
        self._savings = savings
        self._measuring = measuring

    async def GenerateRecommendations(
        self, request: messages.GenerateRecommendationsRequest, _: Context
    ) -> messages.GenerateRecommendationsResponse:
        """Runs the detectors."""
        tenant_id, wait = as_tenant(request.tenant_id), run_convert.to_wait(request)
        ids, period = list(request.detector_ids), {"start": request.start, "end": request.end}
        run, found = await self._runs.generate_recommendations(
            tenant_id, detector_ids=ids, text=request.filter, wait_seconds=wait, **period
        )
        return run_convert.from_generated(run, found)

    async def ListRecommendations(
        self, request: messages.ListRecommendationsRequest, _: Context
    ) -> messages.ListRecommendationsResponse:
        """Lists recommendations."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        found = await self._recommendations.list_recommendations(page, request.currency)
        return convert.from_page(found)

    async def GetRecommendation(
        self, request: messages.GetRecommendationRequest, _: Context
    ) -> messages.GetRecommendationResponse:
        """Gets a recommendation."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._recommendations.get_recommendation(tenant_id, request.recommendation_id)
        return messages.GetRecommendationResponse(recommendation=convert.from_shown(found))

    async def UpdateRecommendation(
        self, request: messages.UpdateRecommendationRequest, _: Context
    ) -> messages.UpdateRecommendationResponse:
        """Takes a decision."""
        tenant_id, decision = as_tenant(request.tenant_id), convert.to_decision(request)
        recommendation_id = request.recommendation.recommendation_id
        found = await self._recommendations.update_recommendation(
            tenant_id, recommendation_id, decision
        )
        return messages.UpdateRecommendationResponse(recommendation=convert.from_shown(found))

    async def GetSavings(
        self, request: messages.GetSavingsRequest, _: Context
    ) -> messages.GetSavingsResponse:
        """Returns savings."""
        tenant_id = as_tenant(request.tenant_id)
        asked = {"group_by": request.group_by, "currency": request.currency}
        found = await self._savings.get_savings(
            tenant_id, start=request.start, end=request.end, text=request.filter, **asked
        )
        return saving_convert.from_savings(found)

    async def SimulateSavings(
        self, request: messages.SimulateSavingsRequest, _: Context
    ) -> messages.SimulateSavingsResponse:
        """Simulates a set."""
        tenant_id, what_ifs = as_tenant(request.tenant_id), saving_convert.to_what_ifs(request)
        ids, days = list(request.recommendation_ids), request.horizon_days
        asked = {"text": request.filter, "currency": request.currency}
        found = await self._savings.simulate_savings(
            tenant_id, ids, what_ifs=what_ifs, horizon_days=days, **asked
        )
        return saving_convert.from_simulation(found)

    async def VerifyRecommendation(
        self, request: messages.VerifyRecommendationRequest, _: Context
    ) -> messages.VerifyRecommendationResponse:
        """Measures a saving."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._measuring.verify_recommendation(tenant_id, request.recommendation_id)
        measured = saving_convert.from_measurement(found)
        return messages.VerifyRecommendationResponse(measurement=measured)

    async def ListSavingMeasurements(
        self, request: messages.ListSavingMeasurementsRequest, _: Context
    ) -> messages.ListSavingMeasurementsResponse:
        """Lists measurements."""
        page = saving_convert.to_page(request, as_tenant(request.tenant_id))
        found = await self._measuring.list_saving_measurements(page, request.recommendation_id)
        return saving_convert.from_measurements(found)

    async def GetClaimCalibration(
        self, request: messages.GetClaimCalibrationRequest, _: Context
    ) -> messages.GetClaimCalibrationResponse:
        """Compares claims with what came."""
        tenant_id = as_tenant(request.tenant_id)
        each, total = await self._savings.get_claim_calibration(
            tenant_id, start=request.start, end=request.end
        )
        return saving_convert.from_calibrations(each, total)

    async def WatchRecommendations(
        self, request: messages.WatchRecommendationsRequest, _: Context
    ) -> AsyncIterator[messages.WatchRecommendationsResponse]:
        """Streams changes."""
        tenant_id = as_watched(request.tenant_id)
        changes = self._recommendations.watch_recommendations(tenant_id, request.after_sequence)
        async for watched in changes:
            yield convert.from_watched(watched)
