"""ResourceService: utilization, catalogues and carbon."""

from __future__ import annotations

from typing import Any

import grpc
from finops.optimizer.v1 import resource_service_pb2 as messages
from finops.optimizer.v1 import resource_service_pb2_grpc

from services.optimizer.api.tenant import as_tenant
from services.optimizer.convert import resources as convert
from services.optimizer.service.carbon import Carbon
from services.optimizer.service.cataloguing import Catalogues
from services.optimizer.service.resources import Resources

Context = grpc.aio.ServicerContext[Any, Any]


class ResourceServicer(resource_service_pb2_grpc.ResourceServiceServicer):
    """Serves ResourceService."""

    def __init__(self, *, resources: Resources, carbon: Carbon, catalogues: Catalogues) -> None:
        """Takes the use cases."""
        self._resources = resources
        self._carbon = carbon
        self._catalogues = catalogues

    async def ListResourceUtilization(
        self, request: messages.ListResourceUtilizationRequest, _: Context
    ) -> messages.ListResourceUtilizationResponse:
        """Lists resources."""
        page = convert.to_resource_page(request, as_tenant(request.tenant_id))
        found = await self._resources.list_resource_utilization(
            page, start=request.start, end=request.end
        )
        return convert.from_resources(found)

    async def GetScalingProfile(
        self, request: messages.GetScalingProfileRequest, _: Context
    ) -> messages.GetScalingProfileResponse:
        """Returns a resource's week."""
        tenant_id = as_tenant(request.tenant_id)
        found = await self._resources.get_scaling_profile(
            tenant_id, request.resource_id, start=request.start, end=request.end
        )
        return convert.from_profile(found)

    async def GetCarbonFootprint(
        self, request: messages.GetCarbonFootprintRequest, _: Context
    ) -> messages.GetCarbonFootprintResponse:
        """Returns carbon."""
        tenant_id, group_by = as_tenant(request.tenant_id), list(request.group_by)
        asked = {"start": request.start, "end": request.end, "currency": request.currency}
        found = await self._carbon.get_carbon_footprint(
            tenant_id, text=request.filter, group_by=group_by, **asked
        )
        return convert.from_carbon(found)

    async def ImportCatalogue(
        self, request: messages.ImportCatalogueRequest, _: Context
    ) -> messages.ImportCatalogueResponse:
        """Loads a catalogue."""
        tenant_id = as_tenant(request.tenant_id)
        stored, problems = await self._catalogues.import_catalogue(
            tenant_id, request.catalogue_id, request.content.data
        )
        loaded = convert.from_catalogue(stored, problems)
        return messages.ImportCatalogueResponse(catalogue=loaded)

    async def ListCatalogues(
        self, request: messages.ListCataloguesRequest, _: Context
    ) -> messages.ListCataloguesResponse:
        """Lists catalogues."""
        page = convert.to_page(request, as_tenant(request.tenant_id), "ListCatalogues")
        return convert.from_catalogues(await self._catalogues.list_catalogues(page))

    async def DeleteCatalogue(
        self, request: messages.DeleteCatalogueRequest, _: Context
    ) -> messages.DeleteCatalogueResponse:
        """Deletes a catalogue."""
        tenant_id = as_tenant(request.tenant_id)
        await self._catalogues.delete_catalogue(tenant_id, request.catalogue_id)
        return messages.DeleteCatalogueResponse()

    async def ListInstanceTypes(
        self, request: messages.ListInstanceTypesRequest, _: Context
    ) -> messages.ListInstanceTypesResponse:
        """Lists instance types."""
        page = convert.to_page(request, as_tenant(request.tenant_id), "ListInstanceTypes")
        return convert.from_types(await self._catalogues.list_instance_types(page))

    async def ImportEmissionFactors(
        self, request: messages.ImportEmissionFactorsRequest, _: Context
    ) -> messages.ImportEmissionFactorsResponse:
        """Loads emission factors."""
        tenant_id = as_tenant(request.tenant_id)
        count, problems = await self._catalogues.import_emission_factors(
            tenant_id, request.content.data
        )
        return messages.ImportEmissionFactorsResponse(row_count=count, problems=problems)

    async def ListEmissionFactors(
        self, request: messages.ListEmissionFactorsRequest, _: Context
    ) -> messages.ListEmissionFactorsResponse:
        """Lists emission factors."""
        page = convert.to_page(request, as_tenant(request.tenant_id), "ListEmissionFactors")
        return convert.from_factors(await self._catalogues.list_emission_factors(page))
