"""API keys between contract and domain."""

from __future__ import annotations

from datetime import UTC, datetime

from finops.usage.v1 import api_key_model_pb2 as models
from finops.usage.v1 import api_key_service_pb2 as messages

from services.kernel.errors import FieldViolations
from services.kernel.listing import page_request
from services.kernel.pagination import Page, PageRequest
from services.usage.domain.api_key import ApiKey, ApiKeyOrder

LIST_METHOD = "finops.usage.v1.ApiKeyService/ListApiKeys"


def to_order(request: messages.CreateApiKeyRequest) -> ApiKeyOrder:
    """Converts what is asked for. Raises FieldViolations."""
    return ApiKeyOrder(
        display_name=request.display_name,
        roles=tuple(sorted(request.roles)),
        scopes=tuple(sorted(request.scopes)),
        expires_at=_to_expiry(request) if request.HasField("expire_time") else None,
    )


def from_api_key(key: ApiKey) -> models.ApiKey:
    """Converts a key."""
    message = models.ApiKey(
        key_id=key.key_id,
        display_name=key.display_name,
        tenant_id=key.tenant_id,
        roles=key.roles,
        scopes=key.scopes,
    )
    message.create_time.FromDatetime(key.created_at)
    if key.expires_at is not None:
        message.expire_time.FromDatetime(key.expires_at)
    if key.revoked_at is not None:
        message.revoke_time.FromDatetime(key.revoked_at)
    return message


def from_new_key(key: ApiKey, text: str) -> messages.CreateApiKeyResponse:
    """Converts a new key and the text that is shown this once."""
    return messages.CreateApiKeyResponse(api_key=from_api_key(key), key_text=text)


def to_page(request: messages.ListApiKeysRequest, tenant_id: str) -> PageRequest:
    """Returns which page is asked."""
    return page_request(request, tenant_id=tenant_id, method=LIST_METHOD)


def from_page(page: Page[ApiKey]) -> messages.ListApiKeysResponse:
    """Converts a page."""
    return messages.ListApiKeysResponse(
        api_keys=map(from_api_key, page.items), next_page_token=page.next_page_token
    )


def from_look_up(key: ApiKey, digest: bytes) -> messages.LookUpApiKeyResponse:
    """Converts what another service needs to check a key."""
    return messages.LookUpApiKeyResponse(api_key=from_api_key(key), secret_digest=digest)


def _to_expiry(request: messages.CreateApiKeyRequest) -> datetime:
    try:
        return request.expire_time.ToDatetime(tzinfo=UTC)
    except (OverflowError, ValueError) as error:
        text = "must be an instant between the years 1 and 9999"
        raise FieldViolations([("expire_time", text)]) from error
