"""Settings of the router."""

from __future__ import annotations

from pydantic import Field

from tandem.settings import Settings


class RouterSettings(Settings):
    """What only the router reads."""

    router_warm: bool = Field(True, description="embed every tenant's examples at the start, beside the work")
    router_model_s: float = Field(
        3.0, ge=0, le=30, description="seconds a model may take for a message that the small one is unsure of; 0: never"
    )
