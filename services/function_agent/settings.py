"""Settings of function_agent."""

from __future__ import annotations

from pydantic import Field

from tandem.settings import Settings


class FunctionAgentSettings(Settings):
    """What only function_agent reads."""

    function_agent_model_s: float = Field(
        8.0, ge=0, description="seconds a model may take to find missing values; 0: never ask one"
    )
    function_agent_write_s: float = Field(
        20.0, ge=0, description="seconds a model may take to write a program; 0: never ask one"
    )
    function_agent_program_s: float = Field(
        1.0, gt=0, le=10, description="seconds of its own time a program's run may take"
    )
    function_agent_programs: int = Field(
        2, ge=1, le=64, description="programs run at once, each in a process of its own"
    )
