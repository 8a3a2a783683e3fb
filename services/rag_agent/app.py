"""Composition of rag_agent."""

from __future__ import annotations

from services.rag_agent.handlers import HANDLERS, AnswerPolicy
from services.rag_agent.settings import RagAgentSettings
from tandem.service import Service
from tandem.wiring import Wiring


def build(settings: RagAgentSettings, wiring: Wiring) -> Service:
    """The service: one handler on `tasks.rag_agent`."""
    policy = AnswerPolicy(hits=settings.rag_hits, model_s=settings.rag_model_s)
    return Service.agent(
        "rag_agent",
        HANDLERS,
        wiring,
        packs=wiring.packs(),
        llm=wiring.llm(),
        vectors=wiring.vectors(),
        policy=policy,
    )
