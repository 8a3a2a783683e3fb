"""The proof before release: what a pack promises can be kept on every path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tandem.contracts.ticket import Status
from tandem.errors import InvalidPack
from tandem.packs.files import parse_yaml, read_procedure, read_text, sentence_hash
from tandem.packs.load import read_pack
from tandem.packs.model import PROGRESS, SENTENCES, Intent, Pack, Slot, Tool
from tandem.packs.paths import gives
from tandem.packs.problems import Problem, Problems, at, unknown
from tandem.packs.references import check_references
from tandem.packs.rules import check_flow, languages
from tandem.packs.scenarios import load_scenarios

_HASH_LINE = re.compile(r"^[ \t]*sentence_hash:[^\n]*\n", re.MULTILINE)
_HASH_INLINE = re.compile(r",[ \t]*sentence_hash:[ \t]*\"?\w+\"?")
_SENTENCE = re.compile(
    r"^([ \t]*(?:-[ \t]+)?)sentence:[ \t]*(\d+)([^\n]*)$|(?<=[{,])([ \t]*)sentence:[ \t]*(\d+)", re.M
)


def check(folder: Path) -> list[Problem]:
    """Every problem of the pack in a folder, errors first."""
    problems = Problems()
    pack = read_pack(folder, problems)
    if pack is not None and not problems.errors:
        problems.found += check_pack(pack)
        _tests(pack, folder, problems)
        for path in sorted((folder / "knowledge").rglob("*.md")):
            read_text(folder, path, problems)
    return _sorted(problems)


def check_pack(pack: Pack) -> list[Problem]:
    """Every problem of a pack that has been read, errors first."""
    problems = Problems()
    check_references(pack, problems)
    if problems.errors:
        return _sorted(problems)
    for intent in pack.intents.values():
        _intent(pack, intent, problems)
    for slot in pack.slots.values():
        _slot(pack, slot, problems)
    for tool in pack.tools.values():
        _tool(pack, tool, problems)
    for name, texts in pack.texts.items():
        languages(pack, texts, at("pack.yaml", "texts", name), problems)
        if name not in SENTENCES and name.removeprefix(PROGRESS) not in pack.tools:
            known = {*SENTENCES, *(f"{PROGRESS}{tool}" for tool in pack.tools)}
            problems.error(at("pack.yaml", "texts", name), unknown(name, known, "sentence"))
    _policies(pack, problems)
    for flow in pack.flows.values():
        check_flow(pack, flow, problems)
    return _sorted(problems)


def fix_hashes(folder: Path) -> list[Path]:
    """Write each node's sentence hash as the procedures stand now; returns the files changed.

    Whoever runs it says: I have read the sentences, and the nodes do what they say.
    """
    changed = []
    for path in sorted((folder / "procedures").glob("*.flow.yaml")):
        procedure = path.with_name(path.name.removesuffix(".flow.yaml") + ".md")
        if not procedure.is_file():
            continue
        _, sentences = read_procedure(folder, procedure, Problems())
        before = path.read_text(encoding="utf-8")
        after = _hashed(before, {number: sentence_hash(text) for number, text in sentences.items()})
        if after != before and _same(before, after):
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def _tests(pack: Pack, folder: Path, problems: Problems) -> None:
    try:
        scenarios = load_scenarios(folder)
    except InvalidPack as error:
        for text in error.problems:
            place, _, message = text.partition(": ")
            problems.error(place, message)
        return
    for scenario in scenarios:
        place = at("tests", scenario.name)
        if scenario.expect.intent is not None and scenario.expect.intent not in pack.intents:
            problems.error(f"{place}.expect.intent", unknown(scenario.expect.intent, pack.intents, "intent"))
        if scenario.expect.outcome not in (None, *Status):
            problems.error(
                f"{place}.expect.outcome", unknown(str(scenario.expect.outcome), map(str, Status), "outcome")
            )
        for call in scenario.expect.calls:
            if call.tool not in pack.tools:
                problems.error(f"{place}.expect.calls", unknown(call.tool, pack.tools, "tool"))


def _hashed(text: str, hashes: dict[int, str]) -> str:
    def insert(match: re.Match[str]) -> str:
        indent, number, rest, _, inline = match.groups()
        found = hashes.get(int(number or inline))
        if found is None:
            return match.group(0)
        if inline:
            return f"{match.group(0)}, sentence_hash: {found}"
        if rest.lstrip().startswith(","):
            return f"{indent}sentence: {number}, sentence_hash: {found}{rest}"
        return f"{match.group(0)}\n{' ' * len(indent)}sentence_hash: {found}"

    return _SENTENCE.sub(insert, _HASH_INLINE.sub("", _HASH_LINE.sub("", text)))


def _same(before: str, after: str) -> bool:
    return bool(_unhashed(parse_yaml(before)) == _unhashed(parse_yaml(after)))


def _unhashed(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _unhashed(value) for key, value in data.items() if key != "sentence_hash"}
    return [_unhashed(item) for item in data] if isinstance(data, list) else data


def _sorted(problems: Problems) -> list[Problem]:
    return sorted(problems.found, key=lambda problem: (problem.severity != "error", problem.place))


def _intent(pack: Pack, intent: Intent, problems: Problems) -> None:
    place = at("intents.yaml", intent.name)
    languages(pack, intent.label, f"{place}.label", problems)
    if pack.classifier == "rule" and not intent.patterns:
        problems.error(
            f"{place}.patterns", "are missing; the pack's classifier is `rule`, nothing else finds the intent"
        )
    if pack.classifier == "embedding" and not any(intent.examples.values()):
        problems.error(f"{place}.examples", "are missing; write at least a handful of messages as customers write them")
    flow = pack.flow_of(intent.name)
    if flow is not None and flow.intent != intent.name:
        problems.error(f"{place}.procedure", f"{flow.procedure!r} says that it serves {flow.intent!r}; make them agree")
    if flow is None and intent.scenario == "consult" and not any((Path(pack.root) / "knowledge").rglob("*.md")):
        problems.warning(place, "is answered from the knowledge, and knowledge/ has no Markdown; write some")


def _slot(pack: Pack, slot: Slot, problems: Problems) -> None:
    place = at("pack.yaml", "slots", slot.name)
    languages(pack, slot.ask, f"{place}.ask", problems)
    languages(pack, slot.label, f"{place}.label", problems)
    assembled = {tool.slots.get(name, name) for tool in pack.tools.values() for name in tool.properties}
    if slot.name in assembled and not slot.ask and slot.name not in _given(pack):
        problems.error(f"{place}.ask", "is missing; a tool's parameter may be asked for by it")


def _given(pack: Pack) -> set[str]:
    return {fact for flow in pack.flows.values() for node in flow.nodes.values() for fact in gives(node)}


def _tool(pack: Pack, tool: Tool, problems: Problems) -> None:
    place = at("tools", tool.name)
    if tool.lookup:
        _arguments_exist(tool.lookup.args, pack.tools[tool.lookup.tool], f"{place}.lookup.args", problems)
        for value in tool.lookup.args.values():
            name = value.removeprefix("$args.") if isinstance(value, str) and value.startswith("$") else None
            if name is not None and value != "$effect" and name not in tool.properties:
                problems.error(
                    f"{place}.lookup.args", f"{value!r}: write `$effect` or `$args.` and a parameter of the tool"
                )
    if tool.progress:
        poll = pack.tools[tool.progress.poll]
        _arguments_exist({tool.progress.argument: None}, poll, f"{place}.progress.argument", problems)
    if tool.transport == "mcp" and tool.pinned is None:
        problems.error(
            f"{place}.pinned", "is missing; take the tool in with `tandem tool import mcp`, which pins its words"
        )
    if tool.tool_class == "unsafe" and not any(rule.tool == tool.name for rule in pack.policies.approvals):
        problems.warning(place, "is unsafe and needs no approval; see that policies.yaml means it so")


def _arguments_exist(args: dict[str, Any], tool: Tool, place: str, problems: Problems) -> None:
    for name in args:
        if name not in tool.properties:
            problems.error(place, unknown(name, tool.properties, f"parameter of {tool.name!r}"))


def _policies(pack: Pack, problems: Problems) -> None:
    policies = pack.policies
    writes = [tool.name for tool in pack.tools.values() if tool.writes and tool.name not in policies.no_identity]
    for role, demand, tools in (
        ("identity", policies.identity, policies.identity_tools),
        ("authorisation", policies.authorisation, policies.authorisation_tools),
    ):
        if demand == "required" and writes and not tools:
            problems.error(
                at("policies.yaml", f"{role}_tools"),
                f"{role} is required before {', '.join(writes)}, and no tool establishes it; name one, or `{role}: none`",
            )
    for limit in policies.limits:
        tool = pack.tools[limit.tool]
        if limit.per not in ("tenant", "ticket", "conversation", *tool.properties):
            problems.error(at("policies.yaml", "limits", limit.tool), f"per {limit.per!r} is no parameter of the tool")
