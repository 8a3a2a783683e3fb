"""The examples of docs/agents.md, as they are written there."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from examples.cloud_api.app import build_api
from examples.cloud_api.store import Store
from services.function_agent.sandbox import Limits, Sandbox
from tandem.agent import Result
from tandem.contracts.tasks import Answer, AnswerQuestion, ProgramOutput
from tandem.contracts.ticket import Called, Cost
from tandem.embedded.rehearsal.report import every_path
from tandem.errors import Unavailable
from tandem.packs import references
from tandem.packs.check import check, fix_hashes
from tandem.packs.compiling.compile import compile_words, read_source, vocabulary
from tandem.packs.imports import from_openapi
from tandem.packs.load import load_pack
from tandem.packs.model import Pack
from tandem.packs.scaffold import new_pack
from tandem.rpc.ports import ChatRequest, ChatResponse

DOC = (Path(__file__).parents[2] / "docs" / "agents.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w+\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)


def block(beginning: str) -> str:
    (found,) = [text for text in BLOCKS if text.startswith(beginning)]
    return str(found)


# An agent and its prompt -------------------------------------------------------------------------------------------


class Model:
    """Answers as it is told, a text after another; then it is away."""

    def __init__(self, *says: dict[str, Any]) -> None:
        self.says = list(says)
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        if not self.says:
            raise Unavailable("no model")
        self.asked.append(request)
        return ChatResponse(text=json.dumps(self.says.pop(0)), model="m", cost=Cost(calls=1, tokens=120))

    embed: Any = None


class Packs:
    def get(self, name: str, hash: str | None = None) -> Pack:
        return Pack(name="shop", hash="h", root=".", description="We rent out computers")


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    folder = tmp_path / "glossary"
    (folder / "prompts").mkdir(parents=True)
    (folder / "prompts" / "explain.md").write_text(block("---\nversion: 1\nmax_tokens: 100"), encoding="utf-8")
    (folder / "handlers.py").write_text(block("# services/glossary/handlers.py"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("services.glossary.handlers", folder / "handlers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "services.glossary.handlers", module)
    spec.loader.exec_module(module)
    return module


async def explain(handlers: ModuleType, text: str, model: Model) -> Result:
    about: dict[str, Any] = {"tenant": "acme", "conversation": "c", "ticket": "k", "pack": "shop", "step": "s1"}
    task = AnswerQuestion(**about, id="t", attempt=1, turn=1, deadline=2**50, question=text)
    (handler,) = handlers.HANDLERS.values()
    result = await handler(task, packs=Packs(), llm=model)
    assert isinstance(result, Result)
    return result


@pytest.mark.asyncio
async def test_an_agent_climbs_its_ladder(handlers: ModuleType) -> None:
    model = Model({"known": "yes"}, {"known": True, "text": "Throughput is how much."})
    by_rule = await explain(handlers, "what does IOPS mean?", model)
    assert (by_rule.value, by_rule.rung, model.asked) == (
        Answer(text=handlers.WORDS["iops"], supported=True, confidence=1.0),
        "rule",
        [],
    )
    by_model = await explain(handlers, "what does throughput mean?", model)
    assert (by_model.rung, by_model.cost, by_model.prompt) == ("large", Cost(calls=2, tokens=240), handlers.EXPLAIN.ref)
    assert f"glossary ({by_model.rung}, {by_model.prompt})" in DOC
    assert "We rent out computers" in model.asked[0].system
    assert model.asked[0].messages[0] == ("user", "<question>\nwhat does throughput mean?\n</question>")
    assert (await explain(handlers, "what does latency mean?", Model())).value == Answer()


def test_an_agent_is_composed(handlers: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ModuleType("services.glossary.settings")
    vars(settings)["GlossarySettings"] = type("GlossarySettings", (), {})
    monkeypatch.setitem(sys.modules, "services.glossary", ModuleType("services.glossary"))
    monkeypatch.setitem(sys.modules, "services.glossary.settings", settings)
    found: dict[str, Any] = {}
    exec(block("# services/glossary/app.py"), found)
    made: list[tuple[Any, ...]] = []
    found["agent_loop"] = lambda *given, **means: made.append((*given[:2], sorted(means)))
    found["Service"] = lambda name, *_: name

    class Wiring:
        packs = llm = staticmethod(lambda: None)

    assert found["build"](None, Wiring()) == "glossary"
    assert made == [("glossary", handlers.HANDLERS, ["llm", "packs"])]


def test_a_procedure_calls_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "AGENTS", (*references.AGENTS, "glossary"))
    folder = new_pack(tmp_path, "shop")
    told = {"scenario": "operate", "label": "a word", "examples": ["what does IOPS mean?"]}
    intend(folder, {"name": "word", "description": "what a word means", "procedure": "word", **told})
    procedures = folder / "procedures"
    (procedures / "word.md").write_text("---\nintent: word\n---\n1. Look the word up and say what it means.\n")
    (procedures / "word.flow.yaml").write_text(block("# packs/shop/procedures/word.flow.yaml"))
    assert fix_hashes(folder) == [procedures / "word.flow.yaml"]
    assert check(folder) == []


def intend(folder: Path, intent: dict[str, Any]) -> None:
    with (folder / "intents.yaml").open("a", encoding="utf-8") as file:
        file.write(yaml.safe_dump([intent]))


# Tools, programs, the compiler -------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The pack with the tool that is taken in, the program and its procedure."""
    folder = new_pack(tmp_path, "shop")
    document = json.loads(json.dumps(build_api(Store(":memory:")).openapi()))
    proposal = from_openapi(folder, "cloud", document, "${CLOUD_API_URL}", ["get_order"])
    assert {name: tool.tool_class for name, tool in proposal.tools.items()} == {"get_order": "read"}
    proposal.path.parent.mkdir(exist_ok=True)
    proposal.path.write_text(proposal.after, encoding="utf-8")
    (folder / "programs").mkdir()
    for name in ("add_up.py", "add_up.yaml"):
        (folder / "programs" / name).write_text(block(f"# packs/shop/programs/{name}"), encoding="utf-8")
    (folder / "procedures" / "add_up.md").write_text(block("---\nintent: add_up"), encoding="utf-8")
    told = {"scenario": "operate", "label": "adding up", "examples": ["what do my orders cost together?"]}
    intend(folder, {"name": "add_up", "description": "what orders cost", "procedure": "add_up", **told})
    pack = yaml.safe_load((folder / "pack.yaml").read_text(encoding="utf-8"))
    pack["slots"]["orders"] = {"free_text": True, "label": "orders", "ask": "Which orders?"}
    (folder / "pack.yaml").write_text(yaml.safe_dump(pack), encoding="utf-8")
    return folder


