"""Which hosts replies may link to: what a model, a tool or a customer put into a text is not shown as a link of ours."""

from __future__ import annotations

import re

MASK = "•••"
"""Stands in replies for what is not shown."""

_URL = re.compile(r"\b(?:https?://|www\.)([^\s/?#:)\]>\"']+)[^\s)\]>\"']*", re.IGNORECASE)


def without_foreign_links(text: str, hosts: tuple[str, ...], instead: str) -> str:
    """The text with every link to a host that is not permitted replaced. No `hosts`: the business did not say."""
    if not hosts:
        return text

    def checked(match: re.Match[str]) -> str:
        host = match.group(1).lower().rpartition("@")[2].rstrip(".,;!")
        permitted = any(host == one or host.endswith(f".{one}") for one in hosts)
        return match.group(0) if permitted else instead

    return _URL.sub(checked, text)
