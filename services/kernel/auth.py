"""Authentication: from a call's metadata to its caller.

`Authenticator` is the way in; who the caller is and may do is in caller.py and permissions.py.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Final

from services.kernel.api_keys import (
    PREFIX,
    ApiKeyDirectory,
    ApiKeyVerifier,
    InvalidApiKey,
    StoredApiKey,
    new_api_key,
    secret_digest,
)
from services.kernel.caller import (
    Caller,
    NoCaller,
    TenantMismatch,
    TenantRequired,
    acting_as,
    caller_or_none,
    current_caller,
    require_permission,
    require_tenant,
    service_caller,
    set_caller,
)
from services.kernel.clock import Clock
from services.kernel.errors import Unauthenticated
from services.kernel.expiring import ExpiringMap
from services.kernel.settings import ServiceSettings
from services.kernel.tokens import (
    InvalidToken,
    ServiceTokens,
    TokenExpired,
    TokenVerifier,
    sign_token,
)

__all__ = [
    "ApiKeyDirectory",
    "Authenticator",
    "Caller",
    "InvalidApiKey",
    "InvalidToken",
    "NoCaller",
    "ServiceTokens",
    "StoredApiKey",
    "TenantMismatch",
    "TenantRequired",
    "TokenExpired",
    "acting_as",
    "caller_or_none",
    "current_caller",
    "new_api_key",
    "require_permission",
    "require_tenant",
    "secret_digest",
    "service_caller",
    "set_caller",
    "sign_token",
]

TOKEN_CACHE_SECONDS: Final = 60  # after which a key that the provider withdrew is noticed
CALLERS_CACHED: Final = 10_000  # some 5 MB
_SCHEME: Final = "bearer "


class Authenticator:
    """Finds out who calls; a credential seen a moment ago costs one hash and one look-up.

    What is refused is not remembered, so that a key works as soon as it exists.
    """

    def __init__(
        self,
        tokens: TokenVerifier,
        *,
        api_keys: ApiKeyDirectory | None = None,
        clock: Clock | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """api_keys: None refuses every API key. elapsed: seconds that never go back."""
        self._tokens = tokens
        self._keys = (
            ApiKeyVerifier(api_keys, clock=clock, elapsed=elapsed) if api_keys is not None else None
        )
        self._callers: ExpiringMap[bytes, Caller] = ExpiringMap(CALLERS_CACHED, elapsed=elapsed)

    @classmethod
    def from_settings(
        cls,
        settings: ServiceSettings,
        *,
        api_keys: ApiKeyDirectory | None = None,
        clock: Clock | None = None,
    ) -> Authenticator:
        """Returns the authenticator that the settings describe."""
        tokens = TokenVerifier.from_settings(settings, clock=clock)
        return cls(tokens, api_keys=api_keys, clock=clock)

    async def authenticate(self, metadata: Mapping[str, str | bytes]) -> Caller:
        """Returns who sent the metadata's `authorization`, a bearer token or an API key.

        Raises Unauthenticated or one of its kinds, Unavailable when it cannot be found out.
        """
        authorization = metadata.get("authorization", "")
        if not isinstance(authorization, str) or authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthenticated
        # The cache holds no credential that a memory dump could show.
        digest = hashlib.sha256(authorization.encode("utf-8", "surrogatepass")).digest()
        caller = self._callers.get(digest)
        if caller is not None:
            return caller
        credential = authorization[len(_SCHEME) :].strip()
        if credential.startswith(PREFIX):
            if self._keys is None:
                raise InvalidApiKey
            verified = await self._keys.verify(credential)
        else:
            verified = await self._tokens.verify(credential)
        self._callers.put(digest, verified.caller, min(verified.seconds, TOKEN_CACHE_SECONDS))
        return verified.caller
