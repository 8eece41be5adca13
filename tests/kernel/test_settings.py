"""What services read from their environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.kernel.settings import ServiceSettings


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINOPS_LISTEN", "0.0.0.0:50051")
    monkeypatch.setenv("FINOPS_PEERS", '{"usage": "usage:50051"}')
    monkeypatch.setenv("FINOPS_JWT_SECRET", "s" * 32)
    monkeypatch.setenv("FINOPS_DRAIN_SECONDS", "5")
    settings = ServiceSettings()

    assert settings.listen == "0.0.0.0:50051"
    assert settings.peers == {"usage": "usage:50051"}
    assert settings.drain_seconds == 5


def test_secrets_are_not_shown() -> None:
    settings = ServiceSettings(jwt_secret="visible" * 8)  # type: ignore[arg-type] # as text

    assert "visible" not in repr(settings)
    with pytest.raises(ValidationError) as refused:
        ServiceSettings(jwt_secret="visible")  # type: ignore[arg-type] # as text
    assert "visible" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"jwt_secret": "s" * 31},
        {"service_token_secret": "short"},
        {"jwt_secret": "s" * 32, "service_token_secret": "s" * 32},
        {"jwks": "http://keys.example.com/jwks.json"},
        {"tls_certificate": Path("server.pem")},
        {"tls_key": Path("server.key")},
        {"tls_client_ca": Path("ca.pem")},
        {"peer_certificate": Path("c.pem"), "peer_key": Path("c.key")},
        {"drain_seconds": 0},
        {"trace_ratio": 1.5},
        {"log_level": "loud"},
    ],
)
def test_unsafe_and_half_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ServiceSettings(**wrong)


@pytest.mark.parametrize(
    "source",
    [
        "https://keys.example.com/jwks.json",
        "http://127.0.0.1:8/jwks",
        "http://localhost/k",
        "k.json",
    ],
)
def test_keys_come_from_safe_places(source: str) -> None:
    assert ServiceSettings(jwks=source).jwks == source
