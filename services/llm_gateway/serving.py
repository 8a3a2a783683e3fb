"""One call through a chain of pools: a slot, a replica, another one when it fails, the next pool when none is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.llm_gateway.calls import Call, Failed
from services.llm_gateway.replica import Replica
from services.llm_gateway.routing import affinity
from services.llm_gateway.served_pool import ServedPool
from services.llm_gateway.upstream import Opened, Question, Upstream
from tandem import telemetry
from tandem.telemetry import names

MAX_ATTEMPTS = 3
"""At one pool."""

MARGIN_S = 0.05
"""Kept of a deadline, to tell the caller why."""


@dataclass(slots=True)
class Lease:
    """An answer that has begun, the slot and the replica it holds until it is closed."""

    pool: ServedPool
    opened: Opened
    interactive: bool

    def close(self, error: BaseException | None = None) -> None:
        """`error`: what ended it early, if anything did."""
        self.opened.close()
        replica = self.opened.replica
        replica.end()
        if error is None:
            replica.succeeded()
        elif isinstance(error, Failed) and error.fault:
            replica.failed(error)
            telemetry.count(names.MODEL_FAILURES, self.pool.name, error.outcome)
        else:
            replica.breaker.left()
        self.pool.slots.leave(interactive=self.interactive)


class Serving:
    """Finds who answers. `chains`: a pool and those after it."""

    def __init__(
        self, pools: Mapping[str, ServedPool], chains: Mapping[str, Sequence[str]], upstream: Upstream
    ) -> None:
        self._pools = pools
        self._chains = chains
        self._upstream = upstream

    def chain(self, name: str) -> list[ServedPool]:
        return [self._pools[each] for each in self._chains[name]]

    async def lease(self, pool: ServedPool, call: Call, weight: float, *, last: bool) -> Lease:
        """An answer of this pool. `last`: no pool comes after it. Raises Failed, Exhausted, InvalidError."""
        if not pool.usable and not last:
            raise Failed("away", f"no replica of pool {pool.name} can serve now", fault=False)
        left = call.deadline - time.monotonic() - MARGIN_S
        if left <= 0:
            raise Failed("timeout", f"the deadline passed before pool {pool.name} was asked", fault=False)
        if not pool.slots.enter_now(interactive=call.interactive):
            await self._wait_for_slot(pool, call, weight, left)
        try:
            opened = await self._ask(pool, call, last=last)
        except BaseException:
            pool.slots.leave(interactive=call.interactive)
            raise
        return Lease(pool, opened, call.interactive)

    async def _wait_for_slot(self, pool: ServedPool, call: Call, weight: float, left: float) -> None:
        try:
            async with asyncio.timeout(left):
                await pool.slots.enter(call.tenant, weight, 1.0 + call.size / 1_000, interactive=call.interactive)
        except TimeoutError as error:
            raise Failed("timeout", f"no slot of pool {pool.name} became free in time", fault=False) from error

    async def _ask(self, pool: ServedPool, call: Call, *, last: bool) -> Opened:
        question = pool.question(call)
        key = affinity(call.tenant, call.system, call.ticket) if len(pool.replicas) > 1 else b""
        tried: list[Replica] = []
        failure = Failed("away", f"no replica of pool {pool.name} can serve now", fault=False)
        waited = False
        while len(tried) < MAX_ATTEMPTS:
            replica = pool.router.choose(key, tried)
            if replica is None:
                if waited or not last or not await self._until_free(pool, call, failure):
                    break
                waited = True
                tried.clear()
                continue
            tried.append(replica)
            try:
                return await self._first_of(pool, replica, call, question, key, tried)
            except Failed as error:
                failure = error
        raise failure

    async def _until_free(self, pool: ServedPool, call: Call, failure: Failed) -> bool:
        """Wait as a Retry-After asks, if that is before the deadline."""
        now = time.monotonic()
        waits = [
            max(0.0, replica.busy_until - now)
            for replica in pool.replicas
            if replica.allowed and (replica.busy_until > now or failure.wait_s is not None)
        ]
        if not waits or min(waits) >= call.deadline - now - MARGIN_S:
            return False
        await asyncio.sleep(min(waits))
        return True

    async def _first_of(
        self, pool: ServedPool, replica: Replica, call: Call, question: Question, key: bytes, tried: list[Replica]
    ) -> Opened:
        """One replica's answer; of an interactive stream, of two if the first is silent."""
        hedge_s = pool.pool.hedge_s
        if not hedge_s or not call.interactive or not call.stream:
            return await self._attempt(pool, replica, call, question)
        attempts = [asyncio.create_task(self._attempt(pool, replica, call, question))]
        opened: Opened | None = None
        try:
            done, _ = await asyncio.wait(attempts, timeout=hedge_s)
            other = None if done else pool.router.choose(key, tried)
            if other is not None:
                tried.append(other)
                attempts.append(asyncio.create_task(self._attempt(pool, other, call, question)))
            opened = await _first_good(attempts)
            if other is not None:
                telemetry.count(names.MODEL_HEDGES, "yes" if opened.replica is other else "no")
            return opened
        finally:
            await _give_up(attempts, opened)

    async def _attempt(self, pool: ServedPool, replica: Replica, call: Call, question: Question) -> Opened:
        replica.start()
        try:
            return await self._open(pool, replica, call, question)
        except BaseException as error:
            replica.end()
            if isinstance(error, Failed):
                telemetry.count(names.MODEL_FAILURES, pool.name, error.outcome)
            if isinstance(error, Failed) and error.wait_s is not None:
                replica.asked_to_wait(error.wait_s)
            if isinstance(error, Failed) and error.fault:
                replica.failed(error)
            else:
                replica.breaker.left()
            raise

    async def _open(self, pool: ServedPool, replica: Replica, call: Call, question: Question) -> Opened:
        await pool.load_adapter(replica, call.adapter)
        try:
            return await self._upstream.open(replica, question, call.deadline - time.monotonic() - MARGIN_S)
        except Failed as error:
            if error.outcome != "http_4xx" or call.adapter not in replica.adapters:
                raise
        replica.adapters.discard(call.adapter)  # it was started anew, without what had been loaded into it
        await pool.load_adapter(replica, call.adapter)
        return await self._upstream.open(replica, question, call.deadline - time.monotonic() - MARGIN_S)


async def _first_good(attempts: list[asyncio.Task[Opened]]) -> Opened:
    """The first that answers; what the last one raised if none does."""
    left = set(attempts)
    while True:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.exception() is None or not left:
                return task.result()


async def _give_up(attempts: list[asyncio.Task[Opened]], kept: Opened | None) -> None:
    """End those that are not the answer, also one that came at the same moment."""
    for task in attempts:
        task.cancel()
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(result, Opened) and result is not kept:
            result.close()
            result.replica.end()
            result.replica.breaker.left()
