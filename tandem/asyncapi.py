"""The adapters' contract, generated from the code: an AsyncAPI 3 document and the JSON Schema of every message."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import yaml

from tandem.contracts import topics
from tandem.contracts.message import MESSAGES, Message
from tandem.contracts.tasks import TASK_TOPIC
from tandem.contracts.topics import TOPICS, Topic

MODULES = ("customer", "inbox", "tasks", "events", "log")
"""Modules of `tandem.contracts` that define messages."""

CARRIES: dict[str, tuple[str, ...]] = {
    topics.CUSTOMER_MESSAGES.name: ("customer-message", "delivery-receipt"),
    topics.TICKET_INBOX.name: (
        "routed-message",
        "receipt-forwarded",
        "step-completed",
        "step-failed",
        "step-progress",
        "timer-fired",
        "approve",
        "reject",
        "resolve-unknown",
        "ticket-noted",
        "take-over",
        "expert-reply",
        "give-back",
        "task-dead-lettered",
    ),
    topics.TICKET_STATE.name: ("owner-claim", "state-record"),
    topics.EFFECTS.name: ("owner-claim", "intent", "job-started", "effect-recorded"),
    topics.CUSTOMER_REPLIES.name: ("reply",),
    topics.EXPERT_TASKS.name: ("expert-task",),
    topics.TICKET_EVENTS.name: ("ticket-events",),
}
"""What each topic carries; tasks are in `tasks.TASK_TOPIC`, retry topics carry what their topic does."""

HEADERS: dict[str, Any] = {
    "type": "object",
    "description": "CloudEvents 1.0, binary mode: attributes are Kafka headers in UTF-8.",
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_tenant"],
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "description": "with ce_source, names the message for ever"},
        "ce_source": {"type": "string", "description": 'who said it, e.g. "channel/webhook"'},
        "ce_type": {"type": "string"},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {"type": "string", "description": "the conversation"},
        "ce_tenant": {"type": "string"},
        "content-type": {"const": "application/json"},
        "traceparent": {"type": "string", "description": "W3C trace context"},
        "tracelink": {"type": "string", "description": "traceparent of the segment before, after a wait for a person"},
        "tandem-signature": {
            "type": "string",
            "description": "customer.messages only: HMAC-SHA256 in hexadecimal, with the channel's key, over one line "
            "`name=value` per ce_* header sorted by name, an empty line, and the body",
        },
    },
}


def all_messages() -> dict[str, type[Message]]:
    """Every message of the contracts by its type, sorted."""
    for module in MODULES:
        importlib.import_module(f"tandem.contracts.{module}")
    return {name: model for name, model in sorted(MESSAGES.items()) if model.__module__.startswith("tandem.contracts.")}


def carried(topic: Topic) -> list[str]:
    """Types a topic carries; none for dead letters, which carry anything."""
    name = topic.name.removesuffix(".retry")
    if name.startswith("tasks."):
        return sorted(type_ for type_, where in TASK_TOPIC.items() if where == name)
    return [f"tandem.{message}.v1" for message in CARRIES.get(name, ())]


def document() -> dict[str, Any]:
    """The AsyncAPI 3 document. Addresses are those of the default prefix."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tandem",
            "version": "1.0.0",
            "description": "Messages of the platform. Adapters write `customer.messages`, signed, and read "
            "`customer.replies`; everything else is between the platform's own services.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS.values()},
        "operations": _operations(),
        "components": {"messages": {_name(type_): _message(type_) for type_ in all_messages()}},
    }


def schema(model: type[Message]) -> dict[str, Any]:
    """A message's JSON Schema (2020-12)."""
    body = model.model_json_schema(mode="serialization", ref_template="#/$defs/{model}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{model.TYPE}.json", **body}


def write(root: Path) -> list[Path]:
    """Write `docs/asyncapi.yaml` and `docs/schemas/*.json` under `root`; returns what was written."""
    docs = root / "docs"
    (docs / "schemas").mkdir(parents=True, exist_ok=True)
    texts = {docs / "asyncapi.yaml": yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=120)}
    for type_, model in all_messages().items():
        texts[docs / "schemas" / f"{type_}.json"] = json.dumps(schema(model), indent=2, ensure_ascii=False) + "\n"
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": f"tandem.{topic.name}",
        "title": topic.title,
        "description": f"Key: {topic.key.value}. "
        + ("Compacted." if topic.retention_ms is None else f"Kept for {topic.retention_ms // topics.DAY_MS} days."),
        "messages": {_name(type_): {"$ref": f"#/components/messages/{_name(type_)}"} for type_ in carried(topic)},
    }


def _operations() -> dict[str, Any]:
    """Who sends and who receives, each by name."""
    found: dict[str, Any] = {}
    for topic in TOPICS.values():
        channel = {"$ref": f"#/channels/{topic.name}"}
        for action, who in (("send", topic.producers), ("receive", topic.consumers)):
            for service in who:
                found[f"{service}.{action}.{topic.name}"] = {"action": action, "channel": channel}
    return found


def _message(type_: str) -> dict[str, Any]:
    return {
        "name": type_,
        "title": all_messages()[type_].__name__,
        "contentType": "application/json",
        "headers": HEADERS,
        "payload": {"$ref": f"./schemas/{type_}.json"},
    }


def _name(type_: str) -> str:
    return type_.removeprefix("tandem.")
