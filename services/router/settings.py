"""Settings of the router."""

from __future__ import annotations

from pydantic import Field

from tandem.settings import Settings


class RouterSettings(Settings):
    """What only the router reads."""

    router_in_flight: int = Field(256, ge=1, description="messages classified at once")
