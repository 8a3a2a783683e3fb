"""Every prompt through the gateway: a scripted model answers wrongly, then rightly, and is recorded; replayed, no model is needed
and the same comes of it; of what was not recorded the rung below answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from services.function_agent.extraction import ModelPolicy
from services.function_agent.handlers import assemble_call, write_program
from services.llm_gateway.app import build_gateway
from services.llm_gateway.settings import LlmGatewaySettings
from services.memory.notes import question as note_question
from services.planner.handlers import interpret, make_plan, reason
from services.rag_agent.handlers import AnswerPolicy, answer_question
from services.router.second_opinion import SecondOpinion
from tandem.agent import Result
from tandem.asking import Account, Question, ask, typed
from tandem.bench.star.large import STEP, NextStep, StepInputs
from tandem.chaos import model as scripted
from tandem.chaos.model import ScriptedModel
from tandem.chaos.plan import Model
from tandem.contracts.tasks import AssembleCall, MakePlan, Observation, Reason, WriteProgram
from tandem.contracts.ticket import Cost, Route
from tandem.embedded.rehearsal.played import Modelled
from tandem.errors import Unavailable
from tandem.packs.compiling.compile import vocabulary
from tandem.packs.compiling.free import FLOW, compile_free
from tandem.packs.ingest import ingest
from tandem.packs.load import load_pack
from tandem.packs.model import Pack
from tandem.packs.registry import Packs
from tandem.rpc.inprocess import InProcessLlm
from tandem.rpc.ports import ChatRequest, ChatResponse, Llm
from tandem.vectors.edge import edge_vectors
from tests.unit.function_agent import test_handlers as choosing
from tests.unit.function_agent import test_writing as programs
from tests.unit.memory.test_notes import LINES, REGION, SUMMARY
from tests.unit.packs import test_compiling_free as compiling
from tests.unit.packs.shop import files, operation, write
from tests.unit.planner_worker.worker import BASE, MAILBOXES, FakeMemory, FakePacks, interpret_task
from tests.unit.planner_worker.worker import question as asking
from tests.unit.prompts.golden import CASES
from tests.unit.rag_agent import test_rag_agent as rag
from tests.unit.router import test_second_opinion as routing
from tests.unit.router.desk import SetClock

RESERVED = Cost(calls=6, tokens=50_000, micros=10**6)
ACCOUNT = Account(tenant="acme", seconds=5.0)
FIND = {"kind": "tool", "name": "find_order", "arguments": {"order": "O-1"}}
WRONG = [1]
RIGHT: dict[str, Any] = {
    "steps": {"steps": [FIND], "reason": "as asked", "confidence": 0.9},
    "question": {"kind": "answer", "question": 1, "choice": 2, "confidence": 0.8},
    "citations": {"supported": True, "citations": [1], "text": "A refund takes five working days."},
    "query": {"query": "How long a refund takes"},
    "intent": {"intent": "refund", "confidence": 0.8},
    "tool": {"tool": "cancel_order", "confidence": 0.8},
    "title": {"title": "Blue Moon"},
    "code": {"code": programs.GOOD, "reason": "adds up"},
    "facts": {"summary": SUMMARY, "facts": [REGION]},
    "yes": {"yes": False},
    "nodes": compiling.GOOD,
    "step": {"procedure": "hotel", "step": "hello", "parameters": {}, "confidence": 0.8},
}
"""A good model's answer, by a name of the schema that asks for it."""

Came: TypeAlias = tuple[object, str, Cost | None]
"""What came of a task: the value, the prompt it came by, and what it cost, where that is told."""


def answer(asked: dict[str, Any], wrong: bool) -> Any:
    names = asked["response_format"]["json_schema"]["schema"]["properties"]
    again = any(message["role"] == "assistant" for message in asked["messages"])
    return next(right for name, right in RIGHT.items() if name in names) if again else WRONG


class NoEncoder:
    """The gateway's chat alone: what is near by meaning is another test."""

    def __init__(self, llm: Llm) -> None:
        self._llm = llm

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        return await self._llm.chat(request, deadline)

    async def embed(self, texts: Any, deadline: float = 5.0) -> NDArray[np.float32]:
        raise Unavailable("no encoder")


