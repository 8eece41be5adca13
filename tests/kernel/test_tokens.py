"""Which tokens are accepted, and which are not."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from services.kernel.clock import ManualClock
from services.kernel.key_set import KeySet
from services.kernel.tokens import (
    SERVICE_ISSUER,
    SERVICE_KEY_ID,
    InvalidToken,
    ServiceTokens,
    TokenExpired,
    TokenVerifier,
    sign_token,
)
from tests.support.stopwatch import Stopwatch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "secret-of-people-and-programs-in-tests"
SERVICE_SECRET = "secret-of-services-alone-in-the-tests"
ED_KEY = Ed25519PrivateKey.generate()
RSA_KEY = generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: Ed25519PrivateKey | RSAPrivateKey, key_id: str, **more: str) -> dict[str, Any]:
    algorithm: Any = jwt.get_algorithm_by_name(
        "RS256" if isinstance(key, RSAPrivateKey) else "EdDSA"
    )
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, **more}


def claims(**changed: Any) -> dict[str, Any]:
    """Returns valid claims; a change to None removes one."""
    whole = {
        "sub": "ada",
        "tenant": "acme",
        "roles": ["analyst"],
        "iss": "finops",
        "aud": "finops",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 3600,
        "jti": "token-1",
    } | changed
    return {name: value for name, value in whole.items() if value is not None}


def signed(content: dict[str, Any] | None = None, **headers: str) -> str:
    return jwt.encode(content or claims(), SECRET, algorithm="HS256", headers=headers or None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def verifier(clock: ManualClock, tmp_path: Path) -> TokenVerifier:
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [jwk(ED_KEY, "ed-1"), jwk(RSA_KEY, "rsa-1")]}))
    return TokenVerifier(
        jwt_secret=SECRET,
        key_set=KeySet(str(keys)),
        service_secret=SERVICE_SECRET,
        clock=clock,
    )


async def test_a_token_tells_its_caller(verifier: TokenVerifier) -> None:
    verified = await verifier.verify(signed())
    caller = verified.caller

    assert (caller.tenant_id, caller.subject, caller.credential_id) == ("acme", "ada", "token-1")
    assert caller.roles == {"analyst"}
    assert caller.may("usage.record")
    assert not caller.may("budgets.write")
    assert not caller.is_service
    assert verified.seconds == 3600


@pytest.mark.parametrize(
    ("key", "algorithm", "key_id"), [(ED_KEY, "EdDSA", "ed-1"), (RSA_KEY, "RS256", "rsa-1")]
)
async def test_a_providers_token_is_verified_by_its_public_key(
    verifier: TokenVerifier, key: Any, algorithm: str, key_id: str
) -> None:
    token = jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": key_id})

    assert (await verifier.verify(token)).caller.subject == "ada"


async def test_a_token_that_names_no_key_is_verified_by_the_only_one(
    verifier: TokenVerifier,
) -> None:
    token = jwt.encode(claims(), ED_KEY, algorithm="EdDSA")

    assert (await verifier.verify(token)).caller.subject == "ada"


async def test_what_we_sign_we_accept(verifier: TokenVerifier, clock: ManualClock) -> None:
    token = sign_token(
        SECRET,
        subject="ada",
        tenant_id="acme",
        roles=["viewer"],
        lifetime=timedelta(minutes=5),
        clock=clock,
    )

    verified = await verifier.verify(token)

    assert verified.caller.roles == {"viewer"}
    assert verified.seconds == 300
    assert verified.caller.credential_id


def without_signature(algorithm: str) -> str:
    """Returns a token whose header asks for no proof."""
    parts = [{"alg": algorithm, "typ": "JWT"}, claims()]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*encoded, b""]).decode()


def signed_with_public_key() -> str:
    """Returns an HS256 token whose secret is a key that everybody may know."""
    public = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # The library refuses to make such a token, so it is made by hand.
    parts = [{"alg": "HS256", "typ": "JWT", "kid": "rsa-1"}, claims()]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    message = b".".join(encoded)
    signature = jwt.get_algorithm_by_name("HS256").sign(message, public)
    return (message + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def changed_body() -> str:
    """Returns the header and signature of one token around the claims of another."""
    header, _, signature = signed().split(".")
    _, body, _ = signed(claims(roles=["platform_admin"])).split(".")
    return f"{header}.{body}.{signature}"


FORGED = {
    "nothing": "",
    "no token": "x.y.z",
    "not even text of one": "ü" * 100,
    "no algorithm": without_signature("none"),
    "no algorithm, in capitals": without_signature("NONE"),
    "an algorithm with an empty signature": without_signature("HS256"),
    "another secret": jwt.encode(claims(), "x" * 40, algorithm="HS256"),
    "a longer hash of the right secret": jwt.encode(claims(), SECRET + "y" * 30, algorithm="HS512"),
    "a public key as secret": signed_with_public_key(),
    "a key of the same name": jwt.encode(
        claims(), Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": "ed-1"}
    ),
    "an unknown key": jwt.encode(claims(), ED_KEY, algorithm="EdDSA", headers={"kid": "ed-9"}),
    "the name of another kind of key": jwt.encode(
        claims(), ED_KEY, algorithm="EdDSA", headers={"kid": "rsa-1"}
    ),
    "the services' key id alone": signed(kid=SERVICE_KEY_ID),
    "the services' secret alone": jwt.encode(claims(), SERVICE_SECRET, algorithm="HS256"),
    "a changed body": changed_body(),
    "more than any token has": signed(claims(extra="x" * 9_000)),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
async def test_forged_tokens_are_refused(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(InvalidToken):
        await verifier.verify(token)


WRONG = {
    "another issuer": {"iss": "somebody"},
    "the services' issuer": {"iss": SERVICE_ISSUER},
    "another audience": {"aud": "somebody"},
    "no issuer": {"iss": None},
    "no audience": {"aud": None},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is no text": {"sub": 7},
    "an endless subject": {"sub": "s" * 257},
    "no expiry": {"exp": None},
    "an expiry that is no number": {"exp": "tomorrow"},
    "an expiry that is a truth": {"exp": True},
    "an endless expiry": {"exp": float("inf")},
    "no time of issue": {"iat": None},
    "issued in the future": {"iat": int(NOW.timestamp()) + 60},
    "not yet valid": {"nbf": int(NOW.timestamp()) + 60},
    "no tenant": {"tenant": None},
    "an empty tenant": {"tenant": ""},
    "a tenant that is no id": {"tenant": "acme' OR '1'='1"},
    "a tenant that is no text": {"tenant": ["acme"]},
    "roles that are no list": {"roles": "platform_admin"},
    "roles that are no text": {"roles": [["platform_admin"]]},
    "more roles than there are": {"roles": ["viewer"] * 33},
    "the role of services": {"roles": ["service"]},
}


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG.keys())
async def test_signed_tokens_with_wrong_claims_are_refused(
    verifier: TokenVerifier, changed: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken):
        await verifier.verify(signed(claims(**changed)))


async def test_a_token_ends_at_its_expiry(verifier: TokenVerifier, clock: ManualClock) -> None:
    token = signed()

    clock.advance(timedelta(seconds=3599))
    assert (await verifier.verify(token)).seconds == 1
    clock.advance(timedelta(seconds=1))
    with pytest.raises(TokenExpired):
        await verifier.verify(token)


async def test_clocks_may_differ_by_seconds(verifier: TokenVerifier) -> None:
    soon = int(NOW.timestamp()) + 4

    assert (await verifier.verify(signed(claims(iat=soon, nbf=soon)))).caller.subject == "ada"


async def test_one_of_several_audiences_is_enough(verifier: TokenVerifier) -> None:
    token = signed(claims(aud=["other", "finops"]))

    assert (await verifier.verify(token)).caller.subject == "ada"


async def test_a_role_nobody_knows_grants_nothing(verifier: TokenVerifier) -> None:
    caller = (await verifier.verify(signed(claims(roles=["emperor"])))).caller

    assert caller.permissions == frozenset()


@pytest.mark.parametrize("tenant", ["acme", ""])
async def test_a_service_acts_for_a_tenant_or_none(
    verifier: TokenVerifier, clock: ManualClock, tenant: str
) -> None:
    tokens = ServiceTokens(SERVICE_SECRET, service="budget", clock=clock)

    caller = (await verifier.verify(tokens.token(tenant))).caller

    assert (caller.subject, caller.tenant_id) == ("service:budget", tenant)
    assert caller.is_service
    assert caller.may("costs.read")


async def test_a_service_signs_anew_before_its_token_ends(
    verifier: TokenVerifier, clock: ManualClock
) -> None:
    watch = Stopwatch()
    tokens = ServiceTokens(SERVICE_SECRET, service="budget", clock=clock, elapsed=watch)
    first = tokens.token("acme")

    assert tokens.token("acme") == first
    assert tokens.token("other") != first
    for _ in range(20):
        watch.seconds += 60
        clock.advance(timedelta(seconds=60))
        assert (await verifier.verify(tokens.token("acme"))).seconds >= 60


async def test_without_a_secret_no_service_is_believed(clock: ManualClock) -> None:
    verifier = TokenVerifier(jwt_secret=SECRET, clock=clock)
    tokens = ServiceTokens(SECRET, service="budget", clock=clock)

    with pytest.raises(InvalidToken):
        await verifier.verify(tokens.token("acme"))


async def test_without_keys_nobody_is_believed(clock: ManualClock) -> None:
    verifier = TokenVerifier(clock=clock)

    for token in (signed(), jwt.encode(claims(), ED_KEY, algorithm="EdDSA")):
        with pytest.raises(InvalidToken):
            await verifier.verify(token)
