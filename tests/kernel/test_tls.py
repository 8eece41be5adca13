"""TLS and mutual TLS, as the settings ask for them."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from services.kernel.client import PeerUnavailable, channel
from services.kernel.tls import channel_credentials, server_credentials
from tests.support.certificates import Authority, Identity
from tests.support.echo import EchoRequest, EchoServicer, EchoStub, registered
from tests.support.server import LocalServer, serving, settings_of

HELLO = EchoRequest(text="hello")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def own(identity: Identity) -> dict[str, Any]:
    return {"tls_certificate": identity.certificate, "tls_key": identity.key}


async def greet(server: LocalServer, **settings: Any) -> str:
    """Calls the server as a peer with these settings."""
    peers = {"echo": server.target}
    async with channel("echo", settings_of(peers=peers, **settings), service="tests") as peer:
        answer = await EchoStub(peer).Greet(HELLO, timeout=5)
    return str(answer.text)


async def test_a_server_with_a_certificate_speaks_tls(authority: Authority) -> None:
    async with serving(registered(EchoServicer()), **own(authority.issue("server"))) as server:
        answer = await greet(server, peer_ca=authority.file)

    assert answer == "hello"


async def test_a_server_with_a_certificate_speaks_nothing_else(authority: Authority) -> None:
    async with serving(registered(EchoServicer()), **own(authority.issue("server"))) as server:
        with pytest.raises(PeerUnavailable):
            await greet(server)


async def test_a_server_of_another_authority_is_not_believed(
    authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    async with serving(registered(EchoServicer()), **own(stranger.issue("server"))) as server:
        with pytest.raises(PeerUnavailable):
            await greet(server, peer_ca=authority.file)


@pytest.mark.parametrize(("name", "is_believed"), [("usage.internal", True), ("else", False)])
async def test_a_server_is_believed_by_its_own_name(
    authority: Authority,
    name: str,
    is_believed: bool,  # noqa: FBT001 - a column of the table
) -> None:
    identity = authority.issue("usage.internal")
    async with serving(registered(EchoServicer()), **own(identity)) as server:
        if is_believed:
            assert await greet(server, peer_ca=authority.file, peer_server_name=name) == "hello"
        else:
            with pytest.raises(PeerUnavailable):
                await greet(server, peer_ca=authority.file, peer_server_name=name)


async def test_mutual_tls_admits_those_the_authority_signed(
    authority: Authority, tmp_path: Path
) -> None:
    server_identity, client = authority.issue("server"), authority.issue("client")
    stranger = Authority(tmp_path, "stranger").issue("other")
    mutual = {**own(server_identity), "tls_client_ca": authority.file}
    async with serving(registered(EchoServicer()), **mutual) as server:
        answer = await greet(
            server,
            peer_ca=authority.file,
            peer_certificate=client.certificate,
            peer_key=client.key,
        )
        with pytest.raises(PeerUnavailable):
            await greet(server, peer_ca=authority.file)
        with pytest.raises(PeerUnavailable):
            await greet(
                server,
                peer_ca=authority.file,
                peer_certificate=stranger.certificate,
                peer_key=stranger.key,
            )

    assert answer == "hello"


async def test_a_renewed_certificate_is_shown_without_a_restart(authority: Authority) -> None:
    identity = authority.issue("server")
    async with serving(registered(EchoServicer()), **own(identity)) as server:
        address = ("127.0.0.1", server.running.port)
        before = await shown(address)
        authority.issue("server")
        after = await shown(address)
        answer = await greet(server, peer_ca=authority.file)

    assert after == identity.certificate.read_text()
    assert after != before
    assert answer == "hello"


async def shown(address: tuple[str, int]) -> str:
    """Returns the certificate that the server shows."""
    return await asyncio.to_thread(ssl.get_server_certificate, address, timeout=5)


def test_plain_text_is_the_default() -> None:
    assert server_credentials(settings_of()) is None
    assert channel_credentials(settings_of()) is None


def test_missing_files_are_an_error_at_start(tmp_path: Path) -> None:
    missing = Identity(tmp_path / "no.pem", tmp_path / "no.key")

    with pytest.raises(FileNotFoundError):
        server_credentials(settings_of(**own(missing)))
    with pytest.raises(FileNotFoundError):
        channel_credentials(settings_of(peer_ca=missing.certificate))
