"""Tenants as the usage service knows them."""

from __future__ import annotations

import grpc
from finops.usage.v1 import directory_service_pb2, directory_service_pb2_grpc

from services.billing.service.directory import TenantProfile
from services.kernel.client import on_behalf_of

LOOK_UP_SECONDS = 5.0  # a person who creates an account waits for it


class UsageTenantDirectory:
    """Asks the usage service, one call a look-up."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service."""
        self._stub = directory_service_pb2_grpc.DirectoryServiceStub(channel)

    async def profile(self, tenant_id: str) -> TenantProfile:
        """Returns a tenant's profile, the default one where it has recorded nothing yet.

        Raises PeerUnavailable, PeerTimeout.
        """
        request = directory_service_pb2.GetTenantRequest(tenant_id=tenant_id)
        with on_behalf_of(tenant_id):
            try:
                answer = await self._stub.GetTenant(request, timeout=LOOK_UP_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return TenantProfile()
                raise
        return TenantProfile(answer.tenant.time_zone, answer.tenant.currency_code)
