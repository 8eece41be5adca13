"""What every service reads from its environment, once, at start."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from secrets import token_bytes
from string import hexdigits
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SECRET_LENGTH_MIN = 32  # characters: HMAC-SHA256 is as strong as its key, up to 32 bytes
MASTER_KEY_DIGITS = 64  # hexadecimal: 256 bits


class ServiceSettings(BaseSettings):
    """Addresses, credentials and bounds of one service; prefix `FINOPS_`.

    A service adds its own by a subclass. Raises pydantic's ValidationError, which names the
    variable and never shows a secret.
    """

    model_config = SettingsConfigDict(
        env_prefix="FINOPS_", extra="ignore", hide_input_in_errors=True
    )

    # Where it keeps its state; roles `finops_<service>` and, for the worker, `..._worker`.
    database_url: str = ""
    read_database_url: str | None = None
    worker_database_url: str | None = None
    redis_url: str | None = None

    # Where it listens; port 0 takes a free one, which `port_file` and the log then name.
    listen: str = "127.0.0.1:0"
    metrics_listen: str | None = None
    port_file: Path | None = None
    concurrent_calls_max: PositiveInt = 2_000  # beyond, a call is refused rather than queued
    drain_seconds: PositiveFloat = 20

    # Who may call. `jwks` is a file or a URL; tokens signed by `jwt_secret` are for local use.
    jwt_secret: SecretStr | None = None
    jwks: str | None = None
    issuer: str = "finops"
    audience: str = "finops"
    service_token_secret: SecretStr | None = None

    # What secrets are encrypted with at rest: 64 hexadecimal digits each, separated by commas. The
    # first wraps new data keys, all of them open old ones.
    encryption_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()

    # TLS of the own port; with a client CA, callers must show a certificate that it signed.
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None

    # Other services, name to target, and the TLS towards them.
    peers: dict[str, str] = Field(default_factory=dict)
    peer_ca: Path | None = None
    peer_certificate: Path | None = None
    peer_key: Path | None = None
    peer_server_name: str | None = None

    # Exchange rates: the European Central Bank's file, newer than the one that is installed.
    exchange_rates_file: Path | None = None

    # What it tells about itself.
    otlp_endpoint: str | None = None
    trace_ratio: float = Field(default=1.0, ge=0, le=1)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def page_token_secret(self) -> bytes:
        """What page tokens are signed with; without a secret, pages end with the process."""
        secret = self.service_token_secret
        return secret.get_secret_value().encode() if secret is not None else token_bytes(32)

    @field_validator("jwt_secret", "service_token_secret")
    @classmethod
    def _require_strong_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < SECRET_LENGTH_MIN:
            raise ValueError(f"must have at least {SECRET_LENGTH_MIN} characters")
        return value

    @field_validator("encryption_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if isinstance(value, str):
            return [key.strip() for key in value.split(",") if key.strip()]
        return value

    @field_validator("encryption_keys")
    @classmethod
    def _require_whole_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in value:
            digits = key.get_secret_value()
            if len(digits) != MASTER_KEY_DIGITS or not set(digits) <= set(hexdigits):
                raise ValueError(f"each key must be {MASTER_KEY_DIGITS} hexadecimal digits")
        return value

    @field_validator("jwks")
    @classmethod
    def _require_safe_source(cls, value: str | None) -> str | None:
        """Refuses keys from the network in the clear: whoever answers there signs tokens."""
        url = urlsplit(value or "")
        if url.scheme == "http" and not _is_loopback(url.hostname or ""):
            raise ValueError("must be an https URL or a file")
        return value

    @model_validator(mode="after")
    def _require_whole_pairs(self) -> Self:
        for certificate, key in (
            ("tls_certificate", "tls_key"),
            ("peer_certificate", "peer_key"),
        ):
            if (getattr(self, certificate) is None) != (getattr(self, key) is None):
                raise ValueError(f"{certificate} and {key} are set together or not at all")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        if self.peer_certificate is not None and self.peer_ca is None:
            raise ValueError("peer_certificate needs peer_ca")
        if self.jwt_secret is not None and self.jwt_secret == self.service_token_secret:
            raise ValueError("service_token_secret must differ from jwt_secret")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
