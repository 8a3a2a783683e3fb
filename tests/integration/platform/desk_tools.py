"""The business of a small pack: servers, by region, and what they cost."""

from __future__ import annotations

from tandem.errors import Refused

SERVERS = {"Frankfurt": {"web": 20, "mail": 10, "lost": 0}}


def list_servers(region: str) -> dict[str, list[str]]:
    return {"names": list(SERVERS.get(region, {}))}


def price_of(region: str, name: str) -> dict[str, int]:
    if name == "lost":
        raise Refused("gone", "there is no such server any more")
    return {"euro": SERVERS[region][name]}