def compile_(folder: Path, name: str) -> None:
    text = compile_words(vocabulary(folder), read_source(folder, name))
    (folder / "procedures" / f"{name}.flow.yaml").write_text(text, encoding="utf-8")


def test_a_program_is_compiled_into_a_procedure_and_every_branch_ends(shop: Path) -> None:
    compile_(shop, "add_up")
    assert check(shop) == []
    pack = load_pack(shop)
    report = every_path(pack, pack.flows["add_up"])
    assert (report.ok, report.unreached) == (True, [])


@pytest.mark.asyncio
async def test_the_program_adds_up_what_it_is_told(shop: Path) -> None:
    compile_(shop, "add_up")
    calls = [
        Called(tool="get_order", arguments={"order_id": "ORD-1042"}, output={"amount": "49.00"}),
        Called(tool="get_order", arguments={"order_id": "ORD-1077"}, output={"amount": "14.90"}),
        Called(tool="get_order", arguments={"order_id": "ORD-9999"}, error="not_found"),
    ]
    orders = {"orders": "ORD-1042, ORD-1077 and ORD-9999"}
    found = await Sandbox(Limits(), 1).run(load_pack(shop).programs["add_up"], orders, calls, 1)
    assert found == ProgramOutput(output={"total": "63.90", "missing": "ORD-9999"})
    assert "Together they cost 63.90; not found: ORD-9999." in DOC


def test_the_compilers_example_is_what_it_compiles_to(tmp_path: Path) -> None:
    folder = new_pack(tmp_path, "shop")
    (folder / "procedures" / "callback.md").write_text(block("---\nintent: callback"), encoding="utf-8")
    compile_(folder, "callback")
    made = yaml.safe_load((folder / "procedures" / "callback.flow.yaml").read_text(encoding="utf-8"))
    shown = yaml.safe_load(block("start: ask\n"))
    assert made["start"] == shown["start"]
    assert {name: made["nodes"][name] for name in ("ask", "ask_urgent")} == {
        name: node for name, node in shown["nodes"].items() if node
    }
    assert {"hand_over", "hand_over_2"} <= made["nodes"].keys()
    assert check(folder) == []
