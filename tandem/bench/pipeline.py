"""`tandem bench pipeline`: what a ticket costs the platform itself.

A synthetic ticket: classify → plan → two parallel no-op steps → a third → reply, through the real services, the real
index, and real Kafka when so asked. Its pack classifies by rule. The load is made in this process and counted with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tandem.bus.base import Bus
from tandem.client import Channel, Tandem
from tandem.contracts.topics import CUSTOMER_REPLIES, TICKET_EVENTS, TOPICS
from tandem.contracts.values import conversation_id
from tandem.embedded.platform import Platform
from tandem.errors import Unavailable
from tandem.settings import Settings

PACK = "pipeline"
WARM_UP = 64
TICKET_S = 60.0

FILES = {
    "pack.yaml": (
        "name: pipeline\nclassifier: rule\nlanguages: [en]\n"
        "slots: {order: {pattern: '\\b\\d+\\b', ask: 'Which order?'}}\n"
    ),
    "intents.yaml": (
        "- {name: work, description: The synthetic ticket, scenario: operate, procedure: work, label: work,\n"
        "   patterns: ['\\bwork\\b'], examples: {en: [please do the work]}}\n"
    ),
    "procedures/work.md": (
        "---\nintent: work\n---\n1. Take the order.\n2. Do two things at once.\n3. Do a third.\n4. Say that it is done.\n"
    ),
    "procedures/work.flow.yaml": """\
start: take
nodes:
  take: {sentence: 1, slots: [order], next: {all: [left, right]}}
  left: {sentence: 2, tool: noop, args: {name: left}, save: {left: result.name}, next: third}
  right: {sentence: 2, tool: noop, args: {name: right}, save: {right: result.name}, next: third}
  third: {sentence: 3, tool: noop, args: {name: $left + right}, save: {third: result.name}, needs: [left, right], next: told}
  told: {sentence: 4, text: "Done: {third}"}
""",
    "tools/noop.yaml": """\
python: tandem.bench.noop
tools:
  noop:
    description: Do nothing
    class: read
    parameters: {type: object, required: [name], properties: {name: {type: string}}}
    output: {type: object, properties: {name: {type: string}}}
""",
    "policies.yaml": "identity: none\nauthorisation: none\nconsent: none\n",
}


@dataclass
class Load:
    """Tickets under way, and how long each took."""

    waiting: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    took_ms: list[float] = field(default_factory=list)
    wrong: int = 0


@dataclass(frozen=True)
class Spent:
    """Processor time so far, seconds."""

    services: float
    redis: float
    broker: float | None


async def measure(settings: Settings, tickets: int, concurrency: int, broker_pid: int | None) -> dict[str, Any]:
    """Run `tickets` through the platform, `concurrency` at a time; the figures of the command's JSON."""
    write_pack(settings.packs / PACK)
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(
            Platform(settings, python_tools=("tandem.bench.noop",), calls_in_flight=1_024, max_in_flight=1_024)
        )
        bus, redis = platform.wiring.bus(), platform.wiring.redis()
        load = Load()
        watching = asyncio.create_task(_watch(bus, load))
        stack.callback(watching.cancel)
        channel = Channel("demo", tenant=PACK, tandem=Tandem(platform.wiring))
        await _run(channel, load, WARM_UP, concurrency, "warm")
        load.took_ms.clear()
        before, messages, trips = _spent(platform, broker_pid), await _records(bus), redis.round_trips
        begun = time.perf_counter()
        await _run(channel, load, tickets, concurrency, "t")
        seconds = time.perf_counter() - begun
        await asyncio.sleep(0.2)  # what follows the last reply belongs to the tickets too
        after = _spent(platform, broker_pid)
        messages, trips = await _records(bus) - messages, redis.round_trips - trips
        joined = await _joins_in_order(bus)
    if load.wrong or not joined:
        raise Unavailable(f"{load.wrong} wrong replies, joins in order: {joined}; the figures would mean nothing")
    return _figures(settings.bus, tickets, concurrency, seconds, load, before, after, messages, trips)


