"""Composition of the planner: the owner of tickets, and the worker that plans."""

from __future__ import annotations

from services.planner.decide import decide, quarantine
from services.planner.handlers import HANDLERS
from services.planner.owner import Owner
from services.planner.settings import PlannerSettings
from tandem.service import Check, Component, Service, agent_loop
from tandem.wiring import Wiring


def build(settings: PlannerSettings, wiring: Wiring) -> Service:
    """The service in its role."""
    components: list[Component] = []
    checks: dict[str, Check] = {}
    if settings.role in ("owner", "both"):
        redis = wiring.redis()
        owner = Owner(wiring.bus(), redis, wiring.packs(), decide, quarantine, wiring.clock, kill=wiring.kill)
        components.append(owner)
        checks["redis"] = redis.ping
    if settings.role in ("worker", "both"):
        clients = {"packs": wiring.packs(), "llm": wiring.llm(), "memory": wiring.memory()}
        components.append(agent_loop("planner", HANDLERS, wiring, **clients))
    return Service("planner", wiring, components, checks)
