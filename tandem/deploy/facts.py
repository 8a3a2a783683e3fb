"""What a service is made of, asked of the service itself: its settings, its ports, the clients that it builds."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from tandem.settings import Settings
from tandem.wiring import Wiring

CLIENTS = ("bus", "redis", "llm", "memory", "vectors", "packs", "channels")


@dataclass(frozen=True, slots=True)
class Facts:
    """`clients`: what the service asks its wiring for. `port`: of its gRPC server. `settings`: the names that it reads."""

    clients: frozenset[str]
    port: int | None
    settings: frozenset[str]


class _Anything:
    """Stands for a client that is handed on and never used."""

    def __getattr__(self, name: str) -> _Anything:
        return self

    def __call__(self, *_: object, **__: object) -> _Anything:
        return self


class _Watched(Wiring):
    """Notes which clients are asked for, also where only the maker of one is handed on."""

    def __init__(self, settings: Settings) -> None:
        self.asked: set[str] = set()
        stand_ins: dict[str, Any] = {name: _Anything() for name in CLIENTS}
        super().__init__(settings, **stand_ins)

    def __getattribute__(self, name: str) -> Any:
        if name in CLIENTS:
            self.asked.add(name)
        return super().__getattribute__(name)


def facts(service: str, role: str | None = None) -> Facts:
    """Builds the service with clients that do nothing, and looks at what it asked for."""
    kind = _settings_of(service)
    given: dict[str, Any] = {"service_token": "unused", "http_port": None}
    if role is not None:
        given["role"] = role
    if "llm_grants" in kind.model_fields:
        given["llm_grants"] = "redis"
    settings = kind(**given)
    wiring = _Watched(settings)
    importlib.import_module(f"services.{service}.app").build(settings, wiring)
    port = kind.model_fields.get(f"{service}_port")
    return Facts(
        clients=frozenset(wiring.asked),
        port=None if port is None else port.default,
        settings=frozenset(kind.model_fields),
    )


def _settings_of(service: str) -> type[Settings]:
    module = importlib.import_module(f"services.{service}.settings")
    [kind] = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module.__name__
    ]
    return kind
