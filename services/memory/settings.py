"""Settings of memory."""

from __future__ import annotations

from pydantic import Field

from tandem.settings import Settings


class MemorySettings(Settings):
    """What only memory reads."""

    memory_host: str = Field("0.0.0.0", description="address the gRPC server listens on")
    memory_port: int = Field(7002, ge=0, le=65535, description="port of the gRPC server")
    memory_days: int = Field(90, ge=1, description="days a silent conversation is remembered")
    memory_model_s: float = Field(
        20.0,
        ge=0,
        le=240,  # the planner waits for notes for five minutes
        description="seconds a model may take for the notes of a ticket that came to an end; 0: none are taken",
    )
