"""What is proved of a flow before release. Each rule writes down what it cannot prove."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tandem.packs.conditions import visit_bounds
from tandem.packs.expressions import evaluate, names_in, placeholders
from tandem.packs.files import sentence_hash
from tandem.packs.model import END, Edge, Flow, Node, Pack, Program, Tool
from tandem.packs.paths import AUTHORISATION, IDENTITY, State, gives, states
from tandem.packs.problems import Problems, at
from tandem.packs.references import bound_expressions, expressions_of, flow_place

MAX_VISITS = 20
"""A loop that goes round more often than this is not a conversation."""


def check_flow(pack: Pack, flow: Flow, problems: Problems) -> None:
    """Every rule over one flow."""
    reached = states(pack, flow)
    loops = {name for name in flow.nodes if name in _following(flow, name)}
    for node in flow.nodes.values():
        _sentence(flow, node, problems)
        _edges(flow, node, problems)
        _failure(flow, node, problems)
        _loop(flow, node, loops, problems)
        _words(pack, flow, node, problems)
        if node.id not in reached:
            problems.error(
                flow_place(flow, node), f"cannot be reached from {flow.start!r}; lead an edge here or remove it"
            )
            continue
        _join(flow, node, reached, problems)
        _facts(pack, flow, node, problems)
        _subject(pack, flow, node, problems)
        if node.program is not None:
            _program(pack, flow, node, pack.programs[node.program], reached[node.id], problems)
        if node.tool is not None:
            tool = pack.tools[node.tool]
            _arguments(pack, flow, node, tool, reached[node.id], problems)
            if tool.writes:
                _permission(pack, flow, node, tool, reached[node.id], problems)
    for number in sorted(flow.sentences.keys() - {node.sentence for node in flow.nodes.values()}):
        place = at(f"procedures/{flow.procedure}.md", f"sentence {number}")
        problems.warning(place, "no node carries it out; add one or remove the sentence")


def _sentence(flow: Flow, node: Node, problems: Problems) -> None:
    text = flow.sentences.get(node.sentence)
    if text is None:
        problems.error(
            flow_place(flow, node, "sentence"),
            f"the procedure has no sentence {node.sentence}; it has {len(flow.sentences)}",
        )
    elif not node.sentence_hash:
        problems.error(
            flow_place(flow, node, "sentence_hash"),
            f"is missing; read sentence {node.sentence} and run `tandem pack check --fix-hashes`",
        )
    elif node.sentence_hash != sentence_hash(text):
        problems.error(
            flow_place(flow, node, "sentence_hash"),
            f"sentence {node.sentence} has changed; see that the node still does what it says, "
            "then run `tandem pack check --fix-hashes`",
        )


def _edges(flow: Flow, node: Node, problems: Problems) -> None:
    if node.kind == "handover":
        if node.next:
            problems.error(flow_place(flow, node, "next"), "a handover ends the plan; remove `next`")
        return
    if not node.next:
        problems.error(flow_place(flow, node, "next"), "is missing; say what follows, or `next: end`")
    elif not node.all and node.next[-1].when is not None:
        problems.error(
            flow_place(flow, node, "next"), "nothing follows when no condition holds; add a last edge without `when`"
        )
    elif node.all and all(edge.when is not None for edge in node.next):
        problems.error(
            flow_place(flow, node, "next"), "no branch is certain; let one of `all` have no `when`, or list the cases"
        )
    for key, edges in (("next", node.next), ("on_failure", node.on_failure)):
        _order(edges, node.all and key == "next", flow_place(flow, node, key), problems)
    if not any(name == END or flow.nodes[name].kind == "handover" for name in {node.id, *_following(flow, node.id)}):
        problems.error(flow_place(flow, node), "no path from here ends; lead one to `end` or to a handover")


def _failure(flow: Flow, node: Node, problems: Problems) -> None:
    """A call that failed was refused, or nobody answered: what is said of it must not be the same, unless it is what is said
    anyway. Only the answer tells."""
    reads = {"result", *node.save}
    for edge in node.on_failure if node.tool else ():
        if edge.when is not None and names_in(edge.when) & reads:
            if evaluate(edge.when, {"__visits__": {}}):
                return  # holds without an answer, and not with every one
            continue
        target = flow.nodes.get(edge.to)
        anyway = any(edge.to == other.to for other in node.next)
        if target is not None and target.kind in ("reply", "ask") and not anyway:
            problems.warning(
                flow_place(flow, node, "on_failure"),
                f"{edge.to!r} is said whether {node.tool!r} refused or nobody answered; `save` the answer and lead there by "
                "what it says (`when: order.code == 'not_found'`), with anything else to a person",
            )
            return


def _order(edges: tuple[Edge, ...], every: bool, place: str, problems: Problems) -> None:
    if not every and any(edge.when is None for edge in edges[:-1]):
        problems.error(place, "an edge without `when` is always taken, the ones after it never; put it last")


def _loop(flow: Flow, node: Node, loops: set[str], problems: Problems) -> None:
    if not 1 <= node.max_visits <= MAX_VISITS:
        problems.error(flow_place(flow, node, "max_visits"), f"must be between 1 and {MAX_VISITS}")
    if node.id in loops and node.slots and not set(node.slots) & _forgotten(flow, node):
        problems.warning(
            flow_place(flow, node, "slots"),
            "on a second visit all is known and nothing is asked; `forget` what was wrong",
        )
    for path, expression in expressions_of(node):
        for name, bound in visit_bounds(expression):
            if name not in flow.nodes:
                problems.error(flow_place(flow, node, path), f"visits({name!r}) counts a node that does not exist")
            elif bound is not None and bound > flow.nodes[name].max_visits:
                problems.error(
                    flow_place(flow, node, path),
                    f"visits({name!r}) never reaches {bound}: its max_visits is {flow.nodes[name].max_visits}; raise that",
                )


def _forgotten(flow: Flow, node: Node) -> set[str]:
    around = _following(flow, node.id) & _preceding(flow, node.id) | {node.id}
    return {fact for name in around if name in flow.nodes for fact in flow.nodes[name].forget}


def _join(flow: Flow, node: Node, reached: dict[str, State], problems: Problems) -> None:
    for need in node.needs:
        if need not in reached:
            problems.error(flow_place(flow, node, "needs"), f"{need!r} is never done: it cannot be reached")
        elif node.id not in _following(flow, need):
            problems.error(
                flow_place(flow, node, "needs"),
                f"{need!r} does not lead here; add an edge from it, or do not wait for it",
            )


def _facts(pack: Pack, flow: Flow, node: Node, problems: Problems) -> None:
    known = {*pack.slots, *(fact for other in flow.nodes.values() for fact in gives(other))}
    read = [(path, expression) for path, expression in expressions_of(node) if not path.startswith("save.")]
    read += [(f"text.{language}", item) for language, text in node.text.items() for item in placeholders(text)]
    for path, expression in read:
        names = names_in(expression) - ({"item"} if path.startswith("choices.id") else set())
        for name in sorted(names - known):
            problems.error(
                flow_place(flow, node, path), f"nothing sets {name!r}; save it, ask for it or correct its name"
            )
    for path, expression in expressions_of(node):
        if path.startswith("save.") and "result" not in names_in(expression):
            problems.error(flow_place(flow, node, path), "`save` reads the answer: write `result` or `result.<field>`")


def _arguments(pack: Pack, flow: Flow, node: Node, tool: Tool, state: State, problems: Problems) -> None:
    groups = [*tool.alternatives, *((name,) for name in tool.required)]
    for group in groups:
        if any(_obtainable(pack, node, tool, name, state) for name in group) or _any_of(node, group, state):
            continue
        place = flow_place(flow, node, "args", *(group if len(group) == 1 else ()))
        bound = [name for name in group if name in node.args]
        missing = sorted({fact for name in bound for fact in _unknown(node, name, state)})
        if missing:
            problems.error(
                place,
                f"{' or '.join(group)} needs {', '.join(map(repr, missing))}, not known on every path here; "
                "ask for it before",
            )
        else:
            problems.error(
                place,
                f"{' or '.join(group)} cannot be obtained: bind it, or give {tool.name!r} a slot for it",
            )


def _obtainable(pack: Pack, node: Node, tool: Tool, name: str, state: State) -> bool:
    if name in node.args:
        return not _unknown(node, name, state)
    schema = tool.properties.get(name, {})
    return tool.slots.get(name, name) in pack.slots or name in state.known or "default" in schema or "const" in schema


def _unknown(node: Node, name: str, state: State) -> set[str]:
    facts = {fact for expression in bound_expressions(node.args[name]) for fact in names_in(expression)}
    return set(facts - state.known)


def _any_of(node: Node, group: Iterable[str], state: State) -> bool:
    """True if one of several facts is known, and each of them is bound to one of the group."""
    bound = {fact for name in group if name in node.args for fact in _names(node, name)}
    return any("|" in token and set(token.split("|")) <= bound for token in state.known)


def _names(node: Node, name: str) -> set[str]:
    return {fact for expression in bound_expressions(node.args[name]) for fact in names_in(expression)}


def _subject(pack: Pack, flow: Flow, node: Node, problems: Problems) -> None:
    """What is agreed to is exactly one call: it must be complete when it is agreed to."""
    name = node.consent or node.approve
    target = flow.nodes[name] if name else None
    tool = pack.tools[target.tool] if target and target.tool else None
    if target is None or tool is None:
        return
    open_ = [parameter for parameter in tool.required if parameter not in target.args]
    open_ += [" or ".join(group) for group in tool.alternatives if not set(group) & target.args.keys()]
    if open_:
        problems.error(
            flow_place(flow, target, "args"),
            f"{node.id!r} asks whether this call may be made, and {', '.join(open_)} is not bound; bind it, so that it is "
            "known what is agreed to",
        )


def _program(pack: Pack, flow: Flow, node: Node, program: Program, state: State, problems: Problems) -> None:
    """Its inputs are known, and whoever it writes for. Consent and approval are asked when it calls: no sooner is it known
    what for."""
    for name in program.required:
        if name not in node.args:
            problems.error(flow_place(flow, node, "args"), f"{name!r} is missing; {program.name!r} requires it")
    for name in node.args:
        for fact in sorted(_unknown(node, name, state)):
            problems.error(
                flow_place(flow, node, "args", name), f"{fact!r} is not known on every path here; ask for it before"
            )
    for name in program.tools:
        if pack.tools[name].writes:
            _customer_known(pack, flow_place(flow, node), pack.tools[name], state, problems)


def _customer_known(pack: Pack, place: str, tool: Tool, state: State, problems: Problems) -> None:
    policies = pack.policies
    if tool.name in (*policies.identity_tools, *policies.authorisation_tools, *policies.no_identity):
        return
    for role, demand in ((IDENTITY, policies.identity), (AUTHORISATION, policies.authorisation)):
        if demand == "required" and role not in state.grants:
            problems.error(
                place,
                f"{tool.name!r} writes, but {role} is not certain on every path here; branch on the success of one of "
                f"policies.{role}_tools before, or list the tool in `no_identity`",
            )


def _permission(pack: Pack, flow: Flow, node: Node, tool: Tool, state: State, problems: Problems) -> None:
    policies, place = pack.policies, flow_place(flow, node)
    if tool.name in (*policies.identity_tools, *policies.authorisation_tools):
        return
    _customer_known(pack, place, tool, state, problems)
    needs_consent = policies.consent == "customer_confirms" and tool.name not in policies.no_consent
    if needs_consent and f"consent:{node.id}" not in state.grants:
        problems.error(
            place,
            f"{tool.name!r} writes, but not every path here has asked `consent: {node.id}` since its arguments were "
            "known; ask, or list the tool in `no_consent`",
        )
    rules = [rule for rule in policies.approvals if rule.tool == tool.name]
    always = any(rule.when is None for rule in rules)
    asked = any(other.approve == node.id for other in flow.nodes.values())
    if (always and f"approve:{node.id}" not in state.grants) or (rules and not asked):
        problems.error(
            place, f"{tool.name!r} needs an expert's approval; lead every such path through `approve: {node.id}`"
        )


def _words(pack: Pack, flow: Flow, node: Node, problems: Problems) -> None:
    silent_ask = node.kind == "ask" and not node.text
    if silent_ask and not node.slots:
        problems.error(flow_place(flow, node, "text"), "is missing; write the question")
    if node.kind == "reply" and not node.text:
        problems.error(flow_place(flow, node, "text"), "is missing; write the reply")
    if silent_ask:
        for slot in node.slots:
            if not pack.slots[slot].ask:
                problems.error(
                    at("pack.yaml", "slots", slot, "ask"), f"is missing; {node.id!r} asks for it without a text"
                )
    languages(pack, node.text, flow_place(flow, node, "text"), problems)
    if node.choices:
        languages(pack, node.choices.label, flow_place(flow, node, "choices", "label"), problems)


def languages(pack: Pack, texts: dict[str, str], place: str, problems: Problems) -> None:
    """A text that exists must exist in each of the pack's languages."""
    missing = [language for language in pack.languages if not texts.get(language)]
    if texts and missing:
        problems.error(place, f"is missing in {', '.join(missing)}; write it in each of the pack's languages")


def _next(flow: Flow, name: str) -> set[str]:
    node = flow.nodes[name]
    return {edge.to for edge in (*node.next, *node.on_failure)}


def _following(flow: Flow, name: str) -> set[str]:
    """Every node that can come after, `end` included."""
    return _closure(name, lambda at: _next(flow, at) if at != END else set())


def _preceding(flow: Flow, name: str) -> set[str]:
    return _closure(name, lambda at: {other for other in flow.nodes if at in _next(flow, other)})


def _closure(start: str, step: Callable[[str], set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(step(start))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += step(name)
    return found
