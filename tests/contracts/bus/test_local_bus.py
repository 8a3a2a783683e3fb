"""What is particular to the local bus: the file, other processes, kill -9, upkeep, memory."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tandem.bus.base import NewRecord, TopicPartition
from tandem.bus.local import LocalBus
from tandem.clock import SystemClock
from tandem.contracts.topics import DAY_MS, TICKET_INBOX, TICKET_STATE, TOPICS
from tandem.errors import BusUnavailable, InvalidSettings
from tests.contracts.bus.helpers import Watching, plain, read_all, take, until

pytestmark = pytest.mark.asyncio

INBOX, STATE = TICKET_INBOX.name, TICKET_STATE.name

WRITER = """
import asyncio, sys
from pathlib import Path
from tandem.bus.base import NewRecord, Outgoing
from tandem.bus.local import LocalBus

async def main(path, name, count):
    bus = LocalBus(Path(path), shards=2, work_partitions=1)
    await bus.start()
    for n in range(count):
        record = NewRecord("k", f"{name}-{n}".encode(), (("n", b"\\xff"),))
        await bus.append("ticket.inbox", 0, [record])
        print(n, flush=True)
    if name != "killed":
        await bus.stop()
    else:
        await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


class SetClock(SystemClock):
    """Wall time that the test sets."""

    def __init__(self, now: int) -> None:
        self.set = now

    def now(self) -> int:
        return self.set


@asynccontextmanager
async def opened(path: Path | None, clock: SetClock | None = None, prefix: str = "tandem") -> AsyncIterator[LocalBus]:
    bus = LocalBus(path, shards=2, work_partitions=1, clock=clock, prefix=prefix, session_s=1.0)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "bus.sqlite"


async def start_writer(path: Path, name: str, count: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(path), name, str(count), stdout=PIPE)


async def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    writer = await start_writer(path, "killed", 100_000)
    assert writer.stdout is not None
    acknowledged = 0
    async with asyncio.timeout(30):
        while acknowledged < 50:
            acknowledged = int(await writer.stdout.readline()) + 1
    writer.send_signal(signal.SIGKILL)
    acknowledged += len((await writer.stdout.read()).splitlines())
    await writer.wait()
    async with opened(path) as bus:
        stored = await read_all(bus, INBOX, 0)
        assert len(stored) >= acknowledged
        assert [record.value for record in stored] == [f"killed-{n}".encode() for n in range(len(stored))]
        assert {record.headers for record in stored} == {(("n", b"\xff"),)}
        assert (await bus.append(INBOX, 0, plain("next")))[0].offset == len(stored)


async def test_processes_append_to_one_partition_at_once(path: Path) -> None:
    """No offset is given twice, none is skipped, each writer's order is kept, and a consumer gets all of it."""
    count = 150
    async with opened(path) as bus:
        consumer = await bus.consumer("g", [INBOX])
        writers = [await start_writer(path, name, count) for name in ("one", "two")]
        for writer in writers:
            assert writer.stdout is not None
            await writer.stdout.readline()
        for n in range(count):
            await bus.append(INBOX, 0, [NewRecord("k", f"here-{n}".encode())])
        async with asyncio.timeout(60):
            assert [await writer.communicate() and writer.returncode for writer in writers] == [0, 0]
        delivered = await take(consumer, 3 * count)
        assert [record.offset for record in delivered] == list(range(3 * count))
        values = [(record.value or b"").decode() for record in delivered]
        for name in ("one", "two", "here"):
            assert [v for v in values if v.startswith(name)] == [f"{name}-{n}" for n in range(count)]


async def test_a_group_is_in_one_process(path: Path) -> None:
    async with opened(path) as first, opened(path) as second, opened(path, prefix="yours") as yours:
        await first.consumer("a/group", [INBOX])
        with pytest.raises(InvalidSettings, match="as a/group already"):
            await second.consumer("a/group", [INBOX])
        await yours.consumer("a/group", [INBOX])
        await first.stop()
        await second.consumer("a/group", [INBOX])


