"""Composition of rag_agent."""

from __future__ import annotations

from services.rag_agent.drafts import Drafts
from services.rag_agent.handlers import HANDLERS, AnswerPolicy
from services.rag_agent.knowledge import Knowledge
from services.rag_agent.settings import RagAgentSettings
from tandem.service import Service, agent_loop
from tandem.wiring import Wiring


def build(settings: RagAgentSettings, wiring: Wiring) -> Service:
    """The service: the tenants' knowledge brought up to date, then one handler on `tasks.rag_agent`."""
    packs, llm, vectors = wiring.packs(), wiring.llm(), wiring.vectors()
    policy = AnswerPolicy(hits=settings.rag_hits, model_s=settings.rag_model_s, rewrite_s=settings.rag_rewrite_s)
    drafts = Drafts(wiring.bus(), llm, wiring.clock) if settings.rag_drafts else None
    means = {"packs": packs, "llm": llm, "vectors": vectors, "policy": policy, "drafts": drafts}
    answering = agent_loop("rag_agent", HANDLERS, wiring, **means)
    knowledge = Knowledge(wiring.channels(), packs, vectors, llm)
    return Service("rag_agent", wiring, [knowledge, answering], {"vectors": vectors.ping})
