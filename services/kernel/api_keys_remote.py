"""API keys as the services see them that do not keep them: they ask the usage service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import grpc
from finops.usage.v1 import api_key_model_pb2, api_key_service_pb2, api_key_service_pb2_grpc

from services.kernel.api_keys import StoredApiKey
from services.kernel.errors import Unavailable

LOOK_UP_SECONDS: Final = 2.0  # the caller who shows the key waits for it
_NO_SUCH_KEY: Final = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)


class ApiKeysUnavailable(Unavailable):
    """API keys cannot be checked at the moment; retry with backoff, or use a token."""

    reason = "API_KEYS_UNAVAILABLE"


class RemoteApiKeyDirectory:
    """The usage service's keys, one call a look-up."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """channel: to the usage service, with this service's token on each call."""
        self._stub = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)

    async def find(self, key_id: str) -> StoredApiKey | None:
        """Returns the key as it is now. Raises ApiKeysUnavailable and the channel's own kinds."""
        request = api_key_service_pb2.LookUpApiKeyRequest(key_id=key_id)
        try:
            answer = await self._stub.LookUpApiKey(request, timeout=LOOK_UP_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() in _NO_SUCH_KEY:
                return None
            raise ApiKeysUnavailable(code=error.code().name) from error
        return _to_stored(answer.api_key, answer.secret_digest)


def _to_stored(key: api_key_model_pb2.ApiKey, digest: bytes) -> StoredApiKey:
    return StoredApiKey(
        key_id=key.key_id,
        tenant_id=key.tenant_id,
        roles=frozenset(key.roles),
        scopes=frozenset(key.scopes),
        secret_digest=digest,
        expires_at=_instant(key, "expire_time"),
        revoked_at=_instant(key, "revoke_time"),
    )


def _instant(key: api_key_model_pb2.ApiKey, field: str) -> datetime | None:
    if not key.HasField(field):  # type: ignore[arg-type]
        return None
    instant: datetime = getattr(key, field).ToDatetime(tzinfo=UTC)
    return instant
