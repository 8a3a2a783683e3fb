"""`tandem run SERVICE`: one service in this process."""

from __future__ import annotations

import importlib
import os
from typing import Annotated, Any

import typer

from tandem.contracts.topics import SERVICES
from tandem.errors import InvalidSettings
from tandem.service import Service
from tandem.settings import Settings, read_settings
from tandem.wiring import Wiring


def command(
    service: Annotated[str, typer.Argument(help=f"One of {', '.join(SERVICES)}.")],
    role: Annotated[str | None, typer.Option(help="planner only: owner, worker or both.")] = None,
) -> None:
    """Run one service until SIGTERM, against the bus and Redis that TANDEM_* settings name."""
    if service not in SERVICES:
        raise InvalidSettings(f"no service is called {service!r}; there are {', '.join(SERVICES)}")
    if role is not None:
        if service != "planner":
            raise InvalidSettings(f"{service} has no roles; --role is for planner")
        os.environ["TANDEM_ROLE"] = role
    build_service(service).run()


def build_service(name: str) -> Service:
    """The service as its folder composes it, from the environment's settings."""
    kind = _settings_of(importlib.import_module(f"services.{name}.settings"), name)
    app: Any = importlib.import_module(f"services.{name}.app")
    settings = read_settings(kind)
    service: Service = app.build(settings, Wiring(settings))
    return service


def _settings_of(module: Any, name: str) -> type[Settings]:
    """The one subclass of Settings the module defines."""
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise InvalidSettings(f"services/{name}/settings.py must define exactly one Settings")
    return found[0]
