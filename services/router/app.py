"""Composition of the router."""

from __future__ import annotations

from functools import partial

from services.router.handlers import Router
from services.router.settings import RouterSettings
from tandem import telemetry
from tandem.bus.consume import ConsumeLoop, LoopPolicy
from tandem.contracts.topics import CUSTOMER_MESSAGES
from tandem.service import Service
from tandem.wiring import Wiring

NAME = "router"


def build(settings: RouterSettings, wiring: Wiring) -> Service:
    """The service: one loop over `customer.messages`, in order by conversation."""
    loop = ConsumeLoop(
        wiring.bus(),
        group=NAME,
        topics=[CUSTOMER_MESSAGES],
        handler=Router(wiring.channels(), wiring.packs(), wiring.llm, wiring.clock),
        policy=LoopPolicy(max_in_flight=settings.router_in_flight, ordered=True),
        clock=wiring.clock,
        name=NAME,
        around=partial(telemetry.consume_span, name=NAME),
    )
    return Service(NAME, wiring, [loop])
