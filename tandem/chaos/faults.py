"""What plans do to the platform. Each injector works until it is done or cancelled, and leaves everything whole."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from tandem.chaos.brokers import stop_all
from tandem.chaos.deployment import SESSION_S, Deployment
from tandem.chaos.judge import Hit
from tandem.chaos.load import CHANNEL, TENANT, Crowd
from tandem.chaos.members import Member
from tandem.chaos.model import ScriptedModel
from tandem.chaos.plan import (
    Backlog,
    Broker,
    Clocks,
    Fault,
    Freeze,
    Kill,
    Model,
    Noise,
    Plan,
    Points,
    Poison,
    RedisFault,
    Restart,
    Size,
    Upgrade,
)
from tandem.chaos.poison import Hostile
from tandem.errors import InvalidSettings, Unavailable
from tandem.kill_points import POINTS

POINT_S = 180.0
BETWEEN_S = 5.0
CHAINS = 3
REACHED_BY_LEAVING = frozenset({"owner.12"})
"""Points that a process comes to only when it gives its partitions away."""


@dataclass(slots=True)
class Injection:
    """What an injector works on, and what it has done."""

    deployment: Deployment
    size: Size
    random: Random
    hits: list[Hit] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)  # points that no process came to
    model: ScriptedModel | None = None
    crowd: Crowd | None = None
    hostile: set[str] = field(default_factory=set)  # marks of hostile records that the bus took

    def hit(self, what: str) -> None:
        self.hits.append(Hit(self.deployment.wiring.clock.now(), what))

    def member(self, service: str) -> Member:
        return self.deployment.members[service]


def endless(fault: Fault) -> bool:
    """Whether it goes on for as long as customers come."""
    return isinstance(fault, Kill | Clocks)


def spare(plan: Plan) -> tuple[str, ...]:
    """Services of which the plan needs two."""
    frozen = [name for fault in plan.faults if isinstance(fault, Freeze) for name in fault.services]
    return (*frozen, *("planner" for fault in plan.faults if isinstance(fault, Clocks)))


async def start_model(plan: Plan, injection: Injection) -> ScriptedModel | None:
    """The plan's model, if it has one."""
    for fault in plan.faults:
        if isinstance(fault, Model):
            injection.model = ScriptedModel(fault, injection.random)
            await injection.model.start()
    return injection.model


def env(plan: Plan, model: ScriptedModel | None) -> Mapping[str, str]:
    """Settings of the services under this plan."""
    found = dict(plan.env)
    if model is not None:
        found |= {"TANDEM_LLM_BASE_URL": model.url, "TANDEM_LLM_MODEL": "scripted"}
    for fault in plan.faults:
        if isinstance(fault, Noise):
            found["TANDEM_NOISE"] = f"{fault.twice},{fault.late},{fault.late_s}"
    return found


async def inject(fault: Fault, injection: Injection) -> None:
    """Do it."""
    match fault:
        case Kill():
            await _kill(fault, injection)
        case Points():
            await _points(fault, injection)
        case RedisFault():
            await _redis(fault, injection)
        case Freeze():
            await _freeze(fault, injection)
        case Restart():
            await _restart(fault, injection)
        case Poison():
            await _poison(fault, injection)
        case Clocks():
            await _clocks(fault, injection)
        case Broker():
            await _brokers(fault, injection)
        case Upgrade():
            await _upgrade(fault, injection)
        case Backlog():
            await _backlog(injection)
        case Model():
            await _outage(fault, injection)


async def _kill(fault: Kill, injection: Injection) -> None:
    while True:
        await asyncio.sleep(fault.every_s)
        service = injection.random.choice(fault.services)
        injection.hit(f"kill {service}")
        injection.member(service).kill()


async def _points(fault: Points, injection: Injection) -> None:
    """One chain per service: each process is armed with the next point. While owners die nothing reaches the others, so
    they come last."""
    turn = asyncio.Semaphore(CHAINS)

    async def chain(service: str) -> None:
        async with turn:
            member = injection.member(service)
            try:
                for _ in range(max(1, injection.size.rounds)):
                    await _chain(member, POINTS[service], injection)
            finally:
                member.point = ""
                member.kill()

    await asyncio.gather(*(chain(service) for service in fault.services if service != "planner"))
    await asyncio.gather(*(chain(service) for service in fault.services if service == "planner"))


async def _chain(member: Member, points: tuple[str, ...], injection: Injection) -> None:
    member.point = points[0]
    member.kill()
    await member.next_exit(POINT_S)
    for point, following in zip(points, (*points[1:], ""), strict=True):
        member.point = point
        if point in REACHED_BY_LEAVING:
            await member.ready()
            await asyncio.sleep(SESSION_S + 1)
            member.terminate()
        reached = await member.next_exit(POINT_S)
        injection.hit(point)
        member.point = following
        if not reached:
            injection.missed.append(point)
            member.kill()
            await member.next_exit(POINT_S)


