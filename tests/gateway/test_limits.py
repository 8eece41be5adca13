"""Rate limits, with Redis and without."""

from __future__ import annotations

import socket

import httpx
import pytest

from gateway.errors import RateLimited
from gateway.limits import KnownCredentials, RateLimits, credential_digest, tenant_in
from gateway.settings import GatewaySettings
from tests.gateway.example_image import example_image
from tests.gateway.served import served
from tests.support.redis import RedisServer

HOUR = {"credential_limit": "3/hour", "tenant_limit": "5/hour", "anonymous_limit": "2/hour"}


def digest(token: str) -> str:
    found = credential_digest(f"Bearer {token}")
    assert found is not None
    return found


def test_a_digest_keeps_no_secret() -> None:
    assert "alice" not in digest("alice")
    assert digest("alice") != digest("bob")
    assert credential_digest(None) is credential_digest("") is None


def test_the_tenant_is_read_from_metadata() -> None:
    assert tenant_in([("a", "b"), ("x-finops-tenant", "acme")], "x-finops-tenant") == "acme"
    assert tenant_in([("x-finops-tenant", b"acme")], "x-finops-tenant") is None


def test_known_credentials_are_few_and_for_a_while() -> None:
    known = KnownCredentials(count_max=2, seconds_max=60)
    for name in ("a", "b", "a", "c"):
        known.learn(name, "acme")

    assert known.tenant_of("b") is None
    assert known.tenant_of("a") == known.tenant_of("c") == "acme"
    known.forget("a")
    assert known.tenant_of("a") is None
    expired = KnownCredentials(count_max=2, seconds_max=-1)
    expired.learn("a", "acme")
    assert expired.tenant_of("a") is None


async def test_strangers_share_the_limit_of_their_address() -> None:
    limits = RateLimits(GatewaySettings.model_validate(HOUR))

    await limits.take(None, "10.0.0.1")
    await limits.take(digest("made-up-1"), "10.0.0.1")
    with pytest.raises(RateLimited) as error:
        await limits.take(digest("made-up-2"), "10.0.0.1")
    await limits.take(None, "10.0.0.2")

    assert error.value.reason == "RATE_LIMITED"
    assert error.value.violations == [("address:10.0.0.1", "2 requests in 3600 s")]
    assert error.value.retry_after is not None
    await limits.close()


async def test_credentials_of_one_tenant_share_its_limit() -> None:
    limits = RateLimits(GatewaySettings.model_validate(HOUR))
    for name in ("alice", "bob"):
        limits.known.learn(digest(name), "acme")

    for name in ("alice", "alice", "alice", "bob", "bob"):
        allowance = await limits.take(digest(name), "10.0.0.1")
    with pytest.raises(RateLimited, match="tenant"):
        await limits.take(digest("bob"), "10.0.0.1")
    with pytest.raises(RateLimited, match="credential"):
        await limits.take(digest("alice"), "10.0.0.1")

    assert (allowance.limit, allowance.remaining) == (5, 0)
    await limits.close()


async def test_a_caller_sees_what_is_left_and_when_to_come_back(
    settings: GatewaySettings,
) -> None:
    few = settings.model_copy(update=HOUR)
    headers = {"authorization": "Bearer carol"}
    async with (
        served(few, example_image()) as (url, _),
        httpx.AsyncClient(base_url=url, headers=headers) as client,
    ):
        first = await client.get("/v1/query")
        answers = [await client.get("/v1/query") for _ in range(4)]
        alive = await client.get("/healthz")

    assert first.headers["ratelimit-limit"] == "2"
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [a.headers.get("ratelimit-remaining") for a in answers[:3]] == ["2", "1", "0"]
    assert int(answers[3].headers["retry-after"]) > 0
    details = [each["@type"].rpartition(".")[2] for each in answers[3].json()["error"]["details"]]
    assert details == ["ErrorInfo", "RetryInfo", "QuotaFailure"]
    assert alive.status_code == 200


async def test_a_dead_redis_leaves_limits_to_this_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    limits = RateLimits(
        GatewaySettings.model_validate({**HOUR, "redis_url": f"redis://127.0.0.1:{port}/0"})
    )

    await limits.take(None, "10.0.0.1")
    await limits.take(None, "10.0.0.1")
    with pytest.raises(RateLimited):
        await limits.take(None, "10.0.0.1")

    await limits.close()


async def test_gateways_count_together_in_redis(redis_server: RedisServer) -> None:
    both = [
        RateLimits(GatewaySettings.model_validate({**HOUR, "redis_url": redis_server.url}))
        for _ in range(2)
    ]

    for limits in both:
        await limits.take(None, "10.0.0.9")
    for limits in both:
        with pytest.raises(RateLimited):
            await limits.take(None, "10.0.0.9")
        await limits.close()


def test_a_limit_that_cannot_be_read_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="couldn't parse"):
        RateLimits(GatewaySettings(tenant_limit="many"))
