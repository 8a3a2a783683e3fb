"""The small expression language of flows: conditions, bindings and templates over facts.

It is Python's syntax for names, dotted paths, indexes, literals, comparisons, `and`, `or`, `not`, `in`, `+`, `-`, and four
functions: `known(x)`, `count(x)`, `lower(x)`, `visits("node")`. A path that leads nowhere is None; comparing None with
`<` is False. Nothing else is allowed, so an expression can neither loop nor reach outside its scope.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from tandem.errors import InvalidError

Scope: TypeAlias = Mapping[str, Any]
Compiled: TypeAlias = Callable[[Scope], Any]

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {ast.Add: operator.add, ast.Sub: operator.sub}
_FUNCTIONS = ("known", "count", "lower", "visits")
_LITERALS = {"true": True, "false": False, "null": None}
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


class InvalidExpression(InvalidError):
    """An expression that is not in the language."""


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Compiled:
    """Compile once; evaluate often. Raises InvalidExpression."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise InvalidExpression(f"{text!r}: {error.msg}") from error
    return _compile(tree.body, text)


def evaluate(text: str, scope: Scope) -> Any:
    """The value of an expression in a scope. A mistake of types is None, not an exception: facts come from outside."""
    try:
        return compile_expression(text)(scope)
    except (TypeError, ValueError, ArithmeticError):
        return None


def names_in(text: str) -> frozenset[str]:
    """The facts an expression reads: the first name of each path."""
    compile_expression(text)
    tree = ast.parse(text.strip(), mode="eval")
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return frozenset(names - set(_FUNCTIONS) - set(_LITERALS))


def bind(value: Any, scope: Scope) -> Any:
    """A flow's argument: "$expression" is evaluated, lists and objects are bound inside, all else is a literal."""
    if isinstance(value, str) and value.startswith("$"):
        return evaluate(value[1:], scope)
    if isinstance(value, dict):
        return {key: bind(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [bind(item, scope) for item in value]
    return value


def fill(template: str, scope: Scope) -> str:
    """Fill `{expression}` placeholders; an unknown value is left out."""

    def value(match: re.Match[str]) -> str:
        found = evaluate(match.group(1), scope)
        return "" if found is None else _shown(found)

    return _PLACEHOLDER.sub(value, template)


def placeholders(template: str) -> list[str]:
    """The expressions in a template."""
    return _PLACEHOLDER.findall(template)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return str(value)


def _compile(node: ast.expr, text: str) -> Compiled:
    match node:
        case ast.Constant(value=value):
            return lambda scope: value
        case ast.Name(id=name):
            return (lambda scope: _LITERALS[name]) if name in _LITERALS else (lambda scope: scope.get(name))
        case ast.Attribute(value=inner, attr=attr):
            return _path(_compile(inner, text), attr)
        case ast.Subscript(value=inner, slice=ast.Constant(value=index)):
            return _path(_compile(inner, text), index)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            parts = [_compile(item, text) for item in items]
            return lambda scope: [part(scope) for part in parts]
        case ast.BoolOp(op=op, values=values):
            return _boolean(isinstance(op, ast.And), [_compile(value, text) for value in values])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner_ = _compile(operand, text)
            return lambda scope: not inner_(scope)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return lambda scope: -number
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            a, b, apply = _compile(left, text), _compile(right, text), _ARITHMETIC[type(op)]
            return lambda scope: apply(a(scope), b(scope))
        case ast.Compare():
            return _comparison(node, text)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _function(name, _compile(argument, text))
    raise InvalidExpression(f"{text!r}: {ast.unparse(node)!r} is not in the language of flows")


def _path(inner: Compiled, key: Any) -> Compiled:
    def step(scope: Scope) -> Any:
        value = inner(scope)
        if isinstance(value, Mapping):
            return value.get(key)
        if isinstance(value, list | tuple) and isinstance(key, int):
            return value[key] if -len(value) <= key < len(value) else None
        return None

    return step


def _boolean(every: bool, parts: list[Compiled]) -> Compiled:
    if every:
        return lambda scope: all(part(scope) for part in parts)
    return lambda scope: any(part(scope) for part in parts)


def _comparison(node: ast.Compare, text: str) -> Compiled:
    operands = [_compile(part, text) for part in (node.left, *node.comparators)]
    tests = [_COMPARE.get(type(op)) for op in node.ops]
    if None in tests:
        raise InvalidExpression(f"{text!r}: use ==, !=, <, <=, >, >=, in or not in")

    def compare(scope: Scope) -> bool:
        values = [operand(scope) for operand in operands]
        try:
            return all(test(a, b) for test, a, b in zip(tests, values, values[1:], strict=False) if test)
        except TypeError:
            return False

    return compare


def _function(name: str, argument: Compiled) -> Compiled:
    if name == "known":
        return lambda scope: argument(scope) not in (None, "")
    if name == "count":
        return lambda scope: len(value) if isinstance(value := argument(scope), list | dict | str) else 0
    if name == "lower":
        return lambda scope: str(argument(scope) or "").lower()
    return lambda scope: (scope.get("__visits__") or {}).get(argument(scope), 0)
