"""What is certain at each node of a flow, whichever path led there.

A forward analysis: a node's state is what all paths to it agree on. It is small on purpose: facts known, conditions that
hold, and what has been granted (identity, authorisation, consent and approval of a node's call).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tandem.packs.conditions import Truth, implied, normal, substituted, taken
from tandem.packs.expressions import names_in
from tandem.packs.model import END, Flow, Node, Pack
from tandem.packs.references import bound_expressions

IDENTITY, AUTHORISATION = "identity", "authorisation"


@dataclass(frozen=True, slots=True)
class State:
    """What is certain. `known` holds facts, and "a|b" where one of several is known."""

    known: frozenset[str] = frozenset()
    truths: frozenset[Truth] = frozenset()
    sources: frozenset[tuple[str, str, str]] = frozenset()  # (fact, identity or authorisation, expression over result)
    grants: frozenset[str] = frozenset()  # "identity", "authorisation", "consent:NODE", "approve:NODE"

    def meet(self, other: State) -> State:
        """What both agree on."""
        return State(
            self.known & other.known | _either(self.known, other.known),
            self.truths & other.truths,
            self.sources & other.sources,
            self.grants & other.grants,
        )

    def join(self, other: State) -> State:
        """Both have happened."""
        return State(
            self.known | other.known,
            self.truths | other.truths,
            self.sources | other.sources,
            self.grants | other.grants,
        )


def _either(a: frozenset[str], b: frozenset[str]) -> frozenset[str]:
    groups = {token for token in a | b if "|" in token}
    return frozenset(token for token in groups if _covers(a, token) and _covers(b, token))


def _covers(known: frozenset[str], group: str) -> bool:
    return group in known or any(name in known for name in group.split("|"))


def states(pack: Pack, flow: Flow) -> dict[str, State]:
    """The state on entering each node that can be reached."""
    entered: dict[str, State] = {flow.start: State()}
    after: dict[str, State] = {}
    waiting = [flow.start]
    while waiting:
        node = flow.nodes[waiting.pop()]
        if any(need not in after for need in node.needs):
            continue  # the last of its needs to be done leads here again
        state = _entering(flow, node, entered[node.id], after)
        done = _done(pack, flow, node, state)
        if after.get(node.id) != done:
            after[node.id] = done
            waiting += [join for join in entered if node.id in flow.nodes[join].needs]
        for target, arriving in _leaving(pack, flow, node, state, done):
            before = entered.get(target)
            merged = arriving if before is None else before.meet(arriving)
            if target != END and merged != before:
                entered[target] = merged
                waiting.append(target)
    return {name: _entering(flow, flow.nodes[name], state, after) for name, state in entered.items()}


def _entering(flow: Flow, node: Node, state: State, after: dict[str, State]) -> State:
    for need in node.needs:
        state = state.join(after[need]) if need in after else state
    return _without(flow, state, frozenset(node.forget))


def gives(node: Node) -> frozenset[str]:
    """The facts a node sets when it is done."""
    given = {*node.slots, *node.save}
    if node.confirm:
        given.add(node.confirm)
    if node.choices:
        given.add(node.choices.save)
    return frozenset(given)


def argument_names(node: Node) -> frozenset[str]:
    """The facts a call's bound arguments are made of."""
    return frozenset(
        name for value in node.args.values() for expression in bound_expressions(value) for name in names_in(expression)
    )


def _done(pack: Pack, flow: Flow, node: Node, state: State) -> State:
    given = gives(node)
    changed = frozenset(node.save) | (given - frozenset(node.slots))
    changed |= frozenset(slot for slot in node.slots if slot not in state.known)
    state = _without(flow, state, changed)
    known = frozenset({"|".join(sorted(node.slots))}) | (given - frozenset(node.slots)) if node.any_of else given
    sources = frozenset(
        (fact, role, normal(expression)) for role in _roles(pack, node) for fact, expression in node.save.items()
    )
    return replace(state, known=state.known | known, sources=state.sources | sources)


def _without(flow: Flow, state: State, facts: frozenset[str]) -> State:
    """The state when these facts have changed: what rested on them is not certain any more."""
    if not facts:
        return state
    stale = {name for name, node in flow.nodes.items() if node.tool and argument_names(node) & facts}
    return State(
        frozenset(token for token in state.known if not set(token.split("|")) & facts),
        frozenset(truth for truth in state.truths if not names_in(truth[0]) & facts),
        frozenset(source for source in state.sources if source[0] not in facts),
        frozenset(grant for grant in state.grants if grant.partition(":")[2] not in stale),
    )


def _leaving(pack: Pack, flow: Flow, node: Node, before: State, after: State) -> Iterator[tuple[str, State]]:
    for position, edge in enumerate(node.next):
        state = _learned(pack, node, after, taken(node, position))
        if node.consent:
            state = replace(state, grants=state.grants | {f"consent:{node.consent}"})
        if node.approve:
            state = replace(state, grants=state.grants | {f"approve:{node.approve}"})
        yield edge.to, _spent(node, state)
    for edge in node.on_failure:
        held = implied(edge.when, True) if edge.when else frozenset()
        yield edge.to, _spent(node, replace(before, truths=before.truths | held))


def _spent(node: Node, state: State) -> State:
    # A consent is for one call: another call of the node needs another.
    return replace(state, grants=state.grants - {f"consent:{node.id}", f"approve:{node.id}"}) if node.tool else state


def _learned(pack: Pack, node: Node, state: State, truths: frozenset[Truth]) -> State:
    truths = state.truths | truths
    known = {text[len("known(") : -1] for text, holds in truths if holds and text.startswith("known(")}
    grants = set(state.grants)
    for role, condition in ((IDENTITY, pack.policies.identity_when), (AUTHORISATION, pack.policies.authorisation_when)):
        wanted = implied(condition, True)
        held = {
            (substituted(text, fact, expression), holds)
            for text, holds in truths
            for fact, source, expression in state.sources
            if source == role
        }
        if wanted <= held or (role in _roles(pack, node) and wanted == {("true", True)}):
            grants.add(role)
    return replace(state, truths=truths, known=state.known | known, grants=frozenset(grants))


def _roles(pack: Pack, node: Node) -> tuple[str, ...]:
    roles = ((IDENTITY, pack.policies.identity_tools), (AUTHORISATION, pack.policies.authorisation_tools))
    return tuple(role for role, tools in roles if node.tool in tools)
