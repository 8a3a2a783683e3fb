"""The pin of a tool: a hash of everything its owner says about it, as a person has read and approved it."""

from __future__ import annotations

from tandem.contracts.values import digest
from tandem.packs.model import Tool


def pin(tool: Tool) -> str:
    """What changes when the tool's description does: its words, its schemas, and where a call goes."""
    said = {
        "name": tool.name,
        "description": tool.description,
        "transport": tool.transport,
        "method": tool.method,
        "path": tool.path,
        "parameters": tool.parameters,
        "places": tool.places,
        "output": tool.output,
    }
    return digest(said)


def is_as_approved(tool: Tool) -> bool:
    """Whether the tool is still what was approved. A tool that a pack's own author wrote has no pin; it is the pack's."""
    return tool.pinned is None or tool.pinned == pin(tool)
