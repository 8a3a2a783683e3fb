"""Values of the right shape, made from what a pack declares: for slots, for tools' results, for each edge of a decision."""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Literal

from tandem.contracts.values import Json
from tandem.packs.expressions import evaluate
from tandem.packs.model import Edge, Node, Slot

MAX_TRIALS = 2_000
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 -_.ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TYPED: dict[str, Json] = {
    "email": "customer{n}@example.com", "ip": "203.0.113.{n}", "phone": "+1 202 555 010{n}", "date": "2030-01-0{n}",
    "url": "https://example.com/{n}", "string": "example {n}",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way a call may go, and where it leads."""

    label: str
    status: Literal["done", "failed"]
    output: dict[str, Json]


def slot_value(slot: Slot, n: int) -> Json:
    """The `n`th value (from 1) that a customer might give."""
    if slot.choices:
        return list(slot.choices)[(n - 1) % len(slot.choices)]
    if slot.type == "boolean":
        return True
    found = matching(slot.pattern, n) if slot.pattern else None
    if slot.type in ("integer", "number"):
        return int(found) if found and found.isdigit() else n
    return found if found is not None else str(_TYPED.get(slot.type, "example {n}")).replace("{n}", str(n))


def matching(pattern: str, n: int) -> str:
    """A text that the regular expression matches, but for what it looks for around; another `n`, another text."""
    return "".join(_texts(_parser.parse(pattern), n))


def _texts(tree: Any, n: int) -> Iterator[str]:
    for kind, value in tree:
        if kind is ops.LITERAL:
            yield chr(value)
        elif kind in (ops.IN, ops.NOT_LITERAL, ops.ANY):
            yield _one_of(kind, value, n)
        elif kind in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
            least, most, inner = value
            for _ in range(max(least, min(1, most))):
                yield from _texts(inner, n)
        elif kind is ops.SUBPATTERN:
            yield from _texts(value[-1], n)
        elif kind is ops.BRANCH:
            yield from _texts(value[1][0], n)


def _one_of(kind: Any, value: Any, n: int) -> str:
    options = [one for one in _ALPHABET if kind is ops.ANY or _within(kind, value, one)]
    return options[n % len(options)] if options else ""


def _within(kind: Any, value: Any, one: str) -> bool:
    if kind is ops.NOT_LITERAL:
        return bool(ord(one) != value)
    negated = bool(value) and value[0][0] is ops.NEGATE
    categories = {ops.CATEGORY_DIGIT: str.isdigit, ops.CATEGORY_WORD: str.isalnum, ops.CATEGORY_SPACE: str.isspace}
    found = any(
        (item is ops.LITERAL and ord(one) == what)
        or (item is ops.RANGE and what[0] <= ord(one) <= what[1])
        or (item is ops.CATEGORY and what in categories and categories[what](one))
        for item, what in value
    )
    return bool(found) is not negated


def schema_value(schema: Any, name: str = "value") -> Json:
    """A value of the schema: the first of what is listed, everything there, yes rather than no."""
    if not isinstance(schema, dict):
        return None
    for key in ("const", "default", "example"):
        if key in schema:
            value: Json = schema[key]
            return value
    if schema.get("enum"):
        first: Json = schema["enum"][0]
        return first
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return schema_value(next((one for one in options if one.get("type") != "null"), options[0]), name)
    kind = schema.get("type")
    kind = next((one for one in kind if one != "null"), "string") if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema:
        return {key: schema_value(value, key) for key, value in schema.get("properties", {}).items()}
    if kind == "array":
        return [schema_value(schema.get("items", {}), name)]
    if kind == "string":
        return matching(schema["pattern"], 1) if "pattern" in schema else f"some {name.replace('_', ' ')}"
    return {"integer": int(schema.get("minimum", 1)), "number": 1.0, "boolean": True}.get(str(kind))


def outcomes(node: Node, base: Mapping[str, Json], facts: Mapping[str, Any]) -> list[Outcome]:
    """The ways the node's call may go that differ in what follows; first what `base`, the usual answer, leads to."""
    name = node.tool or node.program or node.id
    done = _decided(node, node.next, base, facts)
    found = [Outcome(f"{name} → {to}", "done", output) for to, output in done]
    if not node.on_failure:
        return [*found, Outcome(f"{name} fails", "failed", {})]
    failed = _decided(node, node.on_failure, {"code": "failed"}, facts)
    return [*found, *(Outcome(f"{name} fails → {to}", "failed", output) for to, output in failed)]


def _decided(
    node: Node, edges: tuple[Edge, ...], base: Mapping[str, Json], facts: Mapping[str, Any]
) -> list[tuple[str, dict[str, Json]]]:
    """Target → the first answer that leads to it."""
    found: dict[str, dict[str, Json]] = {}
    wanted = {edge.to for edge in edges if "visits(" not in (edge.when or "")}
    paths = {path: _candidates(path, edges) for path in _paths(node, edges)}
    for changes in itertools.islice(_changes(paths), MAX_TRIALS):
        output = copy.deepcopy(dict(base))
        for path, value in changes:
            _put(output, path.split(".")[1:], None if value is _ABSENT else value)
        to = _taken(node, edges, output, facts)
        if to is not None:
            found.setdefault(to, output)
        if wanted <= found.keys():
            break
    return list(found.items())


_ABSENT = object()


def _changes(paths: Mapping[str, list[Any]]) -> Iterator[tuple[tuple[str, Any], ...]]:
    """Values for none of the paths, for one, for two, and so on."""
    for count in range(len(paths) + 1):
        for chosen in itertools.combinations(paths, count):
            for values in itertools.product(*(paths[path] for path in chosen)):
                yield tuple(zip(chosen, values, strict=True))


def _taken(node: Node, edges: tuple[Edge, ...], output: dict[str, Json], facts: Mapping[str, Any]) -> str | None:
    saved = {fact: evaluate(expression, {**facts, "result": output}) for fact, expression in node.save.items()}
    scope = {**facts, **saved, "result": output, "__visits__": {}}
    return next((edge.to for edge in edges if edge.when is None or evaluate(edge.when, scope)), None)


def _paths(node: Node, edges: tuple[Edge, ...]) -> list[str]:
    """Paths into the result, as `result.a.b`, that the edges read."""
    found: dict[str, None] = {}
    for edge in edges:
        for part in ast.walk(ast.parse(edge.when or "true", mode="eval")):
            if isinstance(part, ast.Attribute | ast.Name):
                first, dot, rest = ast.unparse(part).partition(".")
                source = "result" if first == "result" else node.save.get(first, "")
                if dot and source.split(".")[0] == "result":
                    found[f"{source}.{rest}"] = None
    whole = [path for path in found if not any(other.startswith(f"{path}.") for other in found)]
    return whole[:5]


def _candidates(path: str, edges: tuple[Edge, ...]) -> list[Any]:
    constants = [
        part.value
        for edge in edges
        for part in ast.walk(ast.parse(edge.when or "true", mode="eval"))
        if isinstance(part, ast.Constant) and part.value is not None
    ]
    near = [value + step for value in constants if isinstance(value, int | float) for step in (-1, 1)]
    return [*dict.fromkeys([*constants, *near, "something else"]), True, False, [], _ABSENT]


def _put(output: dict[str, Json], path: list[str], value: Any) -> None:
    at: Any = output
    for part in path[:-1]:
        if not isinstance(at.get(part), dict):
            at[part] = {}
        at = at[part]
    if path:
        at[path[-1]] = value
