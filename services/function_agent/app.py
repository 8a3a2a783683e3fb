"""Composition of function_agent."""

from __future__ import annotations

from services.function_agent.extraction import ModelPolicy
from services.function_agent.handlers import HANDLERS
from services.function_agent.sandbox import Limits, Sandbox
from services.function_agent.settings import FunctionAgentSettings
from tandem.service import Service
from tandem.wiring import Wiring


def build(settings: FunctionAgentSettings, wiring: Wiring) -> Service:
    """The service: handlers on `tasks.function_agent`."""
    policy = ModelPolicy(seconds=settings.function_agent_model_s, write_s=settings.function_agent_write_s)
    limits = Limits(seconds=settings.function_agent_program_s)
    sandbox = Sandbox(limits, settings.function_agent_programs)
    return Service.agent(
        "function_agent", HANDLERS, wiring, packs=wiring.packs(), llm=wiring.llm(), policy=policy, sandbox=sandbox
    )
