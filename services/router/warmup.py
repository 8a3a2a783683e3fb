"""Compiles every tenant's pack and embeds its examples beside the work, so that no customer waits for it."""

from __future__ import annotations

import asyncio
import logging

from services.router.reading import Readers
from tandem.channels import Channels
from tandem.errors import InvalidPack, Unavailable
from tandem.packs.registry import Packs

logger = logging.getLogger(__name__)


class Warmup:
    """A component that has done its work soon after the start. What it cannot do, the first message does."""

    def __init__(self, channels: Channels, packs: Packs, readers: Readers) -> None:
        self._channels = channels
        self._packs = packs
        self._readers = readers
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait(), name="router:stopping")
        warming = asyncio.create_task(self._warm(), name="router:warm")
        try:
            await asyncio.wait((warming, stopping), return_when=asyncio.FIRST_COMPLETED)
            if warming.done():
                warming.result()
            await stopping
        finally:
            warming.cancel()
            stopping.cancel()
            await asyncio.gather(warming, stopping, return_exceptions=True)

    async def stop(self, grace_s: float) -> None:
        self._stopping.set()

    async def _warm(self) -> None:
        for name in sorted({entry.pack for entry in self._channels.tenants.values()}):
            try:
                await self._readers.of(self._packs.get(name)).warm()
            except (InvalidPack, Unavailable) as error:
                logger.warning("pack not warmed", extra={"pack": name, "error": str(error)})
