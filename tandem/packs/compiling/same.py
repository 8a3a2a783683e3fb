"""Whether two flows behave the same: whatever is answered, they do the same, however their nodes are called and worded."""

from __future__ import annotations

import ast
import itertools
import json
from collections.abc import Iterator, Mapping

from tandem.packs.model import END, Edge, Flow, Node

MAX_ATOMS = 10
"""A decision over more conditions than this is compared as it is written."""


def difference(one: Flow, other: Flow) -> str | None:
    """The first place where they do not do the same; None if there is none."""
    waiting = [(one.start, other.start)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        pair = waiting.pop()
        if pair in seen or pair == (END, END):
            continue
        seen.add(pair)
        if END in pair:
            return f"{pair[0]!r} against {pair[1]!r}"
        a, b = one.nodes[pair[0]], other.nodes[pair[1]]
        if _does(a, one) != _does(b, other):
            return _in_words(a, one, b, other)
        for mine, theirs in ((a.next, b.next), (a.on_failure, b.on_failure)):
            targets = _outcomes(mine, theirs, one, other)
            if targets is None:
                return f"{a.id!r} and {b.id!r} decide differently"
            waiting += targets
    return None


def _does(node: Node, flow: Flow) -> str:
    subject = node.consent or node.approve
    value = node.model_dump(
        include={"kind", "slots", "any_of", "forget", "confirm", "tool", "args", "save", "repeat", "program", "agent",
                 "skill_group", "max_visits", "all", "needs"}
    )  # fmt: skip
    value["choices"] = (node.choices.items, node.choices.id, node.choices.save) if node.choices else None
    value["subject"] = (bool(node.consent), flow.nodes[subject].tool if subject else None)
    value["slots"], value["forget"] = sorted(node.slots), sorted(node.forget)
    return json.dumps(value, sort_keys=True)


def _in_words(a: Node, one: Flow, b: Node, other: Flow) -> str:
    """What the one does and the other does not."""
    mine, theirs = json.loads(_does(a, one)), json.loads(_does(b, other))
    if a.kind != b.kind:
        return f"{a.id!r} ({a.kind}) against {b.id!r} ({b.kind})"
    parts = [
        f"{name} {json.dumps(mine[name])} against {json.dumps(theirs[name])}"
        for name in mine
        if mine[name] != theirs[name]
    ]
    return f"{a.id!r} against {b.id!r}: {', '.join(parts)}"


def _outcomes(mine: tuple[Edge, ...], theirs: tuple[Edge, ...], one: Flow, other: Flow) -> list[tuple[str, str]] | None:
    """Pairs of targets under every truth of the conditions; None if only one of them goes on."""
    a, b = _decision(mine, one), _decision(theirs, other)
    atoms = sorted({atom for _, tree in (*a, *b) if tree is not None for atom in _atoms(tree)})
    if len(atoms) > MAX_ATOMS:
        return None
    found: list[tuple[str, str]] = []
    for values in itertools.product((False, True), repeat=len(atoms)):
        truth = dict(zip(atoms, values, strict=True))
        if _impossible(truth):
            continue
        first, second = _taken(a, truth), _taken(b, truth)
        if (first is None) != (second is None):
            return None
        if first is not None and second is not None:
            found.append((first, second))
    return found


def _decision(edges: tuple[Edge, ...], flow: Flow) -> list[tuple[str, ast.expr | None]]:
    return [(edge.to, None if edge.when is None else _parsed(edge.when, flow)) for edge in edges]


def _parsed(when: str, flow: Flow) -> ast.expr:
    """`visits` counts a node by what it does: names differ."""
    tree = ast.parse(when.strip(), mode="eval").body
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "visits":
            counted = node.args[0]
            if isinstance(counted, ast.Constant) and str(counted.value) in flow.nodes:
                counted.value = _does(flow.nodes[str(counted.value)], flow)
    return tree


def _taken(decision: list[tuple[str, ast.expr | None]], truth: Mapping[str, bool]) -> str | None:
    return next((to for to, tree in decision if tree is None or _holds(tree, truth)), None)


def _holds(tree: ast.expr, truth: Mapping[str, bool]) -> bool:
    match tree:
        case ast.BoolOp(op=op, values=values):
            found = [_holds(value, truth) for value in values]
            return all(found) if isinstance(op, ast.And) else any(found)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _holds(operand, truth)
        case ast.Compare(left=left, ops=[ast.NotEq()], comparators=[right]):
            return not truth[_equal(left, right)]
    return truth[ast.unparse(tree)]


def _atoms(tree: ast.expr) -> Iterator[str]:
    match tree:
        case ast.BoolOp(values=values):
            for value in values:
                yield from _atoms(value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield from _atoms(operand)
        case ast.Compare(left=left, ops=[ast.NotEq()], comparators=[right]):
            yield _equal(left, right)
        case _:
            yield ast.unparse(tree)


def _equal(left: ast.expr, right: ast.expr) -> str:
    return ast.unparse(ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]))


def _impossible(truth: Mapping[str, bool]) -> bool:
    """One value equals two."""
    equal = [atom.split(" == ")[0] for atom, holds in truth.items() if holds and atom.count(" == ") == 1]
    return len(equal) != len(set(equal))
