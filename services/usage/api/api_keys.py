"""ApiKeyService: the keys that programs authenticate with."""

from __future__ import annotations

from typing import Any

import grpc
from finops.usage.v1 import api_key_service_pb2 as messages
from finops.usage.v1 import api_key_service_pb2_grpc

from services.kernel.caller import current_caller
from services.usage.api.tenant import as_tenant
from services.usage.convert import api_keys as convert
from services.usage.service.api_keys import ApiKeys

Context = grpc.aio.ServicerContext[Any, Any]


class ApiKeyServicer(api_key_service_pb2_grpc.ApiKeyServiceServicer):
    """Serves ApiKeyService."""

    def __init__(self, *, api_keys: ApiKeys) -> None:
        """Takes the use cases."""
        self._api_keys = api_keys

    async def CreateApiKey(
        self, request: messages.CreateApiKeyRequest, _: Context
    ) -> messages.CreateApiKeyResponse:
        """Creates a key."""
        tenant_id = as_tenant(request.tenant_id)
        order = convert.to_order(request)
        made = await self._api_keys.create_api_key(tenant_id, order, current_caller())
        return convert.from_new_key(*made)

    async def ListApiKeys(
        self, request: messages.ListApiKeysRequest, _: Context
    ) -> messages.ListApiKeysResponse:
        """Lists keys."""
        page = convert.to_page(request, as_tenant(request.tenant_id))
        return convert.from_page(await self._api_keys.list_api_keys(page))

    async def RevokeApiKey(
        self, request: messages.RevokeApiKeyRequest, _: Context
    ) -> messages.RevokeApiKeyResponse:
        """Revokes a key."""
        tenant_id = as_tenant(request.tenant_id)
        key = await self._api_keys.revoke_api_key(tenant_id, request.key_id)
        return messages.RevokeApiKeyResponse(api_key=convert.from_api_key(key))

    async def LookUpApiKey(
        self, request: messages.LookUpApiKeyRequest, _: Context
    ) -> messages.LookUpApiKeyResponse:
        """Finds what is needed to check a key."""
        found = await self._api_keys.look_up_api_key(request.key_id, current_caller())
        return convert.from_look_up(*found)