async def _redis(fault: RedisFault, injection: Injection) -> None:
    redis = injection.deployment.redis
    for _ in range(injection.size.rounds):
        await asyncio.sleep(fault.every_s)
        injection.hit(f"redis {fault.how}")
        match fault.how:
            case "kill":
                await redis.kill()
            case "flush":
                await redis.flush()
            case "regress":
                await redis.regress(injection.random.uniform(*fault.stall_s))


async def _freeze(fault: Freeze, injection: Injection) -> None:
    for _ in range(injection.size.rounds):
        for service in fault.services:
            member = injection.member(service)
            await asyncio.sleep(1.0)
            injection.hit(f"freeze {service}")
            member.freeze()
            try:
                await asyncio.sleep(SESSION_S + fault.beyond_s)
            finally:
                member.thaw()
            injection.hit(f"thaw {service}")
            await asyncio.sleep(SESSION_S)


async def _restart(fault: Restart, injection: Injection) -> None:
    for _ in range(injection.size.rounds):
        for service in fault.services:
            injection.hit(f"restart {service}")
            await _replace(injection.member(service))


async def _poison(fault: Poison, injection: Injection) -> None:
    wiring = injection.deployment.wiring
    hostile = Hostile(injection.random, wiring.channels(), CHANNEL, TENANT)
    injection.hit("poison")
    for number in range(injection.size.messages):
        mark = str(number)
        await wiring.bus().publish([hostile.record(mark)])
        injection.hostile.add(mark)
        await asyncio.sleep(1 / fault.per_s)
    injection.hit("poison ends")


async def _clocks(fault: Clocks, injection: Injection) -> None:
    owners = [injection.member("planner"), injection.member("planner-1")]
    try:
        for shift_s, owner in zip(itertools.cycle(fault.shifts_s), itertools.cycle(owners), strict=False):
            await asyncio.sleep(fault.every_s)
            owner.env["TANDEM_CLOCK_SHIFT_S"] = str(shift_s)
            injection.hit(f"{owner.name}'s clock {shift_s:+.0f} s")
            await _replace(owner)
    finally:
        for owner in owners:
            owner.env.pop("TANDEM_CLOCK_SHIFT_S", None)
            owner.kill()


async def _replace(member: Member) -> None:
    """SIGTERM, and the next one serves."""
    member.terminate()
    if not await member.next_exit(POINT_S):
        raise Unavailable(f"{member.name} has not left within {POINT_S:.0f} s after SIGTERM")
    await member.ready()


async def _brokers(fault: Broker, injection: Injection) -> None:
    """Each round: one after the other restarted, one killed, then all of them away for a while."""
    brokers = injection.deployment.brokers
    if len(brokers) < 3:
        raise InvalidSettings("the plan needs three brokers that it may kill: give --kafka-jars")
    for _ in range(max(1, injection.size.rounds)):
        for broker in brokers:
            await asyncio.sleep(BETWEEN_S)
            injection.hit(f"restart broker {broker.node}")
            await asyncio.to_thread(broker.restart)
        await asyncio.sleep(BETWEEN_S)
        dead = injection.random.choice(brokers)
        injection.hit(f"kill broker {dead.node}")
        await asyncio.to_thread(dead.kill)
        await asyncio.sleep(BETWEEN_S)
        await asyncio.to_thread(dead.start)
        await asyncio.sleep(BETWEEN_S)
        injection.hit("all brokers away")
        await asyncio.to_thread(stop_all, brokers)
        await asyncio.sleep(fault.outage_s)
        for broker in brokers:
            await asyncio.to_thread(broker.launch)
        injection.hit("brokers back")
        await asyncio.gather(*(asyncio.to_thread(broker.wait_ready) for broker in brokers))


async def _outage(fault: Model, injection: Injection) -> None:
    if injection.model is None or not fault.outage_s:
        return
    await asyncio.sleep(BETWEEN_S)
    injection.hit("model away")
    injection.model.away = True
    await asyncio.sleep(fault.outage_s)
    injection.model.away = False
    injection.hit("model back")


async def _upgrade(fault: Upgrade, injection: Injection) -> None:
    """Once every ticket waits for a person: each service becomes the next release, then this one again."""
    crowd = _crowd(injection)
    try:
        await _all_wait(crowd, injection.size.tickets)
        for release in ("tandem.chaos.next_release", "tandem"):
            for service in fault.services:
                member = injection.member(service)
                member.module = release
                injection.hit(f"{service} is {'upgraded' if release != 'tandem' else 'rolled back'}")
                await _replace(member)
    finally:
        crowd.gate.set()


async def _backlog(injection: Injection) -> None:
    crowd = _crowd(injection)
    try:
        await _all_wait(crowd, injection.size.tickets)
    finally:
        crowd.gate.set()
    await asyncio.sleep(1.0)  # the first are back, and wait for an answer
    injection.hit(f"redis flush, {injection.size.tickets} open tickets")
    await injection.deployment.redis.flush()


def _crowd(injection: Injection) -> Crowd:
    if injection.crowd is None:
        raise InvalidSettings("nobody waits without customers")
    return injection.crowd


async def _all_wait(crowd: Crowd, wanted: int) -> None:
    crowd.gate.clear()
    while crowd.held < wanted:  # noqa: ASYNC110 - other tasks count
        await asyncio.sleep(0.1)
