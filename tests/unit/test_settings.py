from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tandem.contracts.topics import Spread
from tandem.settings import Settings


def test_partitions_depend_on_the_bus():
    assert Settings(bus="local").partitions() == {Spread.SHARD: 8, Spread.WORK: 4, Spread.ONE: 1}
    assert Settings(bus="kafka").partitions() == {Spread.SHARD: 64, Spread.WORK: 32, Spread.ONE: 1}
    assert Settings(bus="kafka", shards=12).shards == 12


def test_files_lie_in_the_home(monkeypatch):
    monkeypatch.setenv("TANDEM_HOME", "/data")
    settings = Settings()
    assert settings.channels == Path("/data/channels.yaml")
    assert settings.bus_file == Path("/data/bus.sqlite")
    monkeypatch.setenv("TANDEM_CHANNELS", "/etc/channels.yaml")
    assert Settings().channels == Path("/etc/channels.yaml")


@pytest.mark.parametrize(
    ("name", "value"), [("BUS", "rabbit"), ("PREFIX", "Has Spaces"), ("SHARDS", "0"), ("TRACE_SAMPLE", "1.5")]
)
def test_nonsense_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"TANDEM_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_every_setting_says_what_it_is_for():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_secrets_are_not_shown():
    assert "sekret" not in repr(Settings(service_token="sekret"))
