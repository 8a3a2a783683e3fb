"""Composition of function_agent."""

from __future__ import annotations

from services.function_agent.extraction import ModelPolicy
from services.function_agent.handlers import HANDLERS
from services.function_agent.settings import FunctionAgentSettings
from tandem.service import Service
from tandem.wiring import Wiring


def build(settings: FunctionAgentSettings, wiring: Wiring) -> Service:
    """The service: one handler on `tasks.function_agent`."""
    policy = ModelPolicy(seconds=settings.function_agent_model_s)
    return Service.agent("function_agent", HANDLERS, wiring, packs=wiring.packs(), llm=wiring.llm(), policy=policy)
