"""Keys that another service keeps: a look-up that fails is not a key that does not exist."""

from __future__ import annotations

from functools import partial
from typing import Any

import grpc
import pytest
from finops.usage.v1 import api_key_service_pb2, api_key_service_pb2_grpc

from services.kernel.api_keys_remote import ApiKeysUnavailable, RemoteApiKeyDirectory
from services.kernel.client import PeerUnavailable
from services.kernel.errors import Error, NotFound, PermissionDenied, Unavailable
from tests.support.server import service_token_of, serving


class Refusing(api_key_service_pb2_grpc.ApiKeyServiceServicer):
    """Fails every look-up in one way."""

    def __init__(self, error: Error) -> None:
        self._error = error

    async def LookUpApiKey(  # noqa: N802 - the contract's name
        self, _: api_key_service_pb2.LookUpApiKeyRequest, __: Any
    ) -> api_key_service_pb2.LookUpApiKeyResponse:
        raise self._error


def refusing(error: Error) -> Any:
    make: Any = Refusing  # the stubs make every method abstract
    return partial(api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server, make(error))


async def test_a_key_that_is_nowhere_is_none() -> None:
    async with serving(refusing(NotFound())) as server:
        directory = RemoteApiKeyDirectory(server.channel_with(service_token_of(tenant="")))

        assert await directory.find("key") is None


async def test_a_refused_look_up_says_that_keys_cannot_be_checked() -> None:
    async with serving(refusing(PermissionDenied())) as server:
        directory = RemoteApiKeyDirectory(server.channel_with(service_token_of(tenant="")))

        with pytest.raises(ApiKeysUnavailable) as caught:
            await directory.find("key")

    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert caught.value.reason == "API_KEYS_UNAVAILABLE"
    assert caught.value.metadata == {"code": "PERMISSION_DENIED"}


async def test_an_unreachable_peer_is_unavailable() -> None:
    async with serving(refusing(Unavailable())) as server:
        directory = RemoteApiKeyDirectory(server.channel_with(service_token_of(tenant="")))

        with pytest.raises(PeerUnavailable):
            await directory.find("key")
