"""What must hold for a pack to be run at all: names lead somewhere, expressions and patterns can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tandem.contracts.topics import AGENTS
from tandem.contracts.values import Json
from tandem.packs.expressions import InvalidExpression, compile_expression, placeholders
from tandem.packs.model import END, Flow, Intent, Node, Pack, Tool
from tandem.packs.pins import is_as_approved
from tandem.packs.problems import Problems, at, unknown
from tandem.packs.programs import check_program


def flow_place(flow: Flow, node: Node, *path: object) -> str:
    return at(f"procedures/{flow.procedure}.flow.yaml", "nodes", node.id, *path)


def check_references(pack: Pack, problems: Problems) -> None:
    """Write down every name that leads nowhere, and every expression or pattern that cannot be read."""
    for intent in pack.intents.values():
        _intent(pack, intent, problems)
    for flow in pack.flows.values():
        _flow(pack, flow, problems)
    for tool in pack.tools.values():
        _tool(pack, tool, problems)
    for program in pack.programs.values():
        check_program(pack, program, problems)
    for slot in pack.slots.values():
        if slot.pattern is not None:
            _pattern(slot.pattern, at("pack.yaml", "slots", slot.name, "pattern"), problems)
        if slot.within is not None:
            _pattern(slot.within, at("pack.yaml", "slots", slot.name, "within"), problems)
        for cue in slot.cues:
            if cue.count("…") != 1 or cue.strip() == "…":
                problems.error(at("pack.yaml", "slots", slot.name, "cues"), f'{cue!r} must have words and one "…"')
        _templates(slot.ask, at("pack.yaml", "slots", slot.name, "ask"), problems)
        if slot.type == "choice" and not slot.choices:
            problems.error(at("pack.yaml", "slots", slot.name, "choices"), "a choice needs `choices: {value: [words]}`")
    for language, patterns in pack.human_patterns.items():
        for pattern in patterns:
            _pattern(pattern, at("pack.yaml", "human_patterns", language), problems)
    for name, texts in pack.texts.items():
        _templates(texts, at("pack.yaml", "texts", name), problems)
    _policies(pack, problems)


def expressions_of(node: Node) -> Iterator[tuple[str, str]]:
    """(path in the node, expression) of everything in a node that is evaluated."""
    for key, edges in (("next", node.next), ("on_failure", node.on_failure)):
        for position, edge in enumerate(edges):
            if edge.when is not None:
                yield f"{key}.{position}.when", edge.when
    for name, value in node.args.items():
        for expression in bound_expressions(value):
            yield f"args.{name}", expression
    for fact, expression in node.save.items():
        yield f"save.{fact}", expression
    if node.choices:
        yield "choices.items", node.choices.items
        yield "choices.id", node.choices.id


def bound_expressions(value: Json) -> Iterator[str]:
    """The expressions inside a bound argument."""
    if isinstance(value, str) and value.startswith("$"):
        yield value[1:]
    elif isinstance(value, dict):
        for item in value.values():
            yield from bound_expressions(item)
    elif isinstance(value, list):
        for item in value:
            yield from bound_expressions(item)


def _intent(pack: Pack, intent: Intent, problems: Problems) -> None:
    place = at("intents.yaml", intent.name)
    if intent.procedure is not None and intent.procedure not in pack.flows:
        problems.error(f"{place}.procedure", unknown(intent.procedure, pack.flows, "procedure"))
    if intent.skill_group not in pack.skill_groups:
        problems.error(f"{place}.skill_group", unknown(intent.skill_group, pack.skill_groups, "skill group"))
    for pattern in intent.patterns:
        _pattern(pattern, f"{place}.patterns", problems)


def _flow(pack: Pack, flow: Flow, problems: Problems) -> None:
    file = f"procedures/{flow.procedure}.flow.yaml"
    if flow.intent not in pack.intents:
        problems.error(at(file, "intent"), unknown(flow.intent, pack.intents, "intent"))
    if flow.start not in flow.nodes:
        problems.error(at(file, "start"), unknown(flow.start, flow.nodes, "node"))
    for node in flow.nodes.values():
        _node(pack, flow, node, problems)


def _node(pack: Pack, flow: Flow, node: Node, problems: Problems) -> None:
    targets = {*flow.nodes, END}
    for key, edges in (("next", node.next), ("on_failure", node.on_failure)):
        for edge in edges:
            if edge.to not in targets:
                problems.error(flow_place(flow, node, key), unknown(edge.to, targets, "node"))
    for name in node.needs:
        if name not in flow.nodes:
            problems.error(flow_place(flow, node, "needs"), unknown(name, flow.nodes, "node"))
    for key in ("consent", "approve"):
        _subject(flow, node, key, problems)
    for slot in node.slots:
        if slot not in pack.slots:
            problems.error(flow_place(flow, node, "slots"), unknown(slot, pack.slots, "slot"))
    if node.tool is not None and node.tool not in pack.tools:
        problems.error(flow_place(flow, node, "tool"), unknown(node.tool, pack.tools, "tool"))
    elif node.tool is not None:
        for name in node.args.keys() - pack.tools[node.tool].properties.keys():
            known = pack.tools[node.tool].properties
            problems.error(flow_place(flow, node, "args", name), unknown(name, known, "parameter"))
    if node.program is not None and node.program not in pack.programs:
        problems.error(flow_place(flow, node, "program"), unknown(node.program, pack.programs, "program"))
    elif node.program is not None:
        inputs = pack.programs[node.program].parameters
        for name in node.args.keys() - inputs.keys():
            problems.error(flow_place(flow, node, "args", name), unknown(name, inputs, "input"))
    if node.agent is not None and node.agent not in AGENTS:
        problems.error(flow_place(flow, node, "agent"), unknown(node.agent, AGENTS, "agent"))
    if node.skill_group is not None and node.skill_group not in pack.skill_groups:
        problems.error(
            flow_place(flow, node, "skill_group"), unknown(node.skill_group, pack.skill_groups, "skill group")
        )
    for path, expression in expressions_of(node):
        _expression(expression, flow_place(flow, node, path), problems)
    _templates(node.text, flow_place(flow, node, "text"), problems)
    if node.choices:
        _templates(node.choices.label, flow_place(flow, node, "choices", "label"), problems)


def _subject(flow: Flow, node: Node, key: str, problems: Problems) -> None:
    name = getattr(node, key)
    if name is None:
        return
    if name not in flow.nodes:
        problems.error(flow_place(flow, node, key), unknown(name, flow.nodes, "node"))
    elif flow.nodes[name].kind != "tool":
        problems.error(flow_place(flow, node, key), f"{name!r} calls no tool; name the node whose call is agreed to")


def _tool(pack: Pack, tool: Tool, problems: Problems) -> None:
    place = at("tools", tool.name)
    for slot in tool.slots.values():
        if slot not in pack.slots:
            problems.error(f"{place}.slots", unknown(slot, pack.slots, "slot"))
    named = [("slots", name) for name in tool.slots] + [("once_per", name) for name in tool.once_per]
    named += [("alternatives", name) for group in tool.alternatives for name in group]
    for key, name in named:
        if name not in tool.properties:
            problems.error(f"{place}.{key}", unknown(name, tool.properties, "parameter"))
    if tool.tool_class == "lookup" and tool.lookup is None:
        problems.error(f"{place}.lookup", "is missing; class `lookup` must say how to ask whether it happened")
    if tool.lookup:
        _reader(pack, tool.lookup.tool, f"{place}.lookup.tool", problems)
        _expression(tool.lookup.happened, f"{place}.lookup.happened", problems)
        if tool.lookup.output:
            _expression(tool.lookup.output, f"{place}.lookup.output", problems)
    if not is_as_approved(tool):
        problems.error(
            f"{place}.pinned",
            f"its description is not the one that was approved; read it, then `tandem tool approve {tool.name}`",
        )
    if tool.progress:
        _reader(pack, tool.progress.poll, f"{place}.progress.poll", problems)


def _reader(pack: Pack, name: str, place: str, problems: Problems) -> None:
    if name not in pack.tools:
        problems.error(place, unknown(name, pack.tools, "tool"))
    elif pack.tools[name].writes:
        problems.error(place, f"{name!r} is not of class read; only a read may be asked again and again")


def _policies(pack: Pack, problems: Problems) -> None:
    policies = pack.policies
    named = {
        "identity_tools": policies.identity_tools,
        "authorisation_tools": policies.authorisation_tools,
        "no_consent": policies.no_consent,
        "no_identity": policies.no_identity,
        "approvals": tuple(rule.tool for rule in policies.approvals),
        "limits": tuple(limit.tool for limit in policies.limits),
    }
    for key, names in named.items():
        for name in names:
            if name not in pack.tools:
                problems.error(at("policies.yaml", key), unknown(name, pack.tools, "tool"))
    for key in ("identity_when", "authorisation_when"):
        _expression(getattr(policies, key), at("policies.yaml", key), problems)
    for rule in policies.approvals:
        if rule.when is not None:
            _expression(rule.when, at("policies.yaml", "approvals", rule.tool, "when"), problems)


def _expression(text: str, place: str, problems: Problems) -> None:
    try:
        compile_expression(text)
    except InvalidExpression as error:
        problems.error(place, f"{error}; see the expressions in docs/packs.md")


def _templates(texts: dict[str, str], place: str, problems: Problems) -> None:
    for language, text in texts.items():
        for expression in placeholders(text):
            _expression(expression, f"{place}.{language}", problems)


def _pattern(text: str, place: str, problems: Problems) -> None:
    try:
        re.compile(text)
    except re.error as error:
        problems.error(place, f"{text!r} is no regular expression: {error}")
