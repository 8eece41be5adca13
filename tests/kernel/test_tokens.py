"""Tokens: what is believed, and what is not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import jwt
import pytest

from services.kernel.clock import ManualClock
from services.kernel.tokens import (
    TOKEN_LENGTH_MAX,
    InvalidToken,
    ServiceTokens,
    TokenExpired,
    TokenVerifier,
    sign_token,
)

SECRET = "a secret of people and programs that only these tests use"
SERVICE_SECRET = "a secret of services that only these tests use"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLAIMS: Mapping[str, Any] = {
    "sub": "ada",
    "tenant": "acme",
    "roles": ["viewer"],
    "iss": "finops",
    "aud": "finops",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 3600,
}


@pytest.fixture
def clock() -> ManualClock:
    """Stands at NOW until a test moves it."""
    return ManualClock(NOW)


@pytest.fixture
def verifier(clock: ManualClock) -> TokenVerifier:
    """Believes tokens of people and of services."""
    return TokenVerifier(jwt_secret=SECRET, service_secret=SERVICE_SECRET, clock=clock)


def signed(**changed: object) -> str:
    return jwt.encode({**CLAIMS, **changed}, SECRET, algorithm="HS256")


def signed_without(name: str) -> str:
    claims = {claim: value for claim, value in CLAIMS.items() if claim != name}
    return jwt.encode(claims, SECRET, algorithm="HS256")


FORGED = {
    "empty": "",
    "no token": "not.a.token",
    "too long": "x" * (TOKEN_LENGTH_MAX + 1),
    "unsigned": jwt.encode(dict(CLAIMS), "", algorithm="none"),
    "another secret": jwt.encode(dict(CLAIMS), SECRET[::-1], algorithm="HS256"),
    "another algorithm": jwt.encode(dict(CLAIMS), SECRET, algorithm="HS384"),
    "another issuer": signed(iss="somebody else"),
    "another audience": signed(aud="another service"),
    **{f"no {name}": signed_without(name) for name in ("exp", "iat", "sub", "iss", "aud")},
    "no tenant": signed_without("tenant"),
    "empty subject": signed(sub=""),
    "long subject": signed(sub="s" * 257),
    "one role": signed(roles="viewer"),
    "role of a number": signed(roles=[1]),
    "many roles": signed(roles=["viewer"] * 33),
    "role of services": signed(roles=["service"]),
    "bad tenant": signed(tenant="not a tenant's id"),
    "many tenants": signed(tenant=["acme"]),
    "made later": signed(iat=int(NOW.timestamp()) + 60),
    "good later": signed(nbf=int(NOW.timestamp()) + 60),
    "ends in words": signed(exp="tomorrow"),
    "ends in truth": signed(exp=True),
}


async def test_a_good_token_says_who_calls_and_for_how_long(verifier: TokenVerifier) -> None:
    verified = await verifier.verify(signed(jti="t1"))

    assert verified.seconds == 3600
    assert (verified.caller.tenant_id, verified.caller.subject) == ("acme", "ada")
    assert verified.caller.roles == {"viewer"}
    assert verified.caller.credential_id == "t1"
    assert not verified.caller.is_service


async def test_a_services_token_is_believed_without_a_tenant(
    verifier: TokenVerifier, clock: ManualClock
) -> None:
    token = ServiceTokens(SERVICE_SECRET, service="budget", clock=clock).token("")

    verified = await verifier.verify(token)

    assert verified.caller.is_service
    assert (verified.caller.tenant_id, verified.caller.subject) == ("", "service:budget")


async def test_a_token_that_is_over_is_refused(verifier: TokenVerifier) -> None:
    token = signed(exp=int(NOW.timestamp()))

    with pytest.raises(TokenExpired) as caught:
        await verifier.verify(token)

    assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
    assert (caught.value.reason, caught.value.metadata) == ("TOKEN_EXPIRED", {})


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
async def test_no_other_token_is_believed(token: str, verifier: TokenVerifier) -> None:
    with pytest.raises(InvalidToken) as caught:
        await verifier.verify(token)

    assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
    assert (caught.value.reason, caught.value.metadata) == ("INVALID_TOKEN", {})


async def test_a_key_that_is_not_configured_believes_nothing(clock: ManualClock) -> None:
    nothing = TokenVerifier(clock=clock)
    service = ServiceTokens(SERVICE_SECRET, service="budget", clock=clock).token("acme")

    for token in (signed(), service):
        with pytest.raises(InvalidToken):
            await nothing.verify(token)


async def test_only_services_sign_the_role_service(
    verifier: TokenVerifier, clock: ManualClock
) -> None:
    token = sign_token(
        SECRET,
        subject="service:budget",
        tenant_id="acme",
        roles=["service"],
        lifetime=timedelta(minutes=5),
        issuer="finops-service",
        clock=clock,
    )

    with pytest.raises(InvalidToken):
        await verifier.verify(token)


def test_a_services_token_is_signed_anew_at_half_its_life(clock: ManualClock) -> None:
    seconds = 0.0
    tokens = ServiceTokens(SERVICE_SECRET, service="budget", clock=clock, elapsed=lambda: seconds)

    first, again = tokens.token("acme"), tokens.token("acme")
    seconds = 3600
    later = tokens.token("acme")

    assert first == again
    assert later != first
