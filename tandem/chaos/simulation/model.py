"""The large model of the simulation: it plans one matter, writes its program and takes notes, and is now and then not reached."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

from tandem.chaos.simulation.network import Network
from tandem.contracts.ticket import Cost
from tandem.errors import Exhausted, Unavailable
from tandem.rpc.ports import ChatRequest, ChatResponse

_ACCOUNT = re.compile(r"\bA\d+\b")
COST = Cost(calls=1, tokens=20, micros=5)
CODE = """\
def main(inputs):
    seen = check(account="{account}")["state"]
    return {{"seen": seen, "noted": note(account="{account}")["ok"]}}
"""


class Away:
    """Nobody answers, whatever is asked."""

    def __getattr__(self, name: str) -> Any:
        async def away(*_: Any, **__: Any) -> Any:
            raise Unavailable("not on this stage")

        return away

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        for delta in await self.chat():
            yield delta


class Thinker(Away):
    """One process's way to the model. What the prompts of other rungs ask it does not know."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        text = answer(request)
        if text is None:
            raise Unavailable("the model of the simulation does not know that")
        if not COST.within(request.limit):
            raise Exhausted("grant_spent", "the grant has no room for this call")

        async def work() -> ChatResponse:
            return ChatResponse(text=text, model="simulated", cost=COST)

        return await self._network.ask(work, Unavailable)


def answer(request: ChatRequest) -> str | None:
    """What the model says, told from the answer's shape."""
    asked = (request.schema or {}).get("properties", {})
    said = str(request.messages[0][1]) if isinstance(request.messages[0], tuple) else ""
    found = _ACCOUNT.findall(said)
    if not found:
        return None
    account = found[0]
    if "steps" in asked:
        return json.dumps({"steps": [_step(said, account)], "reason": "as asked", "confidence": 0.9})
    if "code" in asked:
        return json.dumps({"code": CODE.format(account=account), "reason": "looks and notes"})
    if "facts" in asked:
        return json.dumps({"summary": f"The customer wrote of {account}.", "facts": []})
    return None


def _step(said: str, account: str) -> dict[str, Any]:
    observed = said.rpartition("<observations>")[2] if "<observations>" in said else ""
    if not observed:
        return {"kind": "program", "text": f"put {account} in order", "tools": ["check", "note"]}
    done = '"noted": true' in observed
    return {"kind": "reply", "text": f"Ordering of {account} is done."} if done else {"kind": "handover"}
