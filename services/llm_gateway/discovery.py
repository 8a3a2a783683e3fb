"""Replicas behind a name: each address that the DNS has for it is one, looked up again every few seconds."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

from tandem.model_pools import BY_NAME, MAX_REPLICAS

logger = logging.getLogger(__name__)

AGAIN_S = 5.0
FIRST_S = 2.0
"""Waited for the first answer, before the first call is taken."""

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]


async def resolve(host: str) -> Sequence[str]:
    """All addresses of a name. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Discovery:
    """What a pool's `replicas` come to. A name that the DNS does not answer for keeps the addresses of its last answer:
    whether they serve is found out by asking them."""

    def __init__(self, replicas: Sequence[str], resolve: Resolve, now: Callable[[], float]) -> None:
        self._fixed = [base for base in replicas if not base.startswith(BY_NAME)]
        self._found: dict[str, list[str]] = {
            base.removeprefix(BY_NAME): [] for base in replicas if base.startswith(BY_NAME)
        }
        self._resolve = resolve
        self._now = now
        self._next = 0.0

    @property
    def due(self) -> bool:
        return bool(self._found) and self._now() >= self._next

    def bases(self) -> list[str]:
        """Base URLs, sorted behind each name, so that every gateway process keeps the same ones of too many."""
        found = (base for bases in self._found.values() for base in bases)
        return list(dict.fromkeys((*self._fixed, *found)))[:MAX_REPLICAS]

    async def look_up(self) -> None:
        self._next = self._now() + AGAIN_S
        for base in self._found:
            host = urlsplit(base).hostname or ""
            try:
                addresses = await self._resolve(host)
            except OSError as error:
                logger.warning("a name of replicas is not resolved", extra={"host": host, "error": str(error)})
                continue
            if addresses:
                self._found[base] = sorted(_at(base, address) for address in set(addresses))


def _at(base: str, address: str) -> str:
    """The same URL at this address."""
    parts = urlsplit(base)
    host = f"[{address}]" if ":" in address else address
    return urlunsplit(parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}"))