def came(result: Any) -> Came:
    assert isinstance(result, Result)
    return result.value, result.prompt, result.cost


# The rungs ---------------------------------------------------------------------------------------------------------


async def classify(home: Path, llm: Llm) -> Came:
    pack = routing.PACK.model_copy(update={"reserve_model": RESERVED})
    routed = await SecondOpinion(lambda: llm, SetClock(), seconds=5.0).on(routing.routed(routing.DOUBT), pack)
    return routed.route.intent, routed.route.prompt or "", routed.cost


async def plan(home: Path, llm: Llm) -> Came:
    task = MakePlan(**BASE, reserved=RESERVED, goal="where is O-1?", route=Route())
    return came(await make_plan(task, FakePacks(), llm, FakeMemory()))  # type: ignore[arg-type]


async def think(home: Path, llm: Llm) -> Came:
    seen = Observation(step="s1", name="find_order", status="failed", output={"error": "gone"})
    task = Reason(**BASE, reserved=RESERVED, goal="where is O-1?", observations=(seen,))
    return came(await reason(task, FakePacks(), llm, FakeMemory()))  # type: ignore[arg-type]


async def understand(home: Path, llm: Llm) -> Came:
    task = interpret_task("the dusty", asking("choice", choices=MAILBOXES), reserved=RESERVED)
    return came(await interpret(task, FakePacks(), llm))  # type: ignore[arg-type]


def shop(home: Path) -> Packs:
    content, string = files(), {"type": "string"}
    paths = content["tools/shop.yaml"]["paths"]
    paths["/find"] = {"post": operation("find_order", "read", {"title": string}, ["title"])}
    paths["/cancel"] = {"post": operation("cancel_order", "read", {"order_id": string}, ["order_id"])}
    paths["/orders"] = {"post": operation("list_orders", "read", {"email": string}, ["email"])}
    paths["/order"] = {"post": operation("get_order", "read", {"order_id": string}, ["order_id"])}
    write(home, content)
    return Packs(home)


async def assemble(home: Path, llm: Llm, task: AssembleCall) -> Came:
    task = task.model_copy(update={"reserved": RESERVED})
    return came(await assemble_call(task, shop(home), llm, ModelPolicy()))


async def select(home: Path, llm: Llm) -> Came:
    return await assemble(home, llm, choosing.task("find_order", "cancel_order", said="order O-1234, please"))


async def values(home: Path, llm: Llm) -> Came:
    return await assemble(home, llm, choosing.task("find_order", said="it is called blue Moon"))


async def program(home: Path, llm: Llm) -> Came:
    goal, inputs = "add up what was paid", {"email": "a@b.c"}
    task = WriteProgram(**programs.BASE, reserved=RESERVED, tools=programs.TOOLS, goal=goal, inputs=inputs)
    return came(await write_program(task, shop(home), llm, ModelPolicy(), programs.sandbox()))


def knowledgeable(home: Path) -> Pack:
    (home / "knowledge").mkdir(parents=True)
    (home / "knowledge" / "refunds.md").write_text(rag.DOCUMENT, encoding="utf-8")
    return Pack(name="shop", hash="h", root=str(home))


async def question(home: Path, llm: Llm, text: str) -> Came:
    pack = knowledgeable(home)
    vectors = edge_vectors(home / "vectors")
    try:
        await ingest(pack, "acme", vectors, llm)
        task = rag.question(text).model_copy(update={"reserved": RESERVED})
        return came(await answer_question(task, rag.OnePack(pack), llm, vectors, AnswerPolicy()))  # type: ignore[arg-type]
    finally:
        await vectors.close()


async def grounded(home: Path, llm: Llm) -> Came:
    return await question(home, llm, "How long does a refund take?")


async def rewritten(home: Path, llm: Llm) -> Came:
    return await question(home, llm, "When do I see my money?")


async def noted(home: Path, llm: Llm) -> Came:
    said = await ask(llm, note_question(LINES), ACCOUNT)
    return said.value, said.prompt, said.cost


