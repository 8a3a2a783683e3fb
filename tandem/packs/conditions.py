"""What taking an edge tells: the simple conditions that follow from a condition being true or false."""

from __future__ import annotations

import ast
from typing import TypeAlias

from tandem.packs.model import Edge, Node

Truth: TypeAlias = tuple[str, bool]
"""A condition in normal form, and whether it holds."""

_CONSTANTS = {"true": True, "false": False}


def normal(text: str) -> str:
    """One text per expression."""
    return ast.unparse(ast.parse(text.strip(), mode="eval").body)


def implied(text: str, truth: bool) -> frozenset[Truth]:
    """Everything that follows when the condition is `truth`."""
    return _implied(ast.parse(text.strip(), mode="eval").body, truth)


def taken(node: Node, position: int) -> frozenset[Truth]:
    """What holds on the node's edge at that position: its own condition, and that the ones before it did not hold."""
    edge = node.next[position]
    own = implied(edge.when, True) if edge.when else frozenset()
    return own if node.all else own | refused(node.next[:position])


def refused(edges: tuple[Edge, ...]) -> frozenset[Truth]:
    """What follows from none of the edges having been taken."""
    return frozenset(truth for edge in edges if edge.when for truth in implied(edge.when, False))


def substituted(text: str, name: str, expression: str) -> str:
    """The expression with a fact replaced by what it was saved from."""
    replacement = ast.parse(expression.strip(), mode="eval").body

    class Replace(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return replacement if node.id == name else node

    return ast.unparse(Replace().visit(ast.parse(text, mode="eval").body))


def visit_bounds(text: str) -> list[tuple[str, int | None]]:
    """Nodes that the expression counts visits of, and the number it compares with `>=` or `==`, if it does."""
    bounds: dict[str, int | None] = {}
    for found in ast.walk(ast.parse(text.strip(), mode="eval")):
        name = _visits(found)
        if name is not None:
            bounds.setdefault(name, None)
        if isinstance(found, ast.Compare) and isinstance(found.ops[0], ast.GtE | ast.Eq):
            counted, limit = _visits(found.left), found.comparators[0]
            if counted is not None and isinstance(limit, ast.Constant) and isinstance(limit.value, int):
                bounds[counted] = limit.value
    return list(bounds.items())


def _visits(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "visits":
        argument = node.args[0]
        return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None
    return None


def _implied(node: ast.expr, truth: bool) -> frozenset[Truth]:
    match node:
        case ast.BoolOp(op=op, values=values):
            if isinstance(op, ast.And) is truth:
                return frozenset().union(*(_implied(value, truth) for value in values))
            return frozenset({(ast.unparse(node), truth)})
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _implied(operand, not truth)
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() as op], comparators=[right]):
            wanted = _constant(right)
            if wanted is None:
                return frozenset({(ast.unparse(node), truth)})
            equal = isinstance(op, ast.Eq) is truth
            return _implied(left, wanted) if equal else _differs(left, wanted)
    return frozenset({(ast.unparse(node), truth)})


def _differs(left: ast.expr, wanted: bool) -> frozenset[Truth]:
    # `x != true` may be null or any text; only `not true` is sure. `x != false` says nothing of being true.
    return _implied(left, False) if wanted else frozenset()


def _constant(node: ast.expr) -> bool | None:
    if isinstance(node, ast.Name):
        return _CONSTANTS.get(node.id)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, bool) else None
