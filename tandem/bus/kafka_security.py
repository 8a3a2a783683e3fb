"""How a process is let in by the brokers: TLS against a given authority, and a SCRAM user."""

from __future__ import annotations

import ssl

from faststream.security import BaseSecurity, SASLScram512

from tandem.errors import InvalidSettings
from tandem.settings import Settings


def kafka_security(settings: Settings) -> BaseSecurity | None:
    """None: plain and unauthenticated. Raises InvalidSettings for a half-given identity or an unreadable authority."""
    password = settings.kafka_password.get_secret_value()
    if bool(settings.kafka_user) != bool(password):
        raise InvalidSettings("set both TANDEM_KAFKA_USER and TANDEM_KAFKA_PASSWORD, or neither")
    context = _context(settings)
    if settings.kafka_user:
        return SASLScram512(settings.kafka_user, password, ssl_context=context, use_ssl=context is not None)
    return BaseSecurity(ssl_context=context, use_ssl=True) if context is not None else None


def _context(settings: Settings) -> ssl.SSLContext | None:
    if settings.kafka_ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(settings.kafka_ca))
    except (OSError, ssl.SSLError) as error:
        raise InvalidSettings(f"TANDEM_KAFKA_CA: {settings.kafka_ca} is no readable PEM file: {error}") from error
