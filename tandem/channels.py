"""Channels: who may speak for whom. An adapter signs what it publishes with its channel's key.

`channels.yaml`:

    channels:
      webhook: {key: <secret>, tenants: [acme]}
    tenants:
      acme: {pack: cloud_support}

The signature is HMAC-SHA256, in hexadecimal, over one line `name=value` per `ce_*` header, sorted by name, then an empty
line, then the body. It travels in the header `tandem-signature`.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from tandem.contracts.message import Header
from tandem.errors import InvalidSettings, Refused

SIGNATURE = "tandem-signature"


class ChannelEntry(BaseModel):
    """A channel's key and the tenants it may speak for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: SecretStr = Field(min_length=16)
    tenants: frozenset[str]


class TenantEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    pack: str


def sign(headers: Iterable[Header], body: bytes, key: str) -> str:
    """The signature of a record. Raises Refused for a header that cannot be signed."""
    lines = []
    for name, value in sorted(headers, key=lambda header: header[0]):
        if not name.startswith("ce_"):
            continue
        if value is None or b"\n" in value:
            raise Refused("bad-header", f"header {name!r} is null or has a line break")
        lines.append(name.encode() + b"=" + value + b"\n")
    code = _keyed(key).copy()
    code.update(b"".join(lines) + b"\n" + body)
    return code.hexdigest()


@lru_cache(maxsize=64)
def _keyed(key: str) -> hmac.HMAC:
    """The code of nothing yet: a channel's key is prepared once."""
    return hmac.new(key.encode(), digestmod="sha256")


def signed(headers: tuple[Header, ...], body: bytes, key: str) -> tuple[Header, ...]:
    """The headers with their signature."""
    return (*headers, (SIGNATURE, sign(headers, body, key).encode()))


def verify(headers: Iterable[Header], body: bytes, key: str) -> None:
    """Raises Refused unless exactly one signature is there, it is right, and no `ce_*` header is there twice."""
    headers = tuple(headers)
    names = [name for name, _ in headers if name.startswith("ce_") or name == SIGNATURE]
    if len(names) != len(set(names)):
        raise Refused("bad-header", "a signed header is there twice")
    found = next((value for name, value in headers if name == SIGNATURE), None)
    if not found:
        raise Refused("unsigned", f"the header {SIGNATURE!r} is missing")
    if not hmac.compare_digest(found, sign(headers, body, key).encode()):
        raise Refused("bad-signature", "the signature is not of these headers, this body and this channel's key")


class Channels(BaseModel):
    """What channels.yaml says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: dict[str, ChannelEntry] = Field(default_factory=dict)
    tenants: dict[str, TenantEntry] = Field(default_factory=dict)

    def entry(self, channel: str) -> ChannelEntry:
        """Raises Refused for an unknown channel."""
        found = self.channels.get(channel)
        if found is None:
            raise Refused("unknown-channel", f"channel {channel!r} is not in channels.yaml")
        return found

    def key(self, channel: str) -> str:
        return self.entry(channel).key.get_secret_value()

    def verify(self, channel: str, tenant: str, headers: Iterable[Header], body: bytes) -> None:
        """Raises Refused unless the channel has signed the record and may speak for the tenant."""
        verify(headers, body, self.key(channel))
        self.permit(channel, tenant)

    def permit(self, channel: str, tenant: str) -> None:
        """Raises Refused unless the channel may speak for the tenant."""
        if tenant not in self.entry(channel).tenants:
            raise Refused("tenant-not-allowed", f"channel {channel!r} may not speak for tenant {tenant!r}")

    def pack_of(self, tenant: str) -> str:
        """The tenant's pack. Raises Refused for an unknown tenant."""
        found = self.tenants.get(tenant)
        if found is None:
            raise Refused("unknown-tenant", f"tenant {tenant!r} is not in channels.yaml")
        return found.pack


def load_channels(path: Path) -> Channels:
    """Read channels.yaml. Raises InvalidSettings that says what to do."""
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Channels.model_validate(body or {})
    except FileNotFoundError:
        raise InvalidSettings(
            f"no channels file at {path}; `tandem up` writes one, TANDEM_CHANNELS says where"
        ) from None
    except (yaml.YAMLError, ValidationError) as error:
        places = [".".join(map(str, e["loc"])) for e in error.errors()] if isinstance(error, ValidationError) else []
        raise InvalidSettings(f"{path} is not a valid channels file ({', '.join(places) or 'YAML'})") from None


def write_channels(path: Path, channels: Iterable[str], tenants: dict[str, str]) -> Channels:
    """Write a channels file, readable by its owner alone: every channel may speak for every tenant (tenant → pack)."""
    body = {
        "channels": {name: {"key": secrets.token_hex(32), "tenants": sorted(tenants)} for name in channels},
        "tenants": {tenant: {"pack": pack} for tenant, pack in tenants.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    draft.write_text(yaml.safe_dump(body, sort_keys=True), encoding="utf-8")
    draft.replace(path)
    return Channels.model_validate(body)
