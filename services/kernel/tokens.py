"""Tokens (JWT): how they are signed, and what makes one acceptable.

Three kinds of key, each bound to its own algorithms and issuer: the secret of local use (HS256),
the identity provider's public keys (EdDSA, RS256), and the secret that services share (HS256).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import jwt
from jwt.types import Options

from services.kernel.caller import SERVICE_ROLE, Caller
from services.kernel.clock import Clock, SystemClock
from services.kernel.errors import Unauthenticated
from services.kernel.expiring import ExpiringMap
from services.kernel.ids import InvalidResourceId, new_id, require_resource_id
from services.kernel.key_set import ALGORITHM_OF_TYPE, KeySet
from services.kernel.permissions import permissions_of
from services.kernel.settings import ServiceSettings

SERVICE_ISSUER: Final = "finops-services"
SERVICE_KEY_ID: Final = "finops-services"
SERVICE_TOKEN_LIFETIME: Final = timedelta(minutes=5)
SKEW_SECONDS: Final = 5  # how far another machine's clock may be ahead
TOKEN_LENGTH_MAX: Final = 8192  # characters; gRPC refuses longer metadata anyway
SUBJECT_LENGTH_MAX: Final = 256
ROLES_MAX: Final = 32
TENANTS_CACHED: Final = 10_000

# Lifetimes are checked against `Clock` below, signatures and the rest by the library.
_OPTIONS: Final[Options] = {
    "require": ["exp", "iat", "sub", "iss", "aud"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


class InvalidToken(Unauthenticated):
    """The token is not one that this server accepts; get a new one."""

    reason = "INVALID_TOKEN"


class TokenExpired(Unauthenticated):
    """The token has expired; get a new one."""

    reason = "TOKEN_EXPIRED"


@dataclass(frozen=True, slots=True)
class Verified:
    """A caller, and for how many more seconds the credential proves it."""

    caller: Caller
    seconds: float


def sign_token(
    secret: str,
    *,
    subject: str,
    tenant_id: str,
    roles: Iterable[str],
    lifetime: timedelta,
    issuer: str = "finops",
    audience: str = "finops",
    clock: Clock | None = None,
    key_id: str | None = None,
) -> str:
    """Returns an HS256 token. secret: of 32 characters or more."""
    now = (clock or SystemClock()).now()
    claims = {
        "sub": subject,
        "tenant": tenant_id,
        "roles": sorted(roles),
        "iss": issuer,
        "aud": audience,
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
        "jti": new_id(),
    }
    headers = {"kid": key_id} if key_id is not None else None
    return jwt.encode(claims, secret, algorithm="HS256", headers=headers)


class ServiceTokens:
    """Signs the tokens with which one service calls another on behalf of a tenant."""

    def __init__(
        self,
        secret: str,
        *,
        service: str,
        audience: str = "finops",
        clock: Clock | None = None,
        elapsed: Callable[[], float] | None = None,
    ) -> None:
        """service: who calls, for the audit log of the one called."""
        self._secret = secret
        self._service = service
        self._audience = audience
        self._clock = clock or SystemClock()
        options = {} if elapsed is None else {"elapsed": elapsed}
        self._signed: ExpiringMap[str, str] = ExpiringMap(TENANTS_CACHED, **options)

    def token(self, tenant_id: str) -> str:
        """Returns a token that is good for at least half its lifetime. tenant_id: "" for none."""
        token = self._signed.get(tenant_id)
        if token is None:
            token = sign_token(
                self._secret,
                subject=f"service:{self._service}",
                tenant_id=tenant_id,
                roles=[SERVICE_ROLE],
                lifetime=SERVICE_TOKEN_LIFETIME,
                issuer=SERVICE_ISSUER,
                audience=self._audience,
                clock=self._clock,
                key_id=SERVICE_KEY_ID,
            )
            self._signed.put(tenant_id, token, SERVICE_TOKEN_LIFETIME.total_seconds() / 2)
        return token


class TokenVerifier:
    """Tells whose a token is."""

    def __init__(
        self,
        *,
        jwt_secret: str | None = None,
        key_set: KeySet | None = None,
        service_secret: str | None = None,
        issuer: str = "finops",
        audience: str = "finops",
        clock: Clock | None = None,
    ) -> None:
        """A key that is None accepts no token of its kind."""
        self._jwt_secret = jwt_secret
        self._key_set = key_set
        self._service_secret = service_secret
        self._issuer = issuer
        self._audience = audience
        self._clock = clock or SystemClock()

    @classmethod
    def from_settings(
        cls, settings: ServiceSettings, *, clock: Clock | None = None
    ) -> TokenVerifier:
        """Returns the verifier that the settings describe."""
        secret, service_secret = settings.jwt_secret, settings.service_token_secret
        return cls(
            jwt_secret=secret.get_secret_value() if secret is not None else None,
            key_set=KeySet(settings.jwks) if settings.jwks is not None else None,
            service_secret=service_secret.get_secret_value() if service_secret else None,
            issuer=settings.issuer,
            audience=settings.audience,
            clock=clock,
        )

    async def verify(self, token: str) -> Verified:
        """Returns the caller. Raises InvalidToken, TokenExpired or SigningKeysUnavailable."""
        if len(token) > TOKEN_LENGTH_MAX:
            raise InvalidToken
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise InvalidToken from error
        algorithm: str = header.get("alg", "")
        key_id: str | None = header.get("kid")
        if algorithm == "HS256" and key_id == SERVICE_KEY_ID and self._service_secret is not None:
            claims = self._decode(token, self._service_secret, algorithm, SERVICE_ISSUER)
            return self._accept(claims, is_service=True)
        key: Any = None
        if algorithm == "HS256":
            key = self._jwt_secret
        elif algorithm in ALGORITHM_OF_TYPE.values() and self._key_set is not None:
            key = await self._key_set.find(key_id, algorithm)
        if key is None:
            raise InvalidToken("The token is signed by a key or an algorithm that is not accepted.")
        return self._accept(self._decode(token, key, algorithm, self._issuer), is_service=False)

    def _decode(self, token: str, key: Any, algorithm: str, issuer: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                options=_OPTIONS,
                issuer=issuer,
                audience=self._audience,
            )
        except jwt.PyJWTError as error:
            raise InvalidToken from error

    def _accept(self, claims: dict[str, Any], *, is_service: bool) -> Verified:
        """Checks what a signature does not prove: lifetime, tenant and roles."""
        seconds = self._remaining(claims)
        subject, roles = claims["sub"], claims.get("roles", [])
        if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_LENGTH_MAX:
            raise InvalidToken("The token's `sub` must have 1 to 256 characters.")
        is_list = isinstance(roles, list) and all(isinstance(role, str) for role in roles)
        if not is_list or len(roles) > ROLES_MAX:
            raise InvalidToken("The token's `roles` must be a list of role names.")
        if (SERVICE_ROLE in roles) != is_service:
            raise InvalidToken("Only the suite's own tokens carry the role `service`.")
        tenant_id = claims.get("tenant", "")
        if tenant_id or not is_service:
            try:
                require_resource_id(tenant_id if isinstance(tenant_id, str) else "")
            except InvalidResourceId as error:
                raise InvalidToken("The token's `tenant` must be a tenant's id.") from error
        caller = Caller(
            tenant_id=tenant_id,
            subject=subject,
            roles=frozenset(roles),
            permissions=permissions_of(roles),
            credential_id=str(claims.get("jti", ""))[:SUBJECT_LENGTH_MAX],
            is_service=is_service,
        )
        return Verified(caller, seconds)

    def _remaining(self, claims: dict[str, Any]) -> float:
        now = self._clock.now().timestamp()
        if _instant(claims["exp"]) <= now:
            raise TokenExpired
        for name in ("nbf", "iat"):
            if name in claims and _instant(claims[name]) > now + SKEW_SECONDS:
                raise InvalidToken(f"The token's `{name}` lies in the future.")
        return _instant(claims["exp"]) - now


def _instant(value: object) -> float:
    """Returns a NumericDate as seconds since 1970 (RFC 7519, section 2)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidToken("The token's times must be numbers of seconds.")
    return float(value)
