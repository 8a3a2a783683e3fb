"""What a compiled flow keeps from the flow there is: names of nodes, wording in every language, reasons of handovers.

The words of a procedure say what is done; how it is said to customers, language by language, stands in the flow's file.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

Nodes = dict[str, dict[str, Any]]

_VISITS = re.compile(r'visits\("([^"]+)"\)')
_KEPT = ("text", "reason", "max_visits")


def keep(nodes: Nodes, start: str, present: Nodes) -> tuple[Nodes, str]:
    """The nodes under the names of the present ones that do the same, with their wording; and the first one's name."""
    twins = _twins(nodes, present)
    names = {**{name: _fresh(name, present, twins) for name in nodes}, **twins}
    kept = {names[name]: _renamed(node, names) for name, node in nodes.items()}
    for name, twin in twins.items():
        _worded(kept[names[name]], present[twin])
    return kept, names.get(start, start)


def _twins(nodes: Nodes, present: Nodes) -> dict[str, str]:
    """New name → the present node that does the same: first one that is reached alike, of the same sentence, else wherever it
    is."""
    found: dict[str, str] = {}
    ways, ways_there = _ways(nodes), _ways(present)
    for exact, alike in ((True, True), (True, False), (False, True), (False, False)):
        for name, node in nodes.items():
            same = [
                other
                for other, there in present.items()
                if other not in found.values()
                and _does(there, exact) == _does(node, exact)
                and (not alike or ways[name] == ways_there[other])
            ]
            if name not in found and same:
                found[name] = same[0]
    return found


def _ways(nodes: Nodes) -> dict[str, set[Hashable]]:
    """How each node is reached: from what, by success or failure, on which condition."""
    found: dict[str, set[Hashable]] = {name: set() for name in nodes}
    for node in nodes.values():
        for key in ("next", "on_failure"):
            edges = node.get(key) or []
            for edge in edges if isinstance(edges, list) else [edges]:
                to, when = (edge, "") if isinstance(edge, str) else (edge.get("to"), edge.get("when") or "")
                if to in found:
                    found[to].add((_does(node, exact=False), key, _VISITS.sub("visits", str(when))))
    return found


def _does(node: dict[str, Any], exact: bool) -> Hashable:
    choices = node.get("choices") or {}
    what = (
        node.get("tool"), node.get("program"), node.get("agent"), node.get("confirm"), bool(node.get("consent")),
        bool(node.get("approve")), tuple(node.get("slots") or ()), tuple(node.get("forget") or ()),
        choices.get("items"), bool(node.get("handover") or node.get("reason")), node.get("skill_group"),
    )  # fmt: skip
    return (what, node.get("sentence") if exact else None)


def _fresh(name: str, present: Nodes, twins: dict[str, str]) -> str:
    taken = set(twins.values())
    return f"{name}_new" if name in present and name in taken else name


def _renamed(node: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    renamed = dict(node)
    for key in ("next", "on_failure"):
        if key in node:
            renamed[key] = [_edge(edge, names) for edge in node[key]]
    for key in ("consent", "approve"):
        if key in node:
            renamed[key] = names.get(node[key], node[key])
    return renamed


def _edge(edge: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    moved = {**edge, "to": names.get(edge["to"], edge["to"])}
    if "when" in edge:
        moved["when"] = _VISITS.sub(lambda found: f'visits("{names.get(found[1], found[1])}")', edge["when"])
    return moved


def _worded(node: dict[str, Any], present: dict[str, Any]) -> None:
    """What the procedure puts in quotes wins in its own language; the others stay as they are."""
    for key in _KEPT:
        if key in present and key != "text" and (key != "max_visits" or key not in node):
            node[key] = present[key]
    if isinstance(present.get("text"), dict):
        node["text"] = {**present["text"], **node.get("text", {})}
    elif "text" in present and "text" not in node:
        node["text"] = present["text"]
    if "choices" in node and isinstance(present.get("choices"), dict):
        node["choices"] = {**node["choices"], "label": present["choices"].get("label", node["choices"]["label"])}
