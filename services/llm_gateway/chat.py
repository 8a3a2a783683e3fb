"""Chat: grants and quotas before a call, pools to make it, shapes and accounts after it; recorded or replayed on the way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from random import Random

from services.llm_gateway.accounting import Counted, account, cost_of, most_of
from services.llm_gateway.cache import Cache
from services.llm_gateway.calls import Call, Completion, Failed, WrongShape, read_completion
from services.llm_gateway.discovery import FIRST_S, Resolve, resolve
from services.llm_gateway.grants import LEFT, Entry, Grants
from services.llm_gateway.quotas import Quotas, SharedQuotas
from services.llm_gateway.recording import Recorder, Replay
from services.llm_gateway.served_pool import POLL_S, Means, ServedPool, salter
from services.llm_gateway.serving import Lease, Serving
from services.llm_gateway.shapes import Shapes
from services.llm_gateway.shared_grants import SharedGrants
from services.llm_gateway.sse import DONE, Assembly, payloads
from services.llm_gateway.upstream import Upstream
from tandem import telemetry
from tandem.contracts.ticket import FREE, Cost
from tandem.errors import InvalidError
from tandem.model_pools import Pools
from tandem.rpc.ports import Usage
from tandem.telemetry import Attribute, SpanName, names

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`keys`: the replicas' key by its variable's name. `recorder` and `replay`: at most one. `shared`, `quotas`: where gateway
    processes keep grants and quotas together."""

    keys: Mapping[str, str]
    salt_key: str = ""
    cache: int = 0
    recorder: Recorder | None = None
    replay: Replay | None = None
    shared: SharedGrants | None = None
    quotas: SharedQuotas | None = None
    resolve: Resolve = resolve


@dataclass(frozen=True, slots=True)
class Piece:
    """Some events of a stream as they came, and their text where somebody wants it; the last has the completion."""

    events: bytes = b""
    text: str = ""
    last: Completion | None = None


