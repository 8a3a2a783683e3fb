"""Settings of function_agent."""

from __future__ import annotations

from pydantic import Field

from tandem.settings import Settings


class FunctionAgentSettings(Settings):
    """What only function_agent reads."""

    function_agent_model_s: float = Field(
        8.0, ge=0, description="seconds a model may take to find missing values; 0: never ask one"
    )
