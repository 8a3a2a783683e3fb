"""How a process is let in by the brokers."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from faststream.kafka.security import parse_security
from faststream.security import SASLScram512

from tandem.bus.kafka_security import kafka_security
from tandem.errors import InvalidSettings
from tandem.settings import Settings


def test_without_settings_nothing_is_asked_for() -> None:
    assert kafka_security(Settings()) is None


def test_a_user_is_proved_by_scram() -> None:
    security = kafka_security(Settings(kafka_user="router", kafka_password="a-password"))
    assert isinstance(security, SASLScram512)
    options = parse_security(security)
    assert (options["sasl_mechanism"], options["security_protocol"]) == ("SCRAM-SHA-512", "SASL_PLAINTEXT")
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("router", "a-password")


def test_an_authority_makes_it_tls_that_checks_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = ssl.create_default_context()
    monkeypatch.setattr(ssl, "create_default_context", lambda cafile: authority)
    settings = Settings(kafka_user="router", kafka_password="a-password", kafka_ca=tmp_path / "ca.crt")
    options = parse_security(kafka_security(settings))
    assert options["security_protocol"] == "SASL_SSL"
    assert options["ssl_context"] is authority
    assert authority.check_hostname


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kafka_user": "router"}, "TANDEM_KAFKA_PASSWORD"),
        ({"kafka_password": "x"}, "TANDEM_KAFKA_USER"),
        ({"kafka_ca": "/nowhere/ca.crt"}, "TANDEM_KAFKA_CA"),
    ],
)
def test_half_an_identity_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        kafka_security(Settings(**given))
