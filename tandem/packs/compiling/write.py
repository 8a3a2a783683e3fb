"""A flow as its file: fields in the order in which people read them, edges and arguments on one line."""

from __future__ import annotations

from typing import Any

import yaml

from tandem.packs.model import END

_INLINE = ("args", "save", "slots", "forget", "needs")
_ORDER = (
    "sentence", "sentence_hash", "forget", "slots", "any_of", "consent", "approve", "confirm", "choices", "tool", "program",
    "agent", "repeat", "args", "handover", "reason", "skill_group", "save", "max_visits", "text", "next", "on_failure",
)  # fmt: skip


class _Inline(dict[str, Any]):
    """Written on one line."""


class _Row(list[Any]):
    """Written on one line."""


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_representer(_Inline, lambda d, v: d.represent_mapping("tag:yaml.org,2002:map", v, flow_style=True))
_Dumper.add_representer(_Row, lambda d, v: d.represent_sequence("tag:yaml.org,2002:seq", v, flow_style=True))


def flow_text(procedure: str, intent: str, start: str, nodes: dict[str, dict[str, Any]]) -> str:
    """The whole file."""
    shaped = {name: _node(node) for name, node in nodes.items()}
    head = {"procedure": procedure, "intent": intent, "start": start, "nodes": shaped}
    return yaml.dump(head, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


def _node(node: dict[str, Any]) -> dict[str, Any]:
    shaped = {key: node[key] for key in sorted(node, key=_ORDER.index)}
    for key in _INLINE:
        if isinstance(shaped.get(key), dict):
            shaped[key] = _Inline(shaped[key])
        elif isinstance(shaped.get(key), list):
            shaped[key] = _Row(shaped[key])
    for key in ("next", "on_failure"):
        if key in shaped:
            shaped[key] = _edges(shaped[key])
    return shaped


def _edges(edges: list[dict[str, str]]) -> Any:
    if len(edges) == 1 and "when" not in edges[0]:
        return edges[0]["to"] or END
    return [_Inline(edge) for edge in edges]
