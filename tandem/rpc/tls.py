"""TLS between the platform's services, from PEM files; without them calls are as plain as the network they go over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from tandem.errors import InvalidSettings
from tandem.settings import Settings


@dataclass(frozen=True, slots=True)
class Tls:
    """`cert` and `key` are shown to the other side, `ca` is what the other side is held to: a server with `ca` takes no client
    without a certificate of that authority. They are read when a server starts and when a client first calls."""

    cert: Path | None
    key: Path | None
    ca: Path | None

    def server(self) -> grpc.ServerCredentials:
        """Raises InvalidSettings."""
        if self.cert is None or self.key is None:
            raise InvalidSettings("a server with TLS needs TANDEM_GRPC_CERT and TANDEM_GRPC_KEY")
        pair = (_read("TANDEM_GRPC_KEY", self.key), _read("TANDEM_GRPC_CERT", self.cert))
        ca = _read("TANDEM_GRPC_CA", self.ca) if self.ca else None
        return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)

    def client(self) -> grpc.ChannelCredentials:
        """Raises InvalidSettings."""
        if self.ca is None:
            raise InvalidSettings("a client with TLS needs TANDEM_GRPC_CA, the authority that servers are held to")
        key = _read("TANDEM_GRPC_KEY", self.key) if self.key else None
        cert = _read("TANDEM_GRPC_CERT", self.cert) if self.cert else None
        return grpc.ssl_channel_credentials(_read("TANDEM_GRPC_CA", self.ca), key, cert)


def tls_of(settings: Settings) -> Tls | None:
    """None: calls are not encrypted. Raises InvalidSettings."""
    cert, key, ca = settings.grpc_cert, settings.grpc_key, settings.grpc_ca
    if (cert is None) != (key is None):
        raise InvalidSettings("set both TANDEM_GRPC_CERT and TANDEM_GRPC_KEY, or neither")
    return Tls(cert, key, ca) if cert or ca else None


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidSettings(f"{name}: {path} cannot be read: {error.strerror}") from error
