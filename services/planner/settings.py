"""Settings of the planner."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tandem.settings import Settings


class PlannerSettings(Settings):
    """What only the planner reads."""

    role: Literal["owner", "worker", "both"] = Field(
        "both", description="owner: write tickets; worker: plan and interpret; two deployments of one image"
    )