async def test_processes_read_as_groups_of_their_own(path: Path) -> None:
    """Each gets what either appends, and neither's commits lose the other's."""
    async with opened(path) as first, opened(path) as second:
        readers = [await bus.consumer(group, [INBOX]) for bus, group in ((first, "g"), (second, "other"))]
        for n in range(20):
            await (first, second)[n % 2].append(INBOX, 0, plain(str(n)))
        for end, reader in enumerate(readers, 7):
            assert [record.offset for record in await take(reader, 20)] == list(range(20))
            await reader.commit({TopicPartition(INBOX, 0): end})
        for bus in (first, second):
            assert [await bus.committed(group, INBOX, 0) for group in ("g", "other")] == [7, 8]


async def test_a_locked_file_is_waited_for_and_then_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path) as bus:
        locker = sqlite3.connect(path, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(bus.append(INBOX, 0, plain("a")))
        await asyncio.wait({waiting}, timeout=0.3)
        assert not waiting.done()
        locker.execute("ROLLBACK")
        assert (await waiting)[0].offset == 0
        locker.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("tandem.bus.local.GIVE_UP_S", 0.2)
        with pytest.raises(BusUnavailable, match="locked by another process"):
            await bus.append(INBOX, 0, plain("b"))
        locker.execute("ROLLBACK")
        locker.close()
        assert (await bus.append(INBOX, 0, plain("c")))[0].offset == 1


async def test_a_stopped_bus_says_so(path: Path) -> None:
    async with opened(path) as bus:
        await bus.append(INBOX, 0, plain("a"))
    with pytest.raises(BusUnavailable, match="stopped"):
        await bus.append(INBOX, 0, plain("b"))


async def test_offsets_and_commits_outlive_the_process(path: Path) -> None:
    async with opened(path) as bus:
        await bus.append(INBOX, 0, plain("a", "b"))
        consumer = await bus.consumer("g", [INBOX])
        await take(consumer, 2)
        await consumer.commit({TopicPartition(INBOX, 0): 1})
    async with opened(path) as bus:
        assert await bus.committed("g", INBOX, 0) == 1
        assert [record.value for record in await take(await bus.consumer("g", [INBOX]), 1)] == [b"b"]


@pytest.mark.parametrize("in_memory", [False, True])
async def test_compaction_keeps_the_newest_of_each_key(path: Path, in_memory: bool) -> None:
    clock = SetClock(1_000_000)
    async with opened(None if in_memory else path, clock) as bus:
        await bus.append(STATE, 0, [NewRecord(key, key.encode() + b"1") for key in ("a", "b", "c")])
        await bus.append(STATE, 0, [NewRecord("a", b"a2"), NewRecord("b", None), NewRecord(None, b"keyless")])
        await bus.append(STATE, 1, [NewRecord("a", b"other partition")])
        consumer = await bus.consumer("g", [STATE])
        assert await bus.compact(STATE) == 2
        kept = [(record.offset, record.value) for record in await read_all(bus, STATE, 0)]
        assert kept == [(2, b"c1"), (3, b"a2"), (4, None), (5, b"keyless")]
        clock.set += 2 * DAY_MS
        assert await bus.compact(STATE) == 1
        assert [record.offset for record in await read_all(bus, STATE, 0)] == [2, 3, 5]
        assert [record.offset for record in await read_all(bus, STATE, 1)] == [0]
        assert len(await take(consumer, 4)) == 4
        assert (await bus.append(STATE, 0, plain("d")))[0].offset == 6
        assert await read_all(bus, STATE, 0, 4, 5) == []


async def test_offsets_never_change_even_when_all_was_removed(path: Path) -> None:
    clock = SetClock(1_000_000)
    async with opened(path, clock) as bus, opened(path, clock) as idle:
        assert await idle.end(INBOX, 0) == 0
        await bus.append(INBOX, 0, plain("a", "b", "c"))
        await bus.append(STATE, 0, [NewRecord("k", None)])
        clock.set += 400 * DAY_MS
        assert await bus.clean() == 2
        assert [record.offset for record in await read_all(bus, INBOX, 0)] == [2]
        assert await bus.end(STATE, 0) == 1
        assert (await idle.append(INBOX, 0, plain("d")))[0].offset == 3


async def test_retention_removes_only_what_is_old(path: Path) -> None:
    clock = SetClock(1_000_000)
    async with opened(path, clock) as bus:
        await bus.append(INBOX, 0, plain("old", "older"))
        clock.set += 5 * DAY_MS
        await bus.append(INBOX, 0, plain("young"))
        assert await bus.clean() == 0
        clock.set += 3 * DAY_MS
        assert await bus.clean() == 2
        assert [record.value for record in await read_all(bus, INBOX, 0)] == [b"young"]


async def test_prefixes_keep_deployments_apart(path: Path) -> None:
    async with opened(path) as mine, opened(path, prefix="yours") as yours:
        await mine.append(INBOX, 0, plain("a"))
        consumer = await mine.consumer("g", [INBOX])
        await take(consumer, 1)
        await consumer.commit({TopicPartition(INBOX, 0): 1})
        assert await yours.end(INBOX, 0) == 0
        assert await yours.committed("g", INBOX, 0) is None
        assert mine.partitions(INBOX) == yours.partitions(INBOX) == 2


async def test_another_number_of_partitions_is_refused(path: Path) -> None:
    async with opened(path):
        with pytest.raises(InvalidSettings, match="the settings say 3"):
            await LocalBus(path, shards=3, work_partitions=1).start()


@pytest.fixture
def garbage(tmp_path: Path) -> Path:
    file = tmp_path / "garbage"
    file.write_bytes(b"not a database" * 100)
    return file


async def test_a_file_that_is_no_bus_is_refused(garbage: Path) -> None:
    with pytest.raises(InvalidSettings, match="cannot use"):
        await LocalBus(garbage).start()


async def test_every_topic_of_the_registry_is_there(path: Path) -> None:
    async with opened(path) as bus:
        assert {name: bus.partitions(name) for name in TOPICS}.keys() == TOPICS.keys()
        assert bus.kind == "local"


@pytest.mark.parametrize("budget", [0, 3_000, 10_000_000])
async def test_memory_is_a_short_cut_only(path: Path, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of it fits in memory, a consumer gets the same: some late, some from the file, some from memory."""
    monkeypatch.setattr("tandem.bus.local.TAIL_BYTES", budget)
    async with opened(path) as bus:
        consumer = await bus.consumer("g", [INBOX])
        await until(lambda: len(consumer.assignment) == 2)
        delivered = []
        for n in range(40):
            await bus.append(INBOX, 0, plain(*(f"{n}-{i}" for i in range(5))))
            assert bus._budget.used <= budget
            if n % 3 == 0:
                delivered += await consumer.poll(4, 0.0)
        delivered += await take(consumer, 200 - len(delivered))
        assert [record.offset for record in delivered] == list(range(200))
        assert delivered == await read_all(bus, INBOX, 0)


async def test_one_turn_of_the_loop_is_one_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path) as bus:
        written: list[int] = []
        write: Callable[..., None] = bus._store.write

        def counting(rows: list[object], commits: object) -> None:
            write(rows, commits)
            written.append(len(rows))

        monkeypatch.setattr(bus._store, "write", counting)
        await asyncio.gather(*(bus.append(INBOX, n % 2, plain(str(n))) for n in range(30)))
        assert written == [30]


async def test_leaving_does_not_wait_for_a_listener_that_hangs(path: Path) -> None:
    listener = Watching()
    listener.may_assign.clear()
    async with opened(path) as bus:
        consumer = await bus.consumer("g", [INBOX], listener)
        await until(lambda: listener.heard("assigning"))
        async with asyncio.timeout(5):
            await consumer.close()
        assert listener.told[-1][1] == "revoked"
