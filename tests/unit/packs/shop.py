"""A small pack that passes every check, and a way to break it in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tandem.packs.files import sentence_hash

Files = dict[str, Any]

SENTENCES = (
    "Ask for the order and the code, then verify the customer with `verify_identity`.",
    "If it fails three times, hand over.",
    "Ask consent, then call `change_address`.",
    "Say that it is done.",
)


def operation(name: str, klass: str, properties: dict[str, Any], required: list[str], **facts: Any) -> dict[str, Any]:
    """A POST operation whose arguments are all in the body."""
    body = {"type": "object", "required": required, "properties": properties}
    return {
        "operationId": name,
        "summary": name.replace("_", " "),
        "requestBody": {"content": {"application/json": {"schema": body}}},
        "responses": {"200": {"content": {"application/json": {"schema": {"type": "object"}}}}},
        "x-tandem": {"class": klass, **facts},
    }


def files() -> Files:
    """The pack's files: mappings become YAML, text is written as it is."""
    string = {"type": "string"}
    hashes = {number: sentence_hash(text) for number, text in enumerate(SENTENCES, start=1)}
    return {
        "pack.yaml": {
            "name": "shop",
            "languages": ["en", "zh"],
            "slots": {
                "order_id": {"pattern": r"\bO-\d{4}\b", "ask": {"en": "Which order?", "zh": "哪个订单？"}},
                "code": {"pattern": r"\b\d{6}\b", "sensitive": True, "ask": {"en": "Your code?", "zh": "验证码？"}},
                "address": {"free_text": True, "ask": {"en": "Which address?", "zh": "哪个地址？"}},
            },
        },
        "intents.yaml": [
            {
                "name": "change_address",
                "description": "send an order elsewhere",
                "scenario": "operate",
                "procedure": "change_address",
                "label": {"en": "change an address", "zh": "修改地址"},
                "examples": {"en": ["I moved"], "zh": ["我要改地址"]},
            },
            {"name": "question", "description": "a question", "examples": ["how long does it take?"]},
        ],
        "procedures/change_address.md": "---\nintent: change_address\n---\n# Change an address\n\n"
        + "".join(f"{number}. {text}\n" for number, text in enumerate(SENTENCES, start=1)),
        "procedures/change_address.flow.yaml": {
            "start": "ask_code",
            "nodes": {
                "ask_code": {
                    "sentence": 1,
                    "sentence_hash": hashes[1],
                    "slots": ["order_id", "code"],
                    "next": "verify",
                },
                "verify": {
                    "sentence": 1,
                    "sentence_hash": hashes[1],
                    "tool": "verify_identity",
                    "args": {"order_id": "$order_id", "code": "$code"},
                    "save": {"verified": "result.verified"},
                    "next": [
                        {"to": "ask_address", "when": "verified"},
                        {"to": "give_up", "when": 'visits("verify") >= 3'},
                        {"to": "again"},
                    ],
                },
                "again": {
                    "sentence": 1,
                    "sentence_hash": hashes[1],
                    "slots": ["code"],
                    "forget": ["code"],
                    "next": "verify",
                },
                "give_up": {"sentence": 2, "sentence_hash": hashes[2], "handover": True, "reason": "not verified"},
                "ask_address": {"sentence": 3, "sentence_hash": hashes[3], "slots": ["address"], "next": "consent"},
                "consent": {
                    "sentence": 3,
                    "sentence_hash": hashes[3],
                    "consent": "change",
                    "text": {"en": "Send {order_id} to {address}?", "zh": "把 {order_id} 寄到 {address}？"},
                    "next": "change",
                },
                "change": {
                    "sentence": 3,
                    "sentence_hash": hashes[3],
                    "tool": "change_address",
                    "args": {"order_id": "$order_id", "address": "$address"},
                    "save": {"reference": "result.reference"},
                    "next": "done",
                },
                "done": {
                    "sentence": 4,
                    "sentence_hash": hashes[4],
                    "text": {"en": "Done: {reference}", "zh": "完成：{reference}"},
                },
            },
        },
        "tools/shop.yaml": {
            "openapi": "3.1.0",
            "info": {"title": "Shop", "version": "1"},
            "servers": [{"url": "${SHOP_URL}"}],
            "x-tandem": {"secret": "SHOP_TOKEN"},
            "paths": {
                "/verify": {
                    "post": operation(
                        "verify_identity", "read", {"order_id": string, "code": string}, ["order_id", "code"]
                    )
                },
                "/address": {
                    "post": operation(
                        "change_address", "idempotent", {"order_id": string, "address": string}, ["order_id", "address"]
                    )
                },
                "/ping": {"get": {"operationId": "ping", "responses": {}}},
            },
        },
        "policies.yaml": {"identity_tools": ["verify_identity"], "authorisation": "none"},
        "knowledge/delivery.md": "# Delivery\n\nThree days.\n",
    }


def write(folder: Path, content: Files) -> Path:
    """The pack on disk."""
    for name, body in content.items():
        path = folder / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body if isinstance(body, str) else yaml.safe_dump(body, allow_unicode=True, sort_keys=False))
    return folder / "shop"
