"""Composition of the router."""

from __future__ import annotations

from functools import partial

from services.router.handlers import NAME, Router
from services.router.reading import Readers
from services.router.second_opinion import SecondOpinion
from services.router.settings import RouterSettings
from services.router.warmup import Warmup
from tandem import telemetry
from tandem.bus.consume import ConsumeLoop, LoopPolicy
from tandem.contracts.topics import CUSTOMER_MESSAGES
from tandem.service import Component, Service
from tandem.wiring import Wiring


def build(settings: RouterSettings, wiring: Wiring) -> Service:
    """The service: one consume loop, in order within a conversation."""
    channels, packs = wiring.channels(), wiring.packs()
    readers = Readers(wiring.llm, wiring.clock)
    opinion = SecondOpinion(wiring.llm, wiring.clock, settings.router_model_s)
    loop = ConsumeLoop(
        wiring.bus(),
        group=NAME,
        topics=[CUSTOMER_MESSAGES],
        handler=Router(channels, packs, readers, opinion, wiring.clock),
        policy=LoopPolicy(max_in_flight=settings.max_in_flight, ordered=True),
        clock=wiring.clock,
        name=NAME,
        around=partial(telemetry.consume_span, name=NAME),
        kill=wiring.kill,
    )
    components: list[Component] = [loop]
    if settings.router_warm:
        components.append(Warmup(channels, packs, readers))
    return Service(NAME, wiring, components)
