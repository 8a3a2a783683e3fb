"""The compiler's model, through a gateway in this process."""

from __future__ import annotations

import uvloop

from tandem.embedded.platform import own_gateway
from tandem.packs.compiling.compile import Source
from tandem.packs.compiling.free import compile_free
from tandem.packs.compiling.verdict import Verdict
from tandem.packs.model import Pack
from tandem.rpc.inprocess import InProcessLlm
from tandem.settings import Settings


def compile_free_here(settings: Settings, pack: Pack, source: Source) -> Verdict:
    """Raises Unavailable without an endpoint, InvalidError when the model's answer is no flow."""
    return uvloop.run(_compile(settings, pack, source))


async def _compile(settings: Settings, pack: Pack, source: Source) -> Verdict:
    gateway = own_gateway(settings)
    try:
        return await compile_free(pack, source, InProcessLlm(gateway))
    finally:
        await gateway.close()
