"""What may be in a program that a model wrote, told from its text alone. The sandbox holds whatever this lets through."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping

from tandem.packs.model import Tool
from tandem.packs.programs import ENTRY

MAX_CODE = 4_000
MAX_NODES = 1_500
INPUTS = "inputs"

_BUILTINS = """abs all any bool dict enumerate float int isinstance len list max min range reversed round set sorted str sum tuple
    zip RuntimeError ValueError"""
BUILTINS = frozenset(_BUILTINS.split())

_LEFT_OUT = (
    ast.Import, ast.ImportFrom, ast.ClassDef, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await, ast.Yield,
    ast.YieldFrom, ast.With, ast.Global, ast.Nonlocal, ast.Delete, ast.Match, ast.NamedExpr, ast.Starred,
)  # fmt: skip


class NotAllowed(ValueError):
    """A program that is not run. The message says where, and what is wrong."""


def check(code: str, tools: Mapping[str, Tool]) -> None:
    """Raises NotAllowed unless it is a `main(inputs)` that calls these tools, by name and with what they take."""
    if len(code) > MAX_CODE:
        raise NotAllowed(f"is longer than {MAX_CODE} characters")
    tree = _parsed(code)
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_NODES:
        raise NotAllowed("is too large: write it shorter")
    own = _functions(tree)
    called = {node.func for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        _check_node(node, called, own, tools)
    if not any(isinstance(name, ast.Name) and name.id in tools for name in called):
        raise NotAllowed("calls none of the tools")


def _parsed(code: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a text that is not ours
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotAllowed(f"is not Python: {error}"[:200]) from error


def _functions(tree: ast.Module) -> frozenset[str]:
    others = [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
    if others:
        raise _at(others[0], "only functions may stand at the top level")
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    mains = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == ENTRY]
    if len(mains) != 1 or not _takes_inputs(mains[0].args):
        raise NotAllowed(f"needs exactly one `def {ENTRY}({INPUTS})`")
    for function in functions:
        if function.decorator_list:
            raise _at(function, "no decorators")
    return frozenset(function.name for function in functions)


def _takes_inputs(taken: ast.arguments) -> bool:
    others = (*taken.posonlyargs, *taken.kwonlyargs, *taken.defaults, taken.vararg, taken.kwarg)
    return [argument.arg for argument in taken.args] == [INPUTS] and not any(others)


def _check_node(node: ast.AST, called: set[ast.expr], own: frozenset[str], tools: Mapping[str, Tool]) -> None:
    if isinstance(node, _LEFT_OUT):
        raise _at(node, f"{type(node).__name__} may not be used")
    match node:
        case ast.FunctionDef(name=name) if name in tools or name in BUILTINS or name.startswith("_"):
            raise _at(node, f"a function may not be called {name}")
        case ast.arg(arg=name) if name in tools or name.startswith("_"):
            raise _at(node, f"an argument may not be called {name}")
        case ast.ExceptHandler(name=str(name)) if name in tools or name.startswith("_"):
            raise _at(node, f"an error may not be called {name}")
        case ast.Attribute(attr=name) if name.startswith("_"):
            raise _at(node, "no names that begin with an underscore")
        case ast.Attribute(attr="format" | "format_map"):
            raise _at(node, "texts are put together with f-strings")
        case ast.Name(id=name) if name.startswith("_") and name != "_":
            raise _at(node, "no names that begin with an underscore")
        case ast.Name(id=name, ctx=ast.Load()) if name in tools and node not in called:
            raise _at(node, f"{name} can only be called")
        case ast.Name(id=name, ctx=ast.Store()) if name in tools or name in own or name in BUILTINS:
            raise _at(node, f"{name} is taken")
        case ast.Call():
            _check_call(node, own, tools)


def _check_call(node: ast.Call, own: frozenset[str], tools: Mapping[str, Tool]) -> None:
    if isinstance(node.func, ast.Attribute):
        return
    if not isinstance(node.func, ast.Name):
        raise _at(node, "only functions and methods are called, by their names")
    name = node.func.id
    if name not in tools:
        if name not in own and name not in BUILTINS:
            raise _at(node, f"there is no function {name[:60]}")
        return
    tool = tools[name]
    given = [keyword.arg for keyword in node.keywords]
    if node.args or None in given:
        raise _at(node, f"{name} takes its arguments by name")
    unknown = [str(argument) for argument in given if argument not in tool.properties]
    if unknown:
        raise _at(node, f"{name} has no parameter {', '.join(unknown)[:60]}")
    lacking = [argument for argument in tool.required if argument not in given]
    if lacking:
        raise _at(node, f"{name} needs {', '.join(lacking)}")


def _at(node: ast.AST, what: str) -> NotAllowed:
    return NotAllowed(f"line {getattr(node, 'lineno', 0)}: {what}")
