"""Replicas behind a name come and go as the DNS says; a DNS that does not answer takes none away."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from services.llm_gateway import served_pool
from services.llm_gateway.discovery import AGAIN_S, Discovery, resolve
from services.llm_gateway.replica import State
from tandem.errors import InvalidSettings, Unavailable
from tandem.model_pools import MAX_REPLICAS, Pool, Pools, load_pools
from tests.unit.llm_gateway.replicas import StubReplica
from tests.unit.llm_gateway.served import call, chat_over


class Dns:
    """Answers as it is told; an error is raised."""

    def __init__(self, *addresses):
        self.addresses = addresses
        self.asked = []

    async def __call__(self, host):
        self.asked.append(host)
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return self.addresses


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("replicas", "addresses", "bases"),
    [
        (["http://a/v1"], ["10.0.0.1"], ["http://a/v1"]),
        (["dns+http://vllm:8000/v1"], ["10.0.0.2", "10.0.0.1", "10.0.0.2"], ["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"]),
        (["dns+http://vllm/v1"], ["fd00::1"], ["http://[fd00::1]/v1"]),
        (["http://10.0.0.1:8000/v1", "dns+http://vllm:8000/v1"], ["10.0.0.1"], ["http://10.0.0.1:8000/v1"]),
        (["dns+http://vllm:8000/v1"], [], []),
    ],
)  # fmt: skip
async def test_each_address_of_a_name_is_a_replica(replicas, addresses, bases):
    found = Discovery(replicas, Dns(*addresses), Clock())
    await found.look_up()
    assert found.bases() == bases


@pytest.mark.asyncio
async def test_a_name_is_asked_for_again_and_keeps_its_last_answer():
    dns, clock = Dns("10.0.0.1"), Clock()
    found = Discovery(["dns+http://vllm:8000/v1"], dns, clock)
    assert found.due
    await found.look_up()
    assert not found.due
    clock.now += AGAIN_S
    assert found.due
    for said in ((), OSError("no such name"), ("10.0.0.1",)):
        dns.addresses = said
        await found.look_up()
        assert found.bases() == ["http://10.0.0.1:8000/v1"]
    dns.addresses = ("10.0.0.9",)
    await found.look_up()
    assert found.bases() == ["http://10.0.0.9:8000/v1"]
    assert set(dns.asked) == {"vllm"}


@pytest.mark.asyncio
async def test_too_many_addresses_are_the_same_few_everywhere():
    many = [f"10.0.{number // 250}.{number % 250}" for number in range(2 * MAX_REPLICAS)]
    kept = []
    for addresses in (many, many[::-1]):
        found = Discovery(["dns+http://vllm/v1"], Dns(*addresses), Clock())
        await found.look_up()
        kept.append(found.bases())
    assert kept[0] == kept[1]
    assert len(kept[0]) == MAX_REPLICAS


def test_nothing_is_ever_asked_for_fixed_addresses():
    assert not Discovery(["http://a/v1"], Dns(), Clock()).due


@pytest.mark.asyncio
async def test_the_systems_own_resolver_is_asked():
    assert "127.0.0.1" in await resolve("localhost")
    with pytest.raises(socket.gaierror):
        await resolve("no-such-host.invalid")


@pytest.mark.parametrize("base", ["dns+https://vllm/v1", "vllm:8000/v1", "dns+vllm", "ftp://vllm/v1", "http:///v1"])
def test_what_is_no_address_is_refused(tmp_path, base):
    file = tmp_path / "pools.yaml"
    file.write_text(f"pools: {{a: {{model: m, replicas: ['{base}']}}}}")
    with pytest.raises(InvalidSettings, match=r"pools\.a\.replicas"):
        load_pools(file)


# A pool at work ----------------------------------------------------------------------------------------------------


class At(StubReplica):
    """A replica on a loopback address of its own, all of them on one port."""

    def __init__(self, host):
        super().__init__(text=host)
        self.host = host

    async def listen(self, port):
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", self._chat), web.get("/metrics", self._metrics)])
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, port).start()
        return self._runner.addresses[0][1]


@contextlib.asynccontextmanager
async def named(*hosts, **options):
    """A pool of one name, the replicas it may have, and the DNS, which knows the first."""
    made, port = {}, 0
    for host in hosts:
        made[host] = At(host)
        port = await made[host].listen(port)
    dns = Dns(hosts[0])
    pool = Pool(model="tiny", vllm=False, replicas=(f"dns+http://engines:{port}/v1",))
    async with chat_over({"small": pool}, resolve=dns, **options) as chat:
        try:
            yield chat, dns, made
        finally:
            for replica in made.values():
                replica.release.set()
                await replica.stop()


async def learn(chat, monkeypatch):
    """As time passes."""
    pool = chat.pools["small"]
    monkeypatch.setattr(pool._discovery, "_next", 0.0)
    await pool.look_up()


async def answerers(chat, calls=40):
    said = [await chat.complete(call(ticket=f"t{number}")) for number in range(calls)]
    return {one.text for one in said}


@pytest.mark.asyncio
async def test_before_the_first_answer_nobody_is_there_and_find_waits_for_it():
    async with named("127.0.0.1") as (chat, dns, _):
        dns.addresses = OSError("not yet")
        with pytest.raises(Unavailable):
            await chat.complete(call())
        await chat.find()
        assert chat.pools["small"].replicas == []
    async with named("127.0.0.1") as (chat, _, _):
        await chat.find()
        assert (await chat.complete(call())).text == "127.0.0.1"


@pytest.mark.asyncio
async def test_a_silent_dns_keeps_nobody_from_starting(monkeypatch):
    monkeypatch.setattr("services.llm_gateway.chat.FIRST_S", 0.01)

    async def silent(host):
        await asyncio.Event().wait()

    pool = Pool(model="tiny", vllm=False, replicas=("dns+http://engines/v1",))
    async with chat_over({"small": pool}, resolve=silent) as chat:
        await chat.find()
        assert chat.pools["small"].look_up() is chat.pools["small"].look_up()  # one question at a time


@pytest.mark.asyncio
async def test_replicas_come_and_go(monkeypatch):
    async with named("127.0.0.1", "127.0.0.2", "127.0.0.3") as (chat, dns, made):
        await chat.find()
        pool = chat.pools["small"]
        assert await answerers(chat, 1) == {"127.0.0.1"}
        dns.addresses = tuple(made)
        await learn(chat, monkeypatch)
        assert await answerers(chat) == set(made)
        assert sorted(replica.number for replica in pool.replicas) == [0, 1, 2]
        assert pool.slots._capacity() == 3 * pool.pool.concurrency
        dns.addresses = ("127.0.0.2", "127.0.0.3")
        await learn(chat, monkeypatch)
        assert await answerers(chat) == {"127.0.0.2", "127.0.0.3"}
        dns.addresses = ("127.0.0.1", "127.0.0.2")
        await learn(chat, monkeypatch)
        assert sorted(replica.number for replica in pool.replicas) == [0, 1]


@pytest.mark.asyncio
async def test_a_replica_that_leaves_the_dns_ends_what_it_has_begun(monkeypatch):
    async with named("127.0.0.1", "127.0.0.2") as (chat, dns, made):
        await chat.find()
        first = made["127.0.0.1"]
        first.does.append("hang")
        under_way = asyncio.create_task(chat.complete(call()))
        await first.started.wait()
        dns.addresses = ("127.0.0.2",)
        await learn(chat, monkeypatch)
        assert await answerers(chat, 3) == {"127.0.0.2"}
        first.release.set()
        assert (await under_way).text == "127.0.0.1"
        assert chat.pools["small"].slots.running == 0


@pytest.mark.asyncio
async def test_what_is_known_of_a_replica_outlives_a_lookup(monkeypatch):
    async with named("127.0.0.1", "127.0.0.2") as (chat, dns, made):
        dns.addresses = tuple(made)
        await chat.find()
        sick = chat.pools["small"].replicas[0]
        for _ in range(3):
            sick.breaker.failed()
        await learn(chat, monkeypatch)
        assert sick.breaker.state is State.OPEN
        assert sick in chat.pools["small"].replicas


@given(st.lists(st.sets(st.integers(0, 5), max_size=6), max_size=8))
def test_whatever_the_dns_says_numbers_are_few_and_no_replica_is_twice(answers):
    """Numbers are labels of metrics."""
    pools = Pools(pools={"p": Pool(model="m", replicas=("http://fixed/v1",))})
    means = served_pool.Means(keys={}, salt=str, random=None)
    pool = served_pool.ServedPool("p", pools.pools["p"], None, means)
    most = 1
    for answer in answers:
        pool._discovery._found["x"] = [f"http://10.0.0.{number}/v1" for number in answer]
        pool._meet()
        most = max(most, len(pool.replicas))
        numbers = [replica.number for replica in pool.replicas]
        assert len(set(numbers)) == len(numbers) == len(answer) + 1
        assert max(numbers) < most
        assert {replica.base for replica in pool.replicas} == set(pool._discovery.bases())
