from __future__ import annotations

import asyncio

import pytest

from tandem.contracts.inbox import ModelUsage
from tandem.rpc.metering import metered, usage_of
from tandem.rpc.ports import ChatRequest
from tests.contracts.rpc.test_rpc import ASK, FakeLlm, FakeMemory, both, clients


@both
@pytest.mark.asyncio
async def test_what_a_pieces_model_calls_took_is_added_up(kind):
    async with clients(kind, FakeLlm(), FakeMemory()) as (llm, _):
        await llm.chat(ASK)
        with metered() as responses:
            await asyncio.gather(llm.chat(ASK), llm.chat(ASK))
            async for _delta in llm.stream(ASK):
                pass
            with pytest.raises(Exception, match="no model"):
                await llm.chat(ChatRequest(tenant="t", system="none", messages=()))
        await llm.chat(ASK)
    assert usage_of(responses) == ModelUsage(
        models=("m",), calls=3, tokens_in=3, tokens_out=3, cached=3, first_token_ms=2.5
    )
    assert usage_of([]) is None
