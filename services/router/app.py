"""Composition of the router."""

from __future__ import annotations

from functools import partial

from services.router.handlers import Desk, handle
from services.router.settings import RouterSettings
from tandem import telemetry
from tandem.bus.consume import ConsumeLoop, LoopPolicy
from tandem.contracts.topics import CUSTOMER_MESSAGES
from tandem.service import Service
from tandem.wiring import Wiring


def build(settings: RouterSettings, wiring: Wiring) -> Service:
    """A consume loop, in order within a conversation."""
    desk = Desk(wiring.channels(), wiring.packs(), wiring.llm, wiring.clock)
    loop = ConsumeLoop(
        wiring.bus(),
        group="router",
        topics=[CUSTOMER_MESSAGES],
        handler=partial(handle, desk=desk),
        policy=LoopPolicy(max_in_flight=settings.max_in_flight, ordered=True),
        clock=wiring.clock,
        name="router",
        around=partial(telemetry.consume_span, name="router"),
    )
    return Service("router", wiring, [loop])