async def compiled(home: Path, llm: Llm) -> Came:
    try:
        verdict = await compile_free(vocabulary(compiling.CLOUD), compiling.SOURCE, llm)
    except Unavailable:
        return None, "", None
    return verdict.text, FLOW.ref, None


async def next_step(home: Path, llm: Llm) -> Came:
    inputs = StepInputs(procedures="procedure hotel", today="Monday", conversation="customer: a room")
    said = await ask(llm, Question(STEP, inputs, NextStep.shape(), typed(NextStep)), ACCOUNT)
    return said.value, said.prompt, said.cost


async def customer(home: Path, llm: Llm) -> Came:
    pack = load_pack(compiling.CLOUD)
    plays = Modelled(pack, pack.flows["refund"], 0, llm, asyncio.Runner())
    said = await ask(llm, plays.question(asking("consent"), False), ACCOUNT)
    return said.value, said.prompt, said.cost


RUNGS: dict[str, tuple[Callable[[Path, Llm], Awaitable[Came]], str]] = {
    "router.classify": (classify, ""),
    "planner.plan": (plan, ""),
    "planner.reason": (think, ""),
    "planner.interpret": (understand, ""),
    "function_agent.select": (select, ""),
    "function_agent.values": (values, ""),
    "function_agent.program": (program, ""),
    "rag_agent.answer": (grounded, ""),
    "rag_agent.rewrite": (rewritten, "rag_agent.answer"),
    "memory.note": (noted, ""),
    "rehearsal.customer": (customer, ""),
    "compiling.flow": (compiled, ""),
    "star.step": (next_step, ""),
}
"""Prompt → what asks it, and the prompt that the event names, if another one comes after it."""


async def through(settings: LlmGatewaySettings, name: str, home: Path) -> Came:
    """The rung's task, with a gateway of its own."""
    gateway = build_gateway(settings)
    try:
        return await RUNGS[name][0](home, NoEncoder(InProcessLlm(gateway)))
    finally:
        await gateway.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", RUNGS)
async def test_a_rung_is_recorded_and_replayed_without_a_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted, "answer", answer)
    model = ScriptedModel(Model(kind="model", timeouts=0, errors=0, cut=0, wrong=0), Random(1))
    record = tmp_path / "calls.jsonl"
    await model.start()
    try:
        settings = LlmGatewaySettings(llm_base_url=model.url, llm_model="scripted", llm_record=record)
        first = await through(settings, name, tmp_path / "first")
    finally:
        await model.stop()
    value, prompt, cost = first
    assert value is not None
    assert prompt.partition("@")[0] == (RUNGS[name][1] or name)
    calls = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    asked = 2 * (1 + bool(RUNGS[name][1]))  # each wrong answer is sent back once
    assert len(calls) == model.did["answer"] == asked
    assert cost is None or cost.calls == asked
    assert await through(LlmGatewaySettings(llm_replay=record), name, tmp_path / "again") == first


@pytest.mark.asyncio
@pytest.mark.parametrize("name", RUNGS)
async def test_of_what_was_not_recorded_the_rung_below_answers(name: str, tmp_path: Path) -> None:
    record = tmp_path / "calls.jsonl"
    record.touch()
    _, prompt, cost = await through(LlmGatewaySettings(llm_replay=record), name, tmp_path / "none")
    assert (prompt, cost or Cost()) == ("", Cost())


@pytest.mark.asyncio
@pytest.mark.parametrize("name", [name for name in RUNGS if name != "compiling.flow"])
async def test_of_a_model_that_answers_wrongly_prompt_and_cost_are_known_all_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted, "answer", lambda asked, wrong: WRONG)
    model = ScriptedModel(Model(kind="model", timeouts=0, errors=0, cut=0, wrong=0), Random(1))
    await model.start()
    try:
        settings = LlmGatewaySettings(llm_base_url=model.url, llm_model="scripted")
        _, prompt, cost = await through(settings, name, tmp_path / "wrong")
    finally:
        await model.stop()
    assert prompt.partition("@")[0] == name
    assert cost is not None
    assert cost.calls == model.did["answer"] == 2


def test_every_prompt_is_recorded_and_replayed() -> None:
    assert set(RUNGS) == {prompt.name for prompt, _ in CASES}
