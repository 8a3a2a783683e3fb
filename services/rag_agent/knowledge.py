"""Every tenant's knowledge, brought up to date when the service starts. Nothing that did not change is written."""

from __future__ import annotations

import asyncio
import logging

from tandem.channels import Channels
from tandem.packs.ingest import ingest
from tandem.packs.registry import Packs
from tandem.rpc.ports import Llm
from tandem.vectors.base import Vectors

log = logging.getLogger(__name__)


class Knowledge:
    """A component that has done its work once it has started."""

    def __init__(self, channels: Channels, packs: Packs, vectors: Vectors, llm: Llm) -> None:
        self._channels = channels
        self._packs = packs
        self._vectors = vectors
        self._llm = llm
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Raises Unavailable if the vectors cannot serve; without an encoder, passages are found by words for now."""
        for tenant, entry in self._channels.tenants.items():
            report = await ingest(self._packs.get(entry.pack), tenant, self._vectors, self._llm)
            log.info(
                "knowledge ready", extra={"tenant": tenant, "passages": report.passages, "written": report.written}
            )

    async def run(self) -> None:
        await self._stopped.wait()

    async def stop(self, grace_s: float) -> None:
        self._stopped.set()