def write_pack(folder: Path) -> None:
    """The benchmark's pack, as data like any other."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


async def _run(channel: Channel, load: Load, tickets: int, concurrency: int, prefix: str) -> None:
    numbers = iter(range(tickets))

    async def customer() -> None:
        for number in numbers:
            thread = f"{prefix}{number}"
            done = asyncio.get_running_loop().create_future()
            load.waiting[conversation_id(channel.tenant, channel.name, thread)] = done
            begun = time.perf_counter()
            await channel.submit(thread, f"please do the work {number}", id=thread)
            async with asyncio.timeout(TICKET_S):
                await done
            load.took_ms.append((time.perf_counter() - begun) * 1_000)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, tickets)):
            group.create_task(customer())


async def _watch(bus: Bus, load: Load) -> None:
    """Take the replies off the bus."""
    consumer = await bus.consumer("bench", [CUSTOMER_REPLIES.name])
    while True:
        for record in await consumer.poll(1_000, 1.0):
            body = json.loads(record.value or b"{}")
            done = load.waiting.pop(body.get("conversation", ""), None)
            if done is not None and not done.done():
                load.wrong += body["parts"][0]["text"] != "Done: leftright"
                done.set_result(None)


async def _records(bus: Bus) -> int:
    """Records in all topics, ever."""
    ends = [bus.end(topic, number) for topic in TOPICS for number in range(bus.partitions(topic))]
    return sum(await asyncio.gather(*ends))


async def _joins_in_order(bus: Bus) -> bool:
    """Whether in every ticket the third step was sent only after both parallel ones were done."""
    stories: dict[str, list[tuple[int, str, str]]] = {}
    for partition in range(bus.partitions(TICKET_EVENTS.name)):
        async for batch in bus.read(TICKET_EVENTS.name, partition, 0):
            for record in batch:
                body = json.loads(record.value or b"{}")
                story = stories.setdefault(body["ticket"], [])
                story += [(body["version"], event["kind"], event["node"] or "") for event in body["events"]]
    return bool(stories) and all(_joined(sorted(story, key=lambda one: one[0])) for story in stories.values())


def _joined(story: list[tuple[int, str, str]]) -> bool:
    sent = [number for number, (_, kind, node) in enumerate(story) if kind == "step_dispatched" and node == "third"]
    done = [n for n, (_, kind, node) in enumerate(story) if kind == "step_completed" and node in ("left", "right")]
    return len(sent) == 1 and len(done) == 2 and max(done) < sent[0]


def _spent(platform: Platform, broker_pid: int | None) -> Spent:
    own = resource.getrusage(resource.RUSAGE_SELF)
    redis = platform.redis_server.pid if platform.redis_server else None
    return Spent(
        services=own.ru_utime + own.ru_stime,
        redis=process_seconds(redis) if redis else 0.0,
        broker=process_seconds(broker_pid) if broker_pid else None,
    )


def process_seconds(pid: int) -> float:
    """Processor time of a process so far, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantile(values: list[float], share: float) -> float:
    """The value below which `share` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _figures(
    bus: str,
    tickets: int,
    concurrency: int,
    seconds: float,
    load: Load,
    before: Spent,
    after: Spent,
    messages: int,
    trips: int,
) -> dict[str, Any]:
    def per_ticket(late: float, early: float) -> float:
        return round((late - early) * 1_000 / tickets, 3)

    services, redis = per_ticket(after.services, before.services), per_ticket(after.redis, before.redis)
    known = bus == "local" or (after.broker is not None and before.broker is not None)
    broker = per_ticket(after.broker or 0.0, before.broker or 0.0) if known else None
    shares: Mapping[str, float] = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
    return {
        "bus": bus,
        "tickets": tickets,
        "concurrency": concurrency,
        **{name: round(quantile(load.took_ms, share), 2) for name, share in shares.items()},
        "tickets_per_s": round(tickets / seconds, 1),
        "cpu_ms_per_ticket": round(services + redis + (broker or 0.0), 3),
        "cpu_ms_services": services,
        "cpu_ms_redis": redis,
        "cpu_ms_broker": broker,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024, 1),
        "messages_per_ticket": round(messages / tickets, 2),
        "redis_round_trips_per_ticket": round(trips / tickets, 3),
    }
