"""A pool at work: its replicas and their health, its slots, its adapters, and what is sent to it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any

from services.llm_gateway.admission import Slots
from services.llm_gateway.calls import Call, Failed
from services.llm_gateway.replica import Replica, State, read_load
from services.llm_gateway.routing import Router
from services.llm_gateway.upstream import Question, Upstream
from tandem import telemetry
from tandem.errors import InvalidError
from tandem.model_pools import Pool
from tandem.telemetry import names

POLL_S = 1.0
POLL_TIMEOUT_S = 1.0
SILENT_AFTER = 2
"""Polls without an answer: nobody waits for that replica any longer."""

LOAD_ADAPTER_S = 30.0

Salt = Callable[[str], str]


class ServedPool:
    """`key`: the replicas' key. `salt`: a tenant's cache salt."""

    def __init__(self, name: str, pool: Pool, upstream: Upstream, *, key: str, salt: Salt, random: Random) -> None:
        self.name = name
        self.pool = pool
        self.replicas = [Replica(base, number, time.monotonic) for number, base in enumerate(pool.replicas)]
        self.router = Router(self.replicas, random)
        self.slots = Slots(name, pool, self._capacity)
        self._upstream = upstream
        self._salt = salt
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._missed = [0] * len(self.replicas)
        self._loading: dict[tuple[int, str], asyncio.Lock] = {}

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
        if self.pool.vllm:
            body["cache_salt"] = self._salt(call.tenant)
        headers = {**self._headers, "Idempotency-Key": call.grant} if call.grant else self._headers
        raw = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return Question(raw, headers, call.stream)

    async def load_adapter(self, replica: Replica, name: str) -> None:
        """Make sure that the replica has this adapter. Raises Failed or InvalidError."""
        if not name or name in replica.adapters or name not in self.pool.adapters or not self.pool.vllm:
            return
        lock = self._loading.setdefault((replica.number, name), asyncio.Lock())
        async with lock:
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
        """Ask every replica how it is, and tell the metrics."""
        if self.pool.vllm:
            await asyncio.gather(*(self._look_at(replica) for replica in self.replicas))
        for replica in self.replicas:
            state = State.OPEN if replica.silent else replica.breaker.state
            telemetry.gauge(names.MODEL_BREAKER, state, self.name, str(replica.number))
            telemetry.gauge(names.MODEL_IN_FLIGHT, replica.in_flight, self.name, str(replica.number))
        self.slots.let_in()

    async def _look_at(self, replica: Replica) -> None:
        try:
            status, text = await self._upstream.text(f"{replica.root}/metrics", POLL_TIMEOUT_S)
        except Failed:
            self._missed[replica.number] += 1
            if self._missed[replica.number] >= SILENT_AFTER:
                replica.fall_silent()
            return
        self._missed[replica.number] = 0
        replica.silent = False
        if status == 200:
            read_load(replica, text)

    def _capacity(self) -> int:
        """At least one, so that whoever waits for a pool that is away is let in, and told."""
        up = sum(not replica.silent and replica.breaker.state is not State.OPEN for replica in self.replicas)
        return max(1, up * self.pool.concurrency)


def salter(key: str) -> Salt:
    """A tenant's cache salt: nobody without the key can guess another's, and find out what it has asked."""

    @lru_cache(maxsize=10_000)
    def salt(tenant: str) -> str:
        return hmac.new(key.encode(), tenant.encode(), hashlib.sha256).hexdigest()[:32]

    return salt
