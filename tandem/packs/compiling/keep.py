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
    """New name → the present node that does the same: of the same sentence, the one that is come to in the same cases;
    else the only one there is, so that no wording is given to another case."""
    found: dict[str, str] = {}
    cases, present_cases = _cases(nodes), _cases(present)
    for name, node in nodes.items():
        same = _alike(node, present, found, exact=True)
        if same:
            found[name] = max(same, key=lambda other: len(cases[name] & present_cases[other]))
    for name, node in nodes.items():
        same = _alike(node, present, found, exact=False) if name not in found else []
        rivals = [o for o, other in nodes.items() if o not in found and _does(other, False) == _does(node, False)]
        if len(same) == len(rivals) == 1:
            found[name] = same[0]
    return found


def _alike(node: dict[str, Any], present: Nodes, found: dict[str, str], *, exact: bool) -> list[str]:
    taken = set(found.values())
    return [name for name, there in present.items() if name not in taken and _does(there, exact) == _does(node, exact)]


def _cases(nodes: Nodes) -> dict[str, set[str]]:
    """In which cases each node is come to: the conditions of the edges to it, `else` where there is none."""
    found: dict[str, set[str]] = {name: set() for name in nodes}
    for node in nodes.values():
        for key in ("next", "on_failure"):
            for edge in _edges(node.get(key)):
                when = _VISITS.sub("visits", edge.get("when", "else"))
                found.setdefault(edge["to"], set()).add(f"{key} {when}")
    return found


def _edges(edges: Any) -> list[dict[str, str]]:
    """A name alone, a list of edges, or what is begun together."""
    if isinstance(edges, str):
        return [{"to": edges}]
    if isinstance(edges, dict):
        return [{"to": name} for name in edges.get("all", ())]
    return list(edges or ())


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
