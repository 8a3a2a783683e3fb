"""What the tests ask a tiny model that has no sense: it can only be held to a form."""

from __future__ import annotations

from tests.vllm.replicas import MODEL

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["refund", "return"]}, "urgent": {"type": "boolean"}},
    "required": ["kind", "urgent"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Where an order is",
        "parameters": {
            "type": "object",
            "properties": {"order": {"enum": ["A1", "B2"]}},
            "required": ["order"],
            "additionalProperties": False,
        },
    },
}


def body(text: str = "hello", **more):
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 16,
        "temperature": 0.0,
        **more,
    }
