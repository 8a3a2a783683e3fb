"""The upper rung of the compiler: a model writes the flow of a procedure in free text. The pack's proof decides."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tandem.asking import Account, Output, Question, Unfit, ask, typed
from tandem.contracts.values import Json
from tandem.errors import InvalidError, Unavailable
from tandem.packs.compiling.compile import Source
from tandem.packs.compiling.keep import keep
from tandem.packs.compiling.verdict import Verdict, judge
from tandem.packs.compiling.write import flow_text
from tandem.packs.files import sentence_hash
from tandem.packs.model import Pack
from tandem.prompts import Data, Inputs, load
from tandem.rpc.ports import Llm

SECONDS = 300.0


class FlowInputs(Inputs):
    """`procedure` is what an author wrote; the rest is the pack's."""

    catalogue: str
    languages: str
    procedure: Data


FLOW = load(Path(__file__).parent, "flow", FlowInputs)


ID = r"^[a-z][a-z0-9_]{0,63}$"


class DraftEdge(Output):
    to: str = Field(pattern=ID)
    when: str | None = None


class DraftNode(Output):
    """A node as a model writes it."""

    id: str = Field(pattern=ID)
    sentence: int
    slots: tuple[str, ...] = ()
    any_of: bool = False
    forget: tuple[str, ...] = ()
    consent: str | None = None
    confirm: str | None = None
    approve: str | None = None
    tool: str | None = None
    args: dict[str, Json] = Field(default_factory=dict)
    save: str | None = None
    text: dict[str, str] = Field(default_factory=dict)
    handover: Literal[True] | None = None
    reason: str | None = None
    skill_group: str | None = None
    next: tuple[DraftEdge, ...] = ()
    on_failure: tuple[DraftEdge, ...] = ()


class DraftFlow(Output):
    """A flow as a model writes it."""

    start: str = Field(pattern=ID)
    nodes: list[DraftNode] = Field(min_length=1, max_length=60)


async def compile_free(pack: Pack, source: Source, llm: Llm) -> Verdict:
    """The model's flow; it is asked once more with what the proof finds.

    Raises Unavailable when nothing can serve, InvalidError when the second answer cannot be released either.
    """
    inputs = FlowInputs(catalogue=_catalogue(pack), languages=", ".join(pack.languages), procedure=_lines(source))
    question = Question(FLOW, inputs, _schema(pack, source), partial(_read, pack, source))
    said = await ask(llm, question, Account(tenant=pack.name, seconds=SECONDS))
    if said.value is not None:
        return said.value
    if said.outcome == "unavailable":
        raise Unavailable(said.why)
    raise InvalidError(f"the model's answer cannot be released: {said.why}")


def _schema(pack: Pack, source: Source) -> dict[str, Any]:
    """The flow's shape, with the names that this pack has and this procedure's sentences."""
    shape = DraftFlow.shape()
    texts = {language: {"type": "string"} for language in pack.languages}
    shape["$defs"]["DraftNode"]["properties"] |= {
        "sentence": {"enum": sorted(source.sentences)},
        "slots": {"type": "array", "items": {"enum": sorted(pack.slots)}} if pack.slots else {"maxItems": 0},
        "tool": {"enum": [*sorted(pack.tools), None]},
        "skill_group": {"enum": [*pack.skill_groups, None]},
        "text": {"type": "object", "additionalProperties": False, "properties": texts},
    }
    return shape


def _read(pack: Pack, source: Source, answer: str) -> Verdict:
    draft = typed(DraftFlow)(answer)
    nodes = {node.id: _node(node, source) for node in draft.nodes}
    kept, start = keep(nodes, draft.start, source.nodes)
    try:
        verdict = judge(pack, source, flow_text(source.name, source.intent, start, kept), "model")
    except InvalidError as error:
        raise Unfit(str(error)) from error
    if not verdict.ok:
        raise Unfit("\n".join(str(problem) for problem in verdict.problems if problem.severity == "error"))
    return verdict


def _node(node: DraftNode, source: Source) -> dict[str, Any]:
    """As a flow's file has it; the hash is of the sentence as it stands."""
    raw = node.model_dump(mode="json", exclude={"id", "save", "next", "on_failure"}, exclude_defaults=True)
    raw["sentence_hash"] = sentence_hash(source.sentences.get(node.sentence, ""))
    if node.save:
        raw["save"] = {node.save: "result"}
    for key, edges in (("next", node.next), ("on_failure", node.on_failure)):
        if edges:
            raw[key] = [edge.model_dump(exclude_none=True) for edge in edges]
    return raw


def _catalogue(pack: Pack) -> str:
    tools = [
        {
            "name": tool.name,
            "does": tool.description,
            "writes": tool.writes,
            "parameters": tool.parameters,
            "gives": tool.output,
        }
        for tool in pack.tools.values()
    ]
    policies = pack.policies
    names = {
        "slots": {name: slot.label.get(pack.languages[0], name) for name, slot in pack.slots.items()},
        "skill_groups": pack.skill_groups,
        "verifies": {"tools": policies.identity_tools, "when": policies.identity_when},
        "authorises": {"tools": policies.authorisation_tools, "when": policies.authorisation_when},
        "must_be_approved": [rule.tool for rule in policies.approvals],
        "tools": tools,
    }
    return json.dumps(names, ensure_ascii=False)


def _lines(source: Source) -> str:
    return "\n".join(f"{number}. {text}" for number, text in source.sentences.items())