class Chat:
    """Every chat call. Raises Unavailable (its kinds Failed and Exhausted) or InvalidError, within the call's deadline."""

    def __init__(self, pools: Pools, options: Options, random: Random) -> None:
        means = Means(keys=options.keys, salt=salter(options.salt_key), random=random, resolve=options.resolve)
        self.upstream = Upstream()
        self.pools = {name: ServedPool(name, pool, self.upstream, means) for name, pool in pools.pools.items()}
        self._config = pools
        self._serving = Serving(self.pools, {name: pools.chain(name) for name in self.pools}, self.upstream)
        self._quotas = Quotas(pools.tenant, time.monotonic)
        self._grants = Grants(options.shared)
        self._cache = Cache(options.cache)
        self._shapes = Shapes()
        self._recorder, self._replay = options.recorder, options.replay
        self._shared_quotas = options.quotas
        self._watches: list[asyncio.Task[None]] = []

    async def complete(self, call: Call) -> Completion:
        """The whole answer of one call."""
        self._prepare(call)
        model = self.pools[call.pool].pool.model
        with telemetry.span(f"{SpanName.CHAT} {model}", attributes={Attribute.MODEL: model}), Counted(call.pool):
            completion = await self._completed(call)
            usage = completion.usage
            telemetry.annotate({Attribute.INPUT_TOKENS: usage.tokens_in, Attribute.OUTPUT_TOKENS: usage.tokens_out})
            return completion

    async def stream(self, call: Call, *, texts: bool = False) -> AsyncGenerator[Piece]:
        """The answer in pieces; `texts`: with their text. Ending early ends the call at the replica."""
        self._prepare(call)
        assemble = texts or bool(call.grant or self._recorder or call.schema)
        with Counted(call.pool):
            question = call.question() if call.grant or self._replay or self._recorder else ""
            found = self._replayed(call, question)
            begun = await self._begin(call, question) if call.grant and not found else None
            if isinstance(begun, Completion):
                found = begun
            if found:
                for piece in _as_stream(found):
                    yield piece
                return
            entry = begun if isinstance(begun, Entry) else None
            assembly = Assembly()
            try:
                async with contextlib.aclosing(self._streamed(call, assembly, assemble=assemble)) as pieces:
                    async for piece in pieces:
                        if piece.last is not None:
                            self._keep(call, question, piece.last)
                            if entry:
                                self._grants.settle(call, question, entry, piece.last)
                                entry = None
                        yield piece
            except BaseException as error:
                if isinstance(error, WrongShape):
                    self._record_wrong(question, error)
                if entry:
                    begun_cost = Cost(calls=1, tokens=assembly.pieces) if assembly.pieces else FREE
                    self._grants.fail(call, question, entry, error, max(_spent(error), begun_cost, key=_tokens))
                raise

    def pool(self, name: str) -> ServedPool:
        """Raises InvalidError."""
        if name not in self.pools:
            raise InvalidError(f"there is no pool {name!r}; there are {', '.join(self.pools)}")
        return self.pools[name]

    def spent(self, call: Call) -> Cost:
        """Under its grant, by this process."""
        return self._grants.spent(call)

    def chain(self, name: str) -> list[ServedPool]:
        """The pool and those after it."""
        return self._serving.chain(name)

    async def close(self) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        if self._recorder is not None:
            self._recorder.close()
        await self._grants.close()
        await asyncio.gather(*(pool.close() for pool in self.pools.values()))
        await self.upstream.close()

    async def find(self) -> None:
        """Wait for the first replicas of pools that name them, but not for long."""
        lookups = [lookup for pool in self.pools.values() if (lookup := pool.look_up())]
        if lookups:
            await asyncio.wait(lookups, timeout=FIRST_S)

    def watch(self) -> None:
        """Keep an eye on the replicas, and on what tenants use elsewhere, from now on."""
        if self._watches or self._replay:
            return
        self._watches.append(asyncio.create_task(self._look(), name="replicas"))
        if self._shared_quotas is not None:
            self._watches.append(asyncio.create_task(self._exchange(self._shared_quotas), name="quotas"))

    def _prepare(self, call: Call) -> None:
        messages = call.body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
            raise InvalidError("messages: give a list of at least one, each an object")
        call.pool = call.pool or self._config.first() or ""
        pool = self.pool(call.pool).pool
        if pool.kind != "chat":
            raise InvalidError(f"pool {call.pool!r} is for {pool.kind}")
        if call.adapter and call.adapter not in pool.adapters:
            raise InvalidError(f"pool {call.pool!r} does not allow adapter {call.adapter!r}")
        call.told = call.schema is not None and any(
            each.pool.structured == "json_object" for each in self.chain(call.pool)
        )
        self.watch()

    # One call, whole ---------------------------------------------------------------------------------------------

    async def _completed(self, call: Call) -> Completion:
        if not (call.grant or self._replay or self._recorder or self._cache.takes(call)):
            return await self._made(call)
        question = call.question()
        replayed = self._replayed(call, question)
        if replayed:
            return replayed
        known = self._cache.get(call, question) if self._cache.takes(call) else None
        return replace(known, cost=FREE) if known else await self._granted(call, question)

    async def _granted(self, call: Call, question: str) -> Completion:
        """Made once under its grant."""
        if not call.grant:
            completion = await self._told(call, question)
            self._keep(call, question, completion)
            return completion
        begun = await self._begin(call, question)
        if isinstance(begun, Completion):
            return begun
        try:
            completion = await self._told(call, question)
        except BaseException as error:
            self._grants.fail(call, question, begun, error, _spent(error))
            raise
        self._grants.settle(call, question, begun, completion)
        self._keep(call, question, completion)
        return completion

    async def _told(self, call: Call, question: str) -> Completion:
        """Made; what has not the shape that was asked for is recorded too."""
        try:
            return await self._made(call)
        except WrongShape as error:
            self._record_wrong(question, error)
            raise

    def _record_wrong(self, question: str, error: WrongShape) -> None:
        if self._recorder is not None and error.answer is not None:
            self._recorder.add(question, replace(error.answer, cost=error.spent))

    def _replayed(self, call: Call, question: str) -> Completion | None:
        """As it was recorded, with its shape; None: nothing is replayed."""
        if self._replay is None:
            return None
        completion = self._replay.answer(question)
        self._check_shape(call, completion)
        return completion

    async def _begin(self, call: Call, question: str) -> Entry | Completion:
        """Room under the grant, or the answer of the same call before it."""
        price = self.pools[call.pool].pool.price
        if call.limit.tokens:
            call.hold_to(call.limit.tokens - self.spent(call).tokens)
        while True:
            begun = await self._grants.begin(call, question, most_of(call.size, price))
            if isinstance(begun, Entry | Completion):
                return begun
            try:
                return await asyncio.shield(begun)
            except Failed as error:
                if error.outcome != LEFT:
                    raise

    async def _made(self, call: Call) -> Completion:
        share = self._quotas.enter(call.tenant)
        tokens = 0
        try:
            completion = await self._through(call, share.weight)
            tokens = completion.cost.tokens
        except Failed as error:
            tokens = error.spent.tokens
            raise
        finally:
            self._quotas.leave(call.tenant, tokens)
        return completion

    async def _through(self, call: Call, weight: float) -> Completion:
        """Through the chain, until a pool gives an answer of the right shape."""
        began = time.monotonic()
        chain = self._serving.chain(call.pool)
        spent = FREE
        failure = Failed("away", "no pool")
        for pool in chain:
            try:
                lease = await self._serving.lease(pool, call, weight, last=pool is chain[-1])
                completion = self._read(call, lease, began)
                completion.cost = completion.cost + spent if spent is not FREE else completion.cost
                return completion
            except Failed as error:
                failure = error
                spent += error.spent
        failure.spent = spent
        raise failure

    def _read(self, call: Call, lease: Lease, began: float) -> Completion:
        try:
            completion = read_completion(lease.opened.first)
        except Failed as error:
            lease.close(error)
            raise
        lease.close()
        completion = self._accounted(lease.pool, completion, time.monotonic() - began)
        self._check_shape(call, completion)
        return completion

    def _check_shape(self, call: Call, completion: Completion) -> None:
        if call.schema is None or completion.tool_calls:
            return
        try:
            self._shapes.check(completion.text, call.schema)
        except WrongShape as error:
            error.spent, error.answer = completion.cost, completion
            raise

    def _accounted(self, pool: ServedPool, completion: Completion, first_s: float) -> Completion:
        completion.cost = cost_of(completion.usage, pool.pool.price)
        account(pool.name, completion.usage, completion.cost)
        usage, first_ms = completion.usage, round(first_s * 1000, 3)
        completion.usage = Usage(
            tokens_in=usage.tokens_in, tokens_out=usage.tokens_out, cached=usage.cached, first_token_ms=first_ms
        )
        completion.model = completion.model or pool.pool.model
        return completion

    def _keep(self, call: Call, question: str, completion: Completion) -> None:
        if self._recorder is not None:
            self._recorder.add(question, completion)
        if self._cache.takes(call) and not call.stream:
            self._cache.put(call, question, completion)

    # One call, in pieces -----------------------------------------------------------------------------------------

    async def _streamed(self, call: Call, assembly: Assembly, *, assemble: bool) -> AsyncGenerator[Piece]:
        began = time.monotonic()
        share = self._quotas.enter(call.tenant)
        tokens = 0
        try:
            lease = await self._first(call, share.weight)
            first_s = time.monotonic() - began
            telemetry.observe(names.MODEL_FIRST_TOKEN, first_s, lease.pool.name)
            try:
                events = lease.opened.first
                text = _heard(assembly, events, assemble=assemble)
                while DONE not in events:
                    yield Piece(events, text)
                    events = await lease.opened.more()
                    if not events:
                        raise Failed("cut", f"{lease.opened.replica.base} ended its stream early")
                    text = _heard(assembly, events, assemble=assemble)
            except BaseException as error:
                lease.close(error)
                raise
            try:
                completion = self._accounted(lease.pool, assembly.completion(), first_s)
                tokens = completion.cost.tokens
                self._check_shape(call, completion)
                yield Piece(events, text, completion)
            finally:
                await lease.opened.end()
                lease.close()
        finally:
            self._quotas.leave(call.tenant, tokens or assembly.pieces)

    async def _first(self, call: Call, weight: float) -> Lease:
        chain = self._serving.chain(call.pool)
        failure: Failed | None = None
        for pool in chain:
            try:
                return await self._serving.lease(pool, call, weight, last=pool is chain[-1])
            except Failed as error:
                failure = error
        raise failure or Failed("away", "no pool")

    async def _exchange(self, shared: SharedQuotas) -> None:
        while True:
            await shared.exchange(self._quotas)
            await asyncio.sleep(POLL_S)

    async def _look(self) -> None:
        while True:
            for pool in self.pools.values():
                try:
                    await pool.look()
                except Exception:  # whatever one look meets, there is a next one
                    logger.exception("looking at replicas failed", extra={"pool": pool.name})
            await asyncio.sleep(POLL_S)


def _heard(assembly: Assembly, events: bytes, *, assemble: bool) -> str:
    """Their text, if it is wanted; usage and errors are read in any case."""
    if not (assemble or b'"usage"' in events or b'"error"' in events):
        return ""
    return "".join([assembly.add(payload) for payload in payloads(events)])


def _spent(error: BaseException) -> Cost:
    return error.spent if isinstance(error, Failed) else FREE


def _tokens(cost: Cost) -> int:
    return cost.tokens


def _as_stream(completion: Completion) -> list[Piece]:
    """A known answer as a stream of one piece."""
    message = json.loads(completion.body())
    choice = {"index": 0, "delta": message["choices"][0]["message"], "finish_reason": completion.finish or "stop"}
    chunk = {"object": "chat.completion.chunk", "model": completion.model, "choices": [choice]}
    events = b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n" + DONE
    return [Piece(events, completion.text, completion)]
