"""A member of a group in a process of its own, so that a test can freeze it: reads, waits for a word, commits.

Arguments: bootstrap servers, prefix, group, offset to commit.
"""

from __future__ import annotations

import asyncio
import sys

from tandem.bus.base import Consumer, TopicPartition
from tests.integration.kafka.conftest import make_bus

AT = TopicPartition("ticket.inbox", 0)


async def read_one(consumer: Consumer) -> None:
    while not await consumer.poll(1, 1.0):
        pass


async def main(bootstrap: str, prefix: str, group: str, offset: int) -> None:
    bus = make_bus(bootstrap, prefix)
    await bus.start()
    consumer = await bus.consumer(group, [AT.topic])
    await read_one(consumer)
    sys.stdout.write("reading\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    believed = AT in consumer.assignment
    await consumer.commit({AT: offset})
    sys.stdout.write(f"committed, believed to own it: {believed}\n")
    sys.stdout.flush()
    await bus.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
