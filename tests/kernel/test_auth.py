"""Credentials in a call's metadata: tokens, API keys and what is remembered of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.kernel.api_keys import (
    CACHE_SECONDS,
    InvalidApiKey,
    StoredApiKey,
    new_api_key,
    secret_digest,
)
from services.kernel.auth import TOKEN_CACHE_SECONDS, Authenticator
from services.kernel.caller import Caller
from services.kernel.clock import ManualClock
from services.kernel.errors import Unauthenticated, Unavailable
from services.kernel.tokens import TokenExpired, TokenVerifier, sign_token
from tests.support.stopwatch import Stopwatch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "secret-of-people-and-programs-in-tests"


class Directory:
    """Keys in memory, and how often they were asked for."""

    def __init__(self) -> None:
        self.keys: dict[str, StoredApiKey] = {}
        self.asked = 0
        self.is_down = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def find(self, key_id: str) -> StoredApiKey | None:
        self.asked += 1
        await self.answers.wait()
        if self.is_down:
            raise Unavailable
        return self.keys.get(key_id)

    def add(
        self,
        *roles: str,
        scopes: frozenset[str] = frozenset(),
        expires_at: datetime | None = None,
    ) -> str:
        """Adds a key and returns its text."""
        new = new_api_key()
        self.keys[new.key_id] = StoredApiKey(
            key_id=new.key_id,
            tenant_id="acme",
            roles=frozenset(roles),
            scopes=scopes,
            secret_digest=new.secret_digest,
            expires_at=expires_at,
        )
        return new.text

    def revoke_all(self) -> None:
        for key_id, key in self.keys.items():
            self.keys[key_id] = StoredApiKey(
                key_id, key.tenant_id, key.roles, key.scopes, key.secret_digest, None, NOW
            )


class Desk:
    """An authenticator with everything a test turns."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.clock = ManualClock(NOW)
        self.watch = Stopwatch()
        tokens = TokenVerifier(jwt_secret=SECRET, clock=self.clock)
        self.authenticator = Authenticator(
            tokens, api_keys=self.directory, clock=self.clock, elapsed=self.watch
        )

    def token(self, lifetime: timedelta = timedelta(hours=1)) -> str:
        return sign_token(
            SECRET,
            subject="ada",
            tenant_id="acme",
            roles=["viewer"],
            lifetime=lifetime,
            clock=self.clock,
        )

    async def admit(self, credential: str) -> Caller:
        return await self.authenticator.authenticate({"authorization": f"Bearer {credential}"})

    def wait(self, seconds: float) -> None:
        self.watch.seconds += seconds
        self.clock.advance(timedelta(seconds=seconds))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
async def test_a_bearer_credential_is_taken(desk: Desk, scheme: str) -> None:
    metadata = {"authorization": scheme + desk.token()}

    assert (await desk.authenticator.authenticate(metadata)).subject == "ada"


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Basic YWRhOnNlY3JldA==", "token", b"Bearer x"]
)
async def test_anything_else_is_refused(desk: Desk, authorization: str | bytes | None) -> None:
    metadata = {"authorization": authorization} if authorization is not None else {}

    with pytest.raises(Unauthenticated):
        await desk.authenticator.authenticate(metadata)


async def test_a_remembered_token_ends_at_its_expiry_all_the_same(desk: Desk) -> None:
    token = desk.token(timedelta(seconds=10))
    await desk.admit(token)

    desk.wait(9)
    await desk.admit(token)
    desk.wait(1)
    with pytest.raises(TokenExpired):
        await desk.admit(token)


