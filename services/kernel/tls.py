"""TLS, and mutual TLS, as the settings ask for it."""

from __future__ import annotations

from pathlib import Path

import grpc

from services.kernel.settings import ServiceSettings


class _Certificate:
    """The server's certificate, read again whenever its file has changed."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._files = [path for path in (certificate, key, client_ca) if path is not None]
        self._read_at = self._changed_at()

    def _changed_at(self) -> list[int]:
        return [path.stat().st_mtime_ns for path in self._files]

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Returns what the files hold. Raises OSError."""
        certificate, key, *client_ca = (path.read_bytes() for path in self._files)
        return grpc.ssl_server_certificate_configuration(
            [(key, certificate)], root_certificates=client_ca[0] if client_ca else None
        )

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Returns the new certificate, None while it is the same; gRPC asks at each handshake.

        Renewal therefore needs no restart. A file that is not there for the moment changes nothing.
        """
        try:
            changed_at = self._changed_at()
            if changed_at == self._read_at:
                return None
            configuration = self.read()
        except OSError:
            return None
        self._read_at = changed_at
        return configuration


def server_credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    """Returns the server's side of TLS, None for plain text. Raises OSError for missing files."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    certificate = _Certificate(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    return grpc.dynamic_ssl_server_credentials(
        certificate.read(),
        certificate.renewed,  # type: ignore[arg-type] # None keeps what there is; the stub lacks it
        require_client_authentication=settings.tls_client_ca is not None,
    )


def channel_credentials(settings: ServiceSettings) -> grpc.ChannelCredentials | None:
    """Returns the side that calls peers, None for plain text. Raises OSError for missing files."""
    if settings.peer_ca is None:
        return None
    key, certificate = settings.peer_key, settings.peer_certificate
    return grpc.ssl_channel_credentials(
        root_certificates=settings.peer_ca.read_bytes(),
        private_key=key.read_bytes() if key is not None else None,
        certificate_chain=certificate.read_bytes() if certificate is not None else None,
    )
