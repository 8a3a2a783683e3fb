"""A pool at work: its replicas and their health, its slots, its adapters, and what is sent to it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any
from urllib.parse import quote

from services.llm_gateway.admission import Slots
from services.llm_gateway.calls import Call, Failed
from services.llm_gateway.discovery import Discovery, Resolve, resolve
from services.llm_gateway.replica import Replica, State, read_load
from services.llm_gateway.routing import Router
from services.llm_gateway.shapes import in_words
from services.llm_gateway.upstream import Question, Upstream
from tandem import telemetry
from tandem.errors import InvalidError
from tandem.model_pools import Pool
from tandem.telemetry import names

logger = logging.getLogger(__name__)

POLL_S = 1.0
POLL_TIMEOUT_S = 1.0
SILENT_AFTER = 2
"""Polls without an answer: nobody waits for that replica any longer."""

LOAD_ADAPTER_S = 30.0

Salt = Callable[[str], str]

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What pools share. `keys`: the replicas' keys by their variables' names. `salt`: a tenant's cache salt."""

    keys: Mapping[str, str]
    salt: Salt
    random: Random
    resolve: Resolve = resolve


class ServedPool:
    """`replicas`: those that are there now; of a pool of names they come and go."""

    def __init__(self, name: str, pool: Pool, upstream: Upstream, means: Means) -> None:
        self.name = name
        self.pool = pool
        self.replicas: list[Replica] = []
        self._discovery = Discovery(pool.replicas, means.resolve, time.monotonic)
        self._lookup: asyncio.Task[None] | None = None
        self.router = Router(self.replicas, means.random)
        self.slots = Slots(name, pool, self._capacity)
        self._upstream = upstream
        self._salt = means.salt
        self._headers = {"Content-Type": "application/json"}
        if key := means.keys.get(pool.api_key_env):
            self._headers["Authorization"] = f"Bearer {key}"
        self._meet()

    @property
    def usable(self) -> bool:
        return any(replica.usable for replica in self.replicas)

    @property
    def headers(self) -> dict[str, str]:
        return self._headers

    def question(self, call: Call) -> Question:
        """The call as this pool's replicas are asked it."""
        adapter = call.adapter if call.adapter in self.pool.adapters else ""
        body: dict[str, Any] = {**call.body, "model": adapter or self.pool.model}
        if call.stream:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        if self.pool.structured == "json_object" and call.schema is not None:
            body |= in_words(body["messages"], call.schema)
        if self.pool.vllm:
            body["cache_salt"] = self._salt(call.tenant)
        more = b"Idempotency-Key: %b\r\n" % _plain(call.grant).encode("ascii") if call.grant else b""
        raw = _compact(body).encode("utf-8", "surrogatepass")
        return Question(raw, self._headers, more, call.stream)

    async def load_adapter(self, replica: Replica, name: str) -> None:
        """Make sure that the replica has this adapter. Raises Failed or InvalidError."""
        if not name or name in replica.adapters or name not in self.pool.adapters or not self.pool.vllm:
            return
        async with replica.loading.setdefault(name, asyncio.Lock()):
            if name in replica.adapters:
                return
            body = {"lora_name": name, "lora_path": self.pool.adapters[name]}
            try:
                await self._upstream.post(f"{replica.base}/load_lora_adapter", body, self._headers, LOAD_ADAPTER_S)
            except InvalidError as error:
                if "already" not in str(error):
                    raise Failed("adapter", f"{replica.base} does not load adapter {name}: {error}") from error
            replica.adapters.add(name)

    async def look(self) -> None:
        """Ask every replica how it is, and tell the metrics; where replicas have names, look them up again."""
        self.look_up()
        if self.pool.vllm:
            await asyncio.gather(*(self._look_at(replica) for replica in self.replicas))
        for replica in self.replicas:
            state = State.OPEN if replica.silent else replica.breaker.state
            self._tell(replica.number, state, replica.in_flight)
        self.slots.let_in()

    def _tell(self, number: int, state: State, in_flight: int) -> None:
        telemetry.gauge(names.MODEL_BREAKER, state, self.name, str(number))
        telemetry.gauge(names.MODEL_IN_FLIGHT, in_flight, self.name, str(number))

    def look_up(self) -> asyncio.Task[None] | None:
        """Ask the DNS anew where it is time to, one question at a time; nobody has to wait for the answer."""
        if self._discovery.due and (self._lookup is None or self._lookup.done()):
            self._lookup = asyncio.create_task(self._look_up(), name=f"replicas of {self.name}")
        return self._lookup

    async def close(self) -> None:
        if self._lookup is not None:
            self._lookup.cancel()
            await asyncio.gather(self._lookup, return_exceptions=True)

    async def _look_up(self) -> None:
        await self._discovery.look_up()
        self._meet()

    def _meet(self) -> None:
        """Take in replicas that are new. One that is gone gets no new call; those under way end as they end."""
        bases = [base.rstrip("/") for base in self._discovery.bases()]
        for replica in [replica for replica in self.replicas if replica.base not in bases]:
            self.replicas.remove(replica)
            self._tell(replica.number, State.CLOSED, 0)
        known = {replica.base for replica in self.replicas}
        numbers = {replica.number for replica in self.replicas}
        free = (number for number in itertools.count() if number not in numbers)
        self.replicas += [Replica(base, next(free), time.monotonic) for base in bases if base not in known]
        self.slots.let_in()

    async def _look_at(self, replica: Replica) -> None:
        try:
            status, text = await self._upstream.text(f"{replica.root}/metrics", POLL_TIMEOUT_S)
        except Failed:
            replica.missed += 1
            if replica.missed >= SILENT_AFTER:
                replica.fall_silent()
            return
        if replica.silent:
            logger.warning("a model's replica answers /metrics again: %s", replica.base)
        replica.missed = 0
        replica.silent = False
        if status == 200:
            read_load(replica, text)

    def _capacity(self) -> int:
        """At least one, so that whoever waits for a pool that is away is let in, and told."""
        up = sum(not replica.silent and replica.breaker.state is not State.OPEN for replica in self.replicas)
        return max(1, up * self.pool.concurrency)


def _plain(text: str) -> str:
    """As a header may have it."""
    return text if text.isascii() and text.isprintable() else quote(text, errors="surrogatepass")


def salter(key: str) -> Salt:
    """A tenant's cache salt: nobody without the key can guess another's, and find out what it has asked."""

    @lru_cache(maxsize=10_000)
    def salt(tenant: str) -> str:
        return hmac.new(key.encode(), tenant.encode(), hashlib.sha256).hexdigest()[:32]

    return salt
