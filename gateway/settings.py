"""The gateway's settings, read from the environment once, at start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AliasChoices,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1 << 20


def _shared(name: str) -> AliasChoices:
    """Names a setting that all processes of the suite share, without the gateway's prefix."""
    return AliasChoices(f"FINOPS_GATEWAY_{name}", f"FINOPS_{name}", name.lower())


class GatewaySettings(BaseSettings):
    """Every bound and address of the gateway; prefix `FINOPS_GATEWAY_`, shared ones `FINOPS_`.

    Limits of requests are `<count>/<second|minute|hour>`, as the library `limits` reads them.
    """

    model_config = SettingsConfigDict(env_prefix="FINOPS_GATEWAY_", populate_by_name=True)

    listen: str = "127.0.0.1:8080"
    port_file: Path | None = Field(default=None, validation_alias=_shared("PORT_FILE"))
    peers: dict[str, str] = Field(default_factory=dict, validation_alias=_shared("PEERS"))
    redis_url: str | None = Field(default=None, validation_alias=_shared("REDIS_URL"))
    image: Path | None = None

    peer_ca: Path | None = Field(default=None, validation_alias=_shared("PEER_CA"))
    peer_certificate: Path | None = Field(
        default=None, validation_alias=_shared("PEER_CERTIFICATE")
    )
    peer_key: Path | None = Field(default=None, validation_alias=_shared("PEER_KEY"))
    peer_server_name: str | None = Field(default=None, validation_alias=_shared("PEER_SERVER_NAME"))
    tls_certificate: Path | None = Field(default=None, validation_alias=_shared("TLS_CERTIFICATE"))
    tls_key: Path | None = Field(default=None, validation_alias=_shared("TLS_KEY"))
    trusted_proxies: list[str] = Field(default_factory=lambda: ["127.0.0.1", "::1"])

    # Bodies: an import part is 64 MiB at most, so 80 MiB leaves room; JSON costs more to read.
    body_bytes_max: PositiveInt = 80 * MEBIBYTE
    json_bytes_max: PositiveInt = 32 * MEBIBYTE
    line_bytes_max: PositiveInt = 8 * MEBIBYTE
    stream_bytes_max: PositiveInt = 1024 * MEBIBYTE
    json_depth_max: Annotated[int, Field(ge=1, le=100)] = 64
    header_bytes_max: PositiveInt = 64 * 1024
    # A filter of 4,096 characters takes up to 12 bytes a character; the parser reads 64 KiB.
    target_bytes_max: PositiveInt = 60 * 1024
    message_bytes_max: PositiveInt = 96 * MEBIBYTE

    body_seconds_max: PositiveFloat = 120.0
    unary_seconds: PositiveFloat = 30.0
    unary_seconds_max: PositiveFloat = 300.0
    stream_seconds: PositiveFloat = 3600.0
    stream_seconds_max: PositiveFloat = 86400.0
    heartbeat_seconds: PositiveFloat = 15.0
    first_item_seconds: PositiveFloat = 1.0
    probe_seconds: PositiveFloat = 2.0
    keep_alive_seconds: PositiveInt = 75
    drain_notice_seconds: NonNegativeFloat = 1.0
    drain_seconds: PositiveInt = Field(default=20, validation_alias=_shared("DRAIN_SECONDS"))
    connections_max: PositiveInt = 4096

    credential_limit: str = "1000/second"
    tenant_limit: str = "2000/second"
    anonymous_limit: str = "100/second"
    known_credentials_max: PositiveInt = 10_000
    known_credential_seconds: PositiveInt = 600

    origins: list[str] = Field(default_factory=list)
    compress_bytes_min: PositiveInt = 1024

    @model_validator(mode="after")
    def _files_come_in_pairs(self) -> Self:
        pairs = (self.peer_certificate, self.peer_key), (self.tls_certificate, self.tls_key)
        if any((certificate is None) != (key is None) for certificate, key in pairs):
            raise ValueError("a TLS certificate and its key are given together or not at all")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on; port 0 takes any free one."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - ":8080" asks for all
