"""The upper rung of the compiler: a model writes the flow of a procedure in free text. The pack's proof decides."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem.contracts.values import Json
from tandem.errors import InvalidError
from tandem.packs.compiling.compile import Source
from tandem.packs.compiling.keep import keep
from tandem.packs.compiling.verdict import Verdict, judge
from tandem.packs.compiling.write import flow_text
from tandem.packs.files import sentence_hash
from tandem.packs.model import Pack
from tandem.rpc.ports import ChatRequest, Llm

PROMPT = "flow.v1"
MAX_TOKENS = 8_000
DEADLINE_S = 180.0


class _Draft(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DraftEdge(_Draft):
    to: str
    when: str | None = None


class DraftNode(_Draft):
    """A node as a model writes it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    sentence: int
    slots: list[str] = []
    any_of: bool = False
    forget: list[str] = []
    consent: str | None = None
    confirm: str | None = None
    approve: str | None = None
    tool: str | None = None
    args: dict[str, Json] = {}
    save: str | None = None
    text: dict[str, str] = {}
    handover: Literal[True] | None = None
    reason: str | None = None
    skill_group: str | None = None
    next: list[DraftEdge] = []
    on_failure: list[DraftEdge] = []


class DraftFlow(_Draft):
    """A flow as a model writes it."""

    start: str
    nodes: list[DraftNode] = Field(min_length=1, max_length=60)


def prompt_text() -> str:
    return files("tandem.packs.compiling").joinpath("prompts", f"{PROMPT}.md").read_text("utf-8")


def prompt_hash() -> str:
    """Names exactly this wording."""
    return hashlib.blake2b(prompt_text().encode(), digest_size=8).hexdigest()


async def compile_free(pack: Pack, source: Source, llm: Llm) -> Verdict:
    """The model's flow; it is asked once more with what the proof finds.

    Raises Unavailable when nothing can serve, InvalidError when the second answer is no flow either.
    """
    messages: tuple[tuple[str, str], ...] = (("user", _task(pack, source)),)
    answer = await _ask(pack, messages, llm)
    found = _judged(pack, source, answer)
    if isinstance(found, Verdict) and found.ok:
        return found
    errors = found if isinstance(found, str) else "\n".join(str(p) for p in found.problems if p.severity == "error")
    again = f"That cannot be released. Write the whole object again, without these mistakes:\n{errors}"
    found = _judged(pack, source, await _ask(pack, (*messages, ("assistant", answer), ("user", again)), llm))
    if isinstance(found, str):
        raise InvalidError(f"the model's answer is no flow: {found}")
    return found


async def _ask(pack: Pack, messages: tuple[tuple[str, str], ...], llm: Llm) -> str:
    request = ChatRequest(
        tenant=pack.name,
        system=prompt_text().replace("{languages}", ", ".join(pack.languages)),
        messages=messages,
        schema=DraftFlow.model_json_schema(),
        max_tokens=MAX_TOKENS,
        interactive=False,
    )
    return (await llm.chat(request, DEADLINE_S)).text


def _judged(pack: Pack, source: Source, answer: str) -> Verdict | str:
    try:
        draft = DraftFlow.model_validate_json(answer)
        nodes = {node.id: _node(node, source) for node in draft.nodes}
        kept, start = keep(nodes, draft.start, source.nodes)
        return judge(pack, source, flow_text(source.name, source.intent, start, kept), "model")
    except ValidationError as error:
        return "\n".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:20])
    except InvalidError as error:
        return str(error)


def _node(node: DraftNode, source: Source) -> dict[str, Any]:
    """As a flow's file has it; the hash is of the sentence as it stands."""
    raw = node.model_dump(exclude={"id", "save", "next", "on_failure"}, exclude_defaults=True)
    raw["sentence_hash"] = sentence_hash(source.sentences.get(node.sentence, ""))
    if node.save:
        raw["save"] = {node.save: "result"}
    for key, edges in (("next", node.next), ("on_failure", node.on_failure)):
        if edges:
            raw[key] = [edge.model_dump(exclude_none=True) for edge in edges]
    return raw


def _task(pack: Pack, source: Source) -> str:
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
    lines = "\n".join(f"{number}. {text}" for number, text in source.sentences.items())
    words = lines.replace("<", "‹").replace(">", "›")
    return f"{json.dumps(names, ensure_ascii=False)}\n<procedure>\n{words}\n</procedure>"