async def test_a_token_is_verified_again_after_a_minute(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, verified = desk.token(), 0
    verify = TokenVerifier.verify

    async def counted(self: TokenVerifier, text: str) -> object:
        nonlocal verified
        verified += 1
        return await verify(self, text)

    monkeypatch.setattr(TokenVerifier, "verify", counted)
    for _ in range(3):
        await desk.admit(token)
    assert verified == 1
    desk.wait(TOKEN_CACHE_SECONDS)
    await desk.admit(token)
    assert verified == 2


async def test_a_key_acts_with_its_roles(desk: Desk) -> None:
    text = desk.directory.add("analyst")

    caller = await desk.admit(text)

    assert caller.tenant_id == "acme"
    assert caller.subject == f"api_key:{caller.credential_id}"
    assert caller.credential_id in text
    assert caller.may("usage.record")


async def test_scopes_narrow_a_key_and_never_widen_it(desk: Desk) -> None:
    text = desk.directory.add("viewer", scopes=frozenset({"usage.*", "budgets.write"}))

    caller = await desk.admit(text)

    assert caller.permissions == {"usage.read"}


async def test_a_key_is_never_a_service(desk: Desk) -> None:
    caller = await desk.admit(desk.directory.add("service", "viewer"))

    assert not caller.is_service
    assert caller.roles == {"viewer"}
    assert not caller.may("api_keys.look_up")


async def test_wrong_keys_are_refused_alike(desk: Desk) -> None:
    text = desk.directory.add("viewer")
    prefix, key_id, secret = text.split("_")
    ended = desk.directory.add("viewer", expires_at=NOW)
    wrong = [
        f"{prefix}_{key_id}_{secret[:-1]}",
        f"{prefix}_{key_id}_{secret}0",
        f"{prefix}_{key_id}_",
        f"{prefix}_{key_id}",
        f"{prefix}_unknown_{secret}",
        f"{prefix}__",
        f"{prefix}_" + "x" * 300,
        ended,
    ]

    texts = set()
    for key in wrong:
        with pytest.raises(InvalidApiKey) as refused:
            await desk.admit(key)
        texts.add((refused.value.message, str(refused.value.metadata)))
    assert len(texts) == 1


async def test_a_revoked_key_is_refused_within_five_seconds(desk: Desk) -> None:
    text = desk.directory.add("viewer")
    await desk.admit(text)
    desk.directory.revoke_all()

    desk.wait(CACHE_SECONDS - 0.1)
    await desk.admit(text)
    desk.wait(0.1)
    with pytest.raises(InvalidApiKey):
        await desk.admit(text)
    assert CACHE_SECONDS < 5


async def test_a_slow_look_up_makes_a_revocation_no_later(desk: Desk) -> None:
    text = desk.directory.add("viewer")
    desk.directory.answers.clear()
    first = asyncio.ensure_future(desk.admit(text))
    await asyncio.sleep(0)
    desk.wait(2)
    second = asyncio.ensure_future(desk.admit(text))
    await asyncio.sleep(0)
    desk.directory.answers.set()
    await asyncio.gather(first, second)
    desk.directory.revoke_all()

    desk.wait(1)
    with pytest.raises(InvalidApiKey):
        await desk.admit(text)


async def test_a_key_ends_at_its_expiry(desk: Desk) -> None:
    text = desk.directory.add("viewer", expires_at=NOW + timedelta(seconds=2))
    await desk.admit(text)

    desk.wait(2)
    with pytest.raises(InvalidApiKey):
        await desk.admit(text)


async def test_a_hundred_calls_at_once_ask_for_a_key_once(desk: Desk) -> None:
    text = desk.directory.add("viewer")

    await asyncio.gather(*(desk.admit(text) for _ in range(100)))
    await desk.admit(text)

    assert desk.directory.asked == 1


async def test_one_callers_cancellation_is_not_the_others(desk: Desk) -> None:
    text = desk.directory.add("viewer")
    desk.directory.answers.clear()
    calls = [asyncio.ensure_future(desk.admit(text)) for _ in range(3)]
    await asyncio.sleep(0)
    calls[0].cancel()
    await asyncio.sleep(0)
    desk.directory.answers.set()

    first, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert [caller.tenant_id for caller in others if isinstance(caller, Caller)] == ["acme"] * 2


async def test_a_directory_that_is_down_admits_nobody_unknown(desk: Desk) -> None:
    text = desk.directory.add("viewer")
    await desk.admit(text)
    desk.directory.is_down = True

    await desk.admit(text)
    desk.wait(CACHE_SECONDS)
    with pytest.raises(Unavailable):
        await desk.admit(text)
    desk.directory.is_down = False
    assert (await desk.admit(text)).tenant_id == "acme"


async def test_without_a_directory_no_key_is_accepted() -> None:
    authenticator = Authenticator(TokenVerifier(jwt_secret=SECRET))

    with pytest.raises(InvalidApiKey):
        await authenticator.authenticate({"authorization": f"Bearer {new_api_key().text}"})


def test_only_a_digest_of_a_key_can_be_stored() -> None:
    key = new_api_key()
    prefix, key_id, secret = key.text.split("_")

    assert (prefix, key_id) == ("fk", key.key_id)
    assert len(bytes.fromhex(secret)) == 32
    assert key.secret_digest == secret_digest(secret)
    assert len(key.secret_digest) == 32
    assert new_api_key().text != key.text
