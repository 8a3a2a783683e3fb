"""Settings of rag_agent."""

from __future__ import annotations

from pydantic import Field

from tandem.settings import Settings


class RagAgentSettings(Settings):
    """What only rag_agent reads."""

    rag_hits: int = Field(8, ge=1, le=40, description="passages looked at for one question")
    rag_model_s: float = Field(15.0, ge=0, description="seconds a model may take to write the answer; 0: never ask one")
    rag_drafts: bool = Field(True, description="show the customer a model's answer while it is written, as drafts")
    rag_rewrite_s: float = Field(5.0, gt=0, description="seconds a model may take to put a question in other words")
