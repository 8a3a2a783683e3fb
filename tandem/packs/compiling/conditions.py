"""Conditions and values as the controlled language writes them, brought into the language of expressions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from tandem.packs.compiling.text import Mistake
from tandem.packs.expressions import InvalidExpression, compile_expression

Resolve = Callable[[str], str | None]
"""A path as written → the path from a fact; None if its beginning is no fact."""

_ATOM = re.compile(r"^`(?P<path>[^`]+)`(?: (?:is|are) (?P<not>not )?(?P<what>.+)| (?:holds|is so))?$")
_BOUND = re.compile(r"^(at least|at most|more than|less than) (-?\d+(?:\.\d+)?)$")
_OPERATORS = {"at least": ">=", "at most": "<=", "more than": ">", "less than": "<"}
_PATH = re.compile(r"^[A-Za-z_][\w.]*$")
_LITERAL = re.compile(r"^(-?\d+(\.\d+)?|true|false)$")
_PAIR = re.compile(r'`(?P<name>\w+)` is (?P<value>`[^`]*`|"[^"]*"|-?\d+(?:\.\d+)?)')


def expression(text: str, resolve: Resolve, sentence: int) -> str:
    """The condition as an expression. Raises Mistake."""
    pieces = re.split(r"\s+(and|or)\s+(?=`)|(,)\s+(?=`)", text.strip())
    joined = " ".join("and" if piece == "," else piece for piece in _atoms(pieces, resolve, sentence))
    try:
        compile_expression(joined)
    except InvalidExpression as error:
        raise Mistake(sentence, f"({text}) is no condition: {error}") from None
    return joined


def bindings(parentheses: list[str], resolve: Resolve) -> dict[str, str | int | float | bool]:
    """Arguments as they are said: `parameter` is a fact, a literal or words in quotes."""
    found = [pair for text in parentheses for pair in _PAIR.finditer(text)]
    return {pair["name"]: _bound(pair["value"], resolve) for pair in found}


def _atoms(pieces: list[str | None], resolve: Resolve, sentence: int) -> list[str]:
    return [
        piece if piece in ("and", "or", ",") else _atom(piece.strip(), resolve, sentence)
        for piece in pieces
        if piece is not None
    ]


def _atom(text: str, resolve: Resolve, sentence: int) -> str:
    found = _ATOM.match(text)
    if found is None:
        raise Mistake(
            sentence,
            f"({text}) is no condition; write `field` is `value`, is not `value`, is known, is true, is empty, is at least 3, "
            "or an `expression`",
        )
    path, what, negated = found["path"], found["what"], bool(found["not"])
    if what is None:
        return _known(path, resolve, sentence) if _PATH.match(path) else path
    name = _known(path, resolve, sentence)
    return _compared(name, what.strip(), negated, resolve, sentence)


def _compared(name: str, what: str, negated: bool, resolve: Resolve, sentence: int) -> str:
    no = "not " if negated else ""
    bound = _BOUND.match(what)
    if bound:
        plain = f"{name} {_OPERATORS[bound[1]]} {bound[2]}"
        return f"not ({plain})" if negated else plain
    match what.strip("`"):
        case "known":
            return f"{no}known({name})"
        case "unknown":
            return f"{'' if negated else 'not '}known({name})"
        case "empty":
            return f"count({name}) {'!=' if negated else '=='} 0"
        case "true":
            return f"{no}{name}"
        case "false":
            return f"{'' if negated else 'not '}{name}"
    if not re.fullmatch(r'`[^`]+`|"[^"]*"|-?\d+(\.\d+)?', what):
        raise Mistake(sentence, f"`{name}` is {what}: write the value in backticks, in quotes or as a number")
    return f"{name} {'!=' if negated else '=='} {_value(what, resolve)}"


def _known(path: str, resolve: Resolve, sentence: int) -> str:
    name = resolve(path)
    if name is None:
        raise Mistake(sentence, f"nothing gives `{path}`: ask for it, or say of a call that it gives the `fact`")
    return name


def _value(text: str, resolve: Resolve) -> str:
    bare = text.strip('`"')
    if text.startswith("`"):
        if _LITERAL.match(bare):
            return bare
        return (resolve(bare) if "." in bare else None) or json.dumps(bare, ensure_ascii=False)
    return json.dumps(bare, ensure_ascii=False) if text.startswith('"') else bare


def _bound(text: str, resolve: Resolve) -> str | int | float | bool:
    bare = text.strip('`"')
    if text.startswith('"'):
        return bare
    if _LITERAL.match(bare):
        value: str | int | float | bool = json.loads(bare)
        return value
    name = resolve(bare)
    return f"${name}" if name else bare
