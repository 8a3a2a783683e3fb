"""A model's programs and its notes on the whole platform, with a scripted model: several calls by one program, and what a
customer said in one matter used in the next. Replayed, no model is needed."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from tandem.chaos import model as scripted
from tandem.chaos.model import ScriptedModel
from tandem.chaos.plan import Model
from tandem.embedded.case import Case, Onlooker
from tandem.embedded.platform import Platform
from tandem.embedded.player import Player
from tandem.packs.scenarios import Scenario, Turn
from tandem.settings import Settings

GOOD = Model(kind="model", timeouts=0, errors=0, cut=0, wrong=0)
MODULE = "tests.integration.platform.desk_tools"
FIRST = "Our servers stand in Frankfurt, what do they cost us in all?"
SECOND = "Which servers are there?"
CODE = """
def main(inputs):
    euro, gone = 0, []
    for name in list_servers(region="Frankfurt")["names"]:
        try:
            euro += price_of(region="Frankfurt", name=name)["euro"]
        except RuntimeError:
            gone.append(name)
    return {"euro": euro, "gone": gone}
"""
STRING = {"type": "string"}
TOOLS = {
    "python": MODULE,
    "tools": {
        "list_servers": {
            "description": "The servers of a region",
            "class": "read",
            "parameters": {"type": "object", "required": ["region"], "properties": {"region": STRING}},
            "output": {"type": "object", "properties": {"names": {"type": "array", "items": STRING}}},
        },
        "price_of": {
            "description": "What a server costs",
            "class": "read",
            "parameters": {
                "type": "object",
                "required": ["region", "name"],
                "properties": {"region": STRING, "name": STRING},
            },
            "output": {"type": "object", "properties": {"euro": {"type": "integer"}}},
        },
    },
}


def block(said: str, name: str) -> str:
    return said.rpartition(f"<{name}>\n")[2].partition(f"\n</{name}>")[0] if f"<{name}>\n" in said else ""


def answer(asked: dict[str, Any], wrong: bool) -> Any:
    """A model that knows the desk. Of the second question it knows the region from memory alone."""
    names = asked["response_format"]["json_schema"]["schema"]["properties"]
    said = str(asked["messages"][-1]["content"])
    if "code" in names:
        return {"code": CODE, "reason": "adds up"}
    if "facts" in names:
        lines = json.loads(block(said, "conversation"))
        number = next(line["line"] for line in lines if "Frankfurt" in line["text"] and line["who"] == "customer")
        fact = {"name": "region", "value": "Frankfurt", "line": number, "keep": "month"}
        return {"summary": "The customer asked what their servers cost in all.", "facts": [fact]}
    return {"reason": "as asked", "confidence": 0.9, **next_steps(said)}


def next_steps(said: str) -> dict[str, Any]:
    """A plan, or what comes next in one."""
    observed = block(said, "observations")
    if observed:
        return {"steps": [{"kind": "reply", "text": f"I found: {json.loads(observed)[-1]['output']}."}]}
    if FIRST in block(said, "goal"):
        return {"steps": [{"kind": "program", "text": "add up", "tools": ["list_servers", "price_of"]}]}
    region = json.loads(block(said, "memory") or "{}").get("said_before", {}).get("region")
    if region:
        return {"steps": [{"kind": "tool", "name": "list_servers", "arguments": {"region": region}}]}
    return {"steps": [{"kind": "ask", "text": "In which region?", "slots": []}]}


async def play(home: Path) -> Case:
    """Two questions of one customer; the second is asked when the first has been noted."""
    packs = home / "packs" / "desk"
    (packs / "tools").mkdir(parents=True)
    (packs / "pack.yaml").write_text(yaml.safe_dump({"name": "desk", "languages": ["en"]}), encoding="utf-8")
    (packs / "intents.yaml").write_text("[]\n", encoding="utf-8")
    (packs / "tools" / "desk.yaml").write_text(yaml.safe_dump(TOOLS), encoding="utf-8")
    settings = Settings(home=home, packs=home / "packs")
    async with Platform(settings, call_window_ms=300, grace_ms=100, python_tools=(MODULE,)) as platform:
        onlooker = Onlooker(platform.wiring, "test")
        await onlooker.start()
        player = Player(platform.wiring, onlooker, "cli", "acme")
        played = player.begin(Scenario(name="asks", turns=(Turn(say=FIRST),)))
        await player.play(played)
        assert await played.case.until(lambda case: any(one.kind == "noted" for one in case.events), 20.0)
        again = Scenario(name="asks", turns=(Turn(say=SECOND),))
        played.scenario = again
        await player.play(played)
        await onlooker.stop()
    assert played.problems == []
    return played.case


def calls(case: Case) -> list[tuple[str, Any]]:
    sent = [one for one in case.events if one.kind == "step_dispatched" and one.effect]
    return [(str(one.name), one.data["arguments"]) for one in sent]


@pytest.mark.asyncio
async def test_a_program_makes_its_calls_and_what_was_said_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, model = tmp_path / "calls.jsonl", ScriptedModel(GOOD, Random(1))
    with monkeypatch.context() as env:
        env.setattr(scripted, "answer", answer)
        await model.start()
        env.setenv("TANDEM_LLM_BASE_URL", model.url)
        env.setenv("TANDEM_LLM_MODEL", "scripted")
        env.setenv("TANDEM_LLM_RECORD", str(record))
        first = await play(tmp_path / "first")
        await model.stop()
    monkeypatch.setenv("TANDEM_LLM_REPLAY", str(record))
    again = await play(tmp_path / "again")
    told = [reply.text() for reply in first.replies]
    assert told == ["I found: {'euro': 30, 'gone': ['lost']}.", "I found: {'names': ['web', 'mail', 'lost']}."]
    assert [reply.text() for reply in again.replies] == told
    region = {"region": "Frankfurt"}
    prices = [("price_of", {**region, "name": name}) for name in ("web", "mail", "lost")]
    assert calls(first) == calls(again) == [("list_servers", region), *prices, ("list_servers", region)]
    noted = next(one for one in first.events if one.kind == "noted")
    assert noted.cost is not None
    assert (noted.rung, noted.cost.tokens > 0, str(noted.data["prompt"])[:12]) == ("large", True, "memory.note@")
    assert noted.data["facts"][0]["message"] == first.said[0][0]
    prompts = {str(one.data["prompt"]).partition("@")[0] for one in first.events if "prompt" in one.data}
    assert {"planner.plan", "planner.reason", "function_agent.program", "memory.note"} <= prompts
