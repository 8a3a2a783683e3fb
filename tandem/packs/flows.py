"""Flows as people write them, brought into the model's form."""

from __future__ import annotations

from typing import Any

from tandem.packs.model import END, Flow, Node
from tandem.packs.problems import Problems, at

KINDS: dict[str, tuple[str, ...]] = {
    "tool": ("tool",),
    "program": ("program",),
    "approve": ("approve",),
    "agent": ("agent",),
    "ask": ("slots", "consent", "confirm", "choices"),
    "handover": ("handover", "reason"),
}
"""The fields that give a kind away. A node with none of them and a text is a reply."""

_LISTS = ("slots", "needs", "forget")
_MAPPINGS = ("args", "save")


def read_flow(data: dict[str, Any], place: str, default: dict[str, Any], problems: Problems) -> Flow | None:
    """The flow in a file, None with problems written down. `default`: what the procedure says itself."""
    raw = {**default, **data}
    nodes = raw.pop("nodes", None)
    if not isinstance(nodes, dict) or not nodes:
        problems.error(at(place, "nodes"), "must be a mapping of node ids to nodes, with at least one")
        return None
    before = len(problems.errors)
    read = {str(name): _node(str(name), node, place, problems) for name, node in nodes.items()}
    raw.setdefault("start", next(iter(read)))
    flow = problems.read(Flow, {**raw, "nodes": {}}, place)
    if flow is None or len(problems.errors) > before:
        return None
    return flow.model_copy(update={"nodes": {name: node for name, node in read.items() if node is not None}})


def _node(name: str, raw: Any, place: str, problems: Problems) -> Node | None:
    here = at(place, "nodes", name)
    if not isinstance(raw, dict):
        problems.error(here, "must be a mapping of fields; see docs/packs.md")
        return None
    node = {str(key): value for key, value in raw.items()}
    kind = _kind(node, here, problems)
    if kind is None:
        return None
    node.pop("handover", None)
    node["id"], node["kind"] = name, kind
    _edges(node, "next", here, problems)
    _edges(node, "on_failure", here, problems)
    if kind == "reply" and not node["next"]:
        node["next"] = [{"to": END}]
    for key in _LISTS:
        if isinstance(node.get(key), str):
            node[key] = [node[key]]
    for key in _MAPPINGS:
        if node.get(key) is None:
            node.pop(key, None)
    if "sentence_hash" in node:
        node["sentence_hash"] = str(node["sentence_hash"])
    return problems.read(Node, node, here)


def _kind(node: dict[str, Any], here: str, problems: Problems) -> str | None:
    if "kind" in node:
        return str(node["kind"])
    kinds = {kind for kind, fields in KINDS.items() if any(node.get(field) for field in fields)}
    if len(kinds) > 1:
        problems.error(here, f"is {' and '.join(sorted(kinds))} at once; split it, or write `kind:`")
        return None
    if kinds:
        return kinds.pop()
    if node.get("text"):
        return "reply"
    problems.error(
        here,
        "says nothing to do; give it `tool`, `program`, `slots`, `consent`, `approve`, `agent`, `text` or `handover`",
    )
    return None


def _edges(node: dict[str, Any], key: str, here: str, problems: Problems) -> None:
    raw = node.get(key)
    if isinstance(raw, dict) and "all" in raw:
        if key == "next":
            node["all"] = True
        else:
            problems.error(f"{here}.{key}", "only `next` can take all edges; write a list")
        raw = raw["all"]
    items = raw if isinstance(raw, list) else [] if raw is None else [raw]
    node[key] = [_edge(item) for item in items]


def _edge(item: Any) -> Any:
    if isinstance(item, str):
        return {"to": item}
    if isinstance(item, dict) and isinstance(item.get("when"), bool):
        return {**item, "when": "true" if item["when"] else "false"}
    return item
