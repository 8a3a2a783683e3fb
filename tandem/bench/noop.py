"""The tool of the pipeline benchmark: it does nothing, through everything."""

from __future__ import annotations


async def noop(name: str) -> dict[str, str]:
    """Answer with the name it was given."""
    return {"name": name}
