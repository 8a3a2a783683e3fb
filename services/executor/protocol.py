"""The effect protocol: one task's way from the door to a result.

1. What the log knows is said again. An intent without a result is waited out; then the tool's class decides.
2. Past `expires` nothing is called. The same effect with other arguments is refused.
3. The intent is appended and its place verified: nothing is called before.
4. The clock is checked as the last thing before the first byte; the call has a hard deadline and carries the effect id.
5. The result is appended, as a fact.

A read changes nothing, so it needs no intent and may be repeated; only answers that later calls rest on are recorded.
`world.kill("executor.N")` stands between the steps.
"""

from __future__ import annotations

from typing import Literal

from services.executor import answers
from services.executor.effects import Known, Shard
from services.executor.jobs import follow
from services.executor.policies import NO_HISTORY, History, PolicyDecision, buckets, is_proof, permit, same_call
from services.executor.tools import Call, Came, Outcome, TooLate, at_path
from services.executor.world import World
from tandem.contracts.log import EffectRecorded, Intent, JobStarted
from tandem.contracts.tasks import ExecuteTool, ToolResult
from tandem.contracts.values import Json, Millis, once_key
from tandem.errors import BusUnavailable, Refused
from tandem.packs.expressions import bind, evaluate
from tandem.packs.model import Pack, Tool

MARGIN_MS = 3_600_000
_MASK = "***"
_INTERRUPTED = Outcome(came=Came.UNKNOWN, reason="interrupted", error="the call was announced and its end is not known")
_NOT_DONE = Outcome(came=Came.NOT_SENT, reason="not-done", error="the other side was asked, and it had not happened")


class Run:
    """One task on its way. `calls` counts what was sent to the other side."""

    def __init__(self, world: World, task: ExecuteTool, tool: Tool, pack: Pack) -> None:
        self._world = world
        self._task = task
        self._tool = tool
        self._pack = pack
        self._counts = buckets(task, tool, pack)
        self._proves = is_proof(tool, pack)
        self._once = once_of(task, tool)
        self._shard: Shard | None = None
        self.calls = 0

    @property
    def logged(self) -> bool:
        """Whether the effect log has a part in it: for writes, and for reads that something rests on."""
        return self._tool.writes or self._proves or bool(self._counts) or self._tool.progress is not None

    async def through(self, shard: Shard | None) -> ToolResult:
        """The result. Raises Fenced or OutcomeUnknown (claim again and come back), BusUnavailable."""
        self._shard = shard
        decision = same_call(self._task) or self._contradiction()
        if decision:
            return answers.refused(self._task, decision)
        known = self._known()
        if known and known.in_doubt:
            await self._wait_out(known)
        if known and known.result and self._settled(known):
            if not known.recorded:
                await self._log.record(known.result)
            return answers.again(known.result)
        self._world.kill("executor.1")
        try:
            call = self._world.tools.prepare(self._tool, self._task.arguments, self._task.effect)
        except Refused as error:
            return answers.refused(self._task, PolicyDecision(False, error.reason, error.detail))
        if not self._tool.writes:
            return await self._read(call)
        doubt = known is not None and known.in_doubt
        if not doubt and (early := await self._forbidden() or self._done_by_another()):
            return early
        return await self._settle(call, doubt)

    @property
    def _log(self) -> Shard:
        if self._shard is None:
            raise RuntimeError(f"{self._tool.name} needs no log, and asked for it")
        return self._shard

    def _known(self) -> Known | None:
        return self._shard.find(self._task.effect) if self._shard else None

    def _contradiction(self) -> PolicyDecision | None:
        known = self._known()
        if known and known.arguments_hash and known.arguments_hash != self._task.arguments_hash:
            return PolicyDecision(False, "arguments-changed", "this effect was asked for with other arguments")
        return None

    def _settled(self, known: Known) -> bool:
        """Whether the recorded result is the answer to this task, or another try is due."""
        fact = known.result
        if fact is None or (not self._tool.writes and fact.task != self._task.id):
            return False
        if fact.result.status == "unknown":
            return self._tool.tool_class == "unsafe" and known.job is None
        return fact.result.status == "done" or fact.task == self._task.id or fact.result.reason not in answers.UNCALLED

    def _done_by_another(self) -> ToolResult | None:
        """What may happen once only: has it, for another ticket or in other words?"""
        since = self._world.clock.now() - self._tool.once_per_ms
        for other in self._log.under(self._once) if self._once else ():
            if other.id == self._task.effect or max(other.over_at, other.result.at if other.result else 0) < since:
                continue
            if other.result and other.result.result.status == "done":
                return answers.of_another(self._task, other.result)
            if other.in_doubt:
                return answers.unknown(self._task, "once-per-unknown", "whether it was done before is not known")
        return None

    async def _forbidden(self) -> ToolResult | None:
        """Why no call may be made now: a policy, or the time."""
        decision = permit(self._task, self._tool, self._pack, await self._history())
        if not decision.permitted:
            return answers.refused(self._task, decision)
        now = self._world.clock.now()
        return answers.expired(self._task) if now > min(self._task.expires, self._task.deadline) else None

    async def _history(self) -> History:
        if not (self._tool.writes or self._counts):
            return NO_HISTORY
        authority = self._task.authority
        steps = frozenset(step for step in (authority.identity, authority.authorisation) if step)
        proofs = await self._world.ledger.proofs(self._task.ticket, steps) if self._tool.writes and steps else {}
        return History(proofs, await self._used())

    async def _used(self) -> dict[str, int]:
        windows = {bucket: limit.window_ms for bucket, limit in self._counts.items()}
        return await self._world.ledger.used(windows, self._task.effect)

    # Reads -------------------------------------------------------------------------------------------------------

    async def _read(self, call: Call) -> ToolResult:
        known = self._known()
        if known and known.job and known.job.task == self._task.id:
            return await self._follow(known.job)
        if early := await self._forbidden():
            return early
        last = await self._ask_until_answered(call)
        if last.came is Came.DONE and self._tool.progress:
            return await self._start_following(last)
        result = answers.of_outcome(self._task, last, doubt=False)
        return await self._record(result) if self.logged else result

    async def _ask_until_answered(self, call: Call) -> Outcome:
        attempts = self._world.settings.call_attempts
        for attempt in range(1, attempts + 1):
            self.calls += 1
            last = await call.send(lambda: None)
            if last.came in (Came.DONE, Came.REJECTED) or attempt == attempts:
                break
            if not await self._back_off(attempt, last):
                break
        return last

    # Writes ------------------------------------------------------------------------------------------------------

    async def _settle(self, call: Call, doubt: bool) -> ToolResult:
        """Call, repeat or ask, as the tool's class permits, until the outcome is known."""
        last = _INTERRUPTED
        attempts = self._world.settings.call_attempts
        for attempt in range(attempts + 1):
            if attempt and not await self._back_off(attempt, last):
                break
            if doubt:
                told = await self._resolve()
                if isinstance(told, ToolResult):
                    return told
                if not told:
                    last = _NOT_DONE
                doubt = told
                if doubt and not self._repeatable():
                    break
            if attempt == attempts:
                break
            if early := await self._forbidden():
                return await self._record(answers.unknown(self._task, early.reason)) if doubt else early
            last = await self._call(call, attempt)
            self._world.kill("executor.4")
            if last.came is Came.DONE and self._tool.progress:
                return await self._start_following(last)
            if last.came in (Came.DONE, Came.REJECTED):
                return await self._record(answers.of_outcome(self._task, last, doubt=False))
            if last.came is Came.UNREADABLE and not self._tool.output.get("required"):
                return await self._record(ToolResult(effect=self._task.effect, status="done", evidence=last.evidence))
            doubt = doubt or last.came is not Came.NOT_SENT
        return await self._record(answers.of_outcome(self._task, last, doubt=doubt))

    async def _resolve(self) -> ToolResult | bool:
        """What can be found out without calling again: a result, or whether the outcome is still in doubt."""
        known = self._known()
        if known and known.job:
            return await self._follow(known.job)
        if self._tool.tool_class != "lookup" or self._tool.lookup is None:
            return True
        answer = await self._look_up()
        if answer is None:
            return True
        scope = {"result": answer}
        if not evaluate(self._tool.lookup.happened, scope):
            return False
        output = evaluate(self._tool.lookup.output, scope) if self._tool.lookup.output else answer
        done = ToolResult(effect=self._task.effect, status="done", output=output if isinstance(output, dict) else {})
        return await self._record(done, source="ask")

    async def _look_up(self) -> dict[str, Json] | None:
        """The answer of the tool's lookup; None if it cannot be had."""
        lookup = self._tool.lookup
        tool = self._pack.tools.get(lookup.tool) if lookup else None
        if lookup is None or tool is None or tool.writes:
            return None
        scope = {"effect": self._task.effect, "args": self._task.arguments}
        arguments = {name: bind(value, scope) for name, value in lookup.args.items()}
        try:
            outcome = await self._world.tools.prepare(tool, arguments, self._task.effect).send(lambda: None)
        except Refused:
            return None
        return outcome.output if outcome.came is Came.DONE else None

    def _repeatable(self) -> bool:
        """Whether a call whose outcome is unknown may be made again under the same id."""
        known = self._known()
        first_at = known.first_at if known else 0
        remembered = self._world.clock.now() - first_at <= self._tool.key_ttl_ms
        return self._tool.tool_class == "idempotent" and remembered

    async def _wait_out(self, known: Known) -> None:
        """Until nobody can be calling under the intent that is there; what came of it may have landed meanwhile."""
        over = known.over_at + self._world.settings.grace_ms
        while not (known.result or known.job) and (left := over - self._world.clock.now()) > 0:
            await self._world.clock.sleep(left / 1000)
        await self._log.refresh()

    async def _back_off(self, attempt: int, last: Outcome) -> bool:
        """Wait before the next attempt; False if the task's time does not allow for one."""
        settings = self._world.settings
        wait_ms = min(settings.backoff_ms * 2 ** (attempt - 1), settings.backoff_ms * 20)
        if self._tool.tool_class == "lookup" and last.came is not Came.NOT_SENT:
            wait_ms = max(wait_ms, settings.grace_ms)  # what was sent may still be under way over there
        if last.wait_s is not None:
            wait_ms = max(wait_ms, round(last.wait_s * 1000))
        if self._world.clock.now() + wait_ms >= self._task.deadline:
            return False
        await self._world.clock.sleep(wait_ms / 1000)
        return True

    async def _call(self, call: Call, attempt: int) -> Outcome:
        clock, settings = self._world.clock, self._world.settings
        self._world.kill("executor.2")
        began = clock.boot()
        await self._log.intend(self._intent(settings.call_window_ms + self._tool.timeout_ms, attempt))
        self._world.kill("executor.3")
        try:
            used = await self._used()
        except BusUnavailable:
            return Outcome(came=Came.NOT_SENT, reason="late", error="what the limit counts could not be read")
        if any(used[bucket] >= limit.max for bucket, limit in self._counts.items()):
            return Outcome(came=Came.REJECTED, reason="limit", error="the limit was reached meanwhile")

        def guard() -> None:
            if (clock.boot() - began) * 1000 > settings.call_window_ms:
                raise TooLate
            self.calls += 1

        try:
            return await call.send(guard)
        except TooLate:
            return Outcome(came=Came.NOT_SENT, reason="late", error="the time to begin the call was over")

    def _intent(self, call_by_ms: Millis, attempt: int) -> Intent:
        known = self._known()
        return Intent(
            epoch=self._log.epoch,
            effect=self._task.effect,
            task=self._task.id,
            tool=self._tool.name,
            arguments_hash=self._task.arguments_hash,
            call_by_ms=call_by_ms,
            once=self._once,
            arguments={name: self._shown(name, value) for name, value in self._task.arguments.items()},
            attempt=(known.attempt if known else 0) + 1,
            first_at=known.first_at if known else 0,
            counts=tuple(self._counts),
        )

    def _shown(self, name: str, value: Json) -> Json:
        slot = self._pack.slots.get(self._tool.slots.get(name, name))
        return _MASK if slot and slot.sensitive else value

    # Long runs ---------------------------------------------------------------------------------------------------

    async def _start_following(self, last: Outcome) -> ToolResult:
        """The answer names a job; from here on, whoever takes over polls it."""
        progress = self._tool.progress
        job = at_path(last.output, progress.job) if progress else None
        if not isinstance(job, str | int):
            result = answers.unknown(self._task, "bad-answer", "the answer names no job")
            failed = result.model_copy(update={"status": "failed"})
            return await self._record(result if self._tool.writes else failed)
        started = JobStarted(
            effect=self._task.effect,
            task=self._task.id,
            tool=self._tool.name,
            job=job,
            at=self._world.clock.now(),
        )
        await self._log.record(started)
        self._world.kill("executor.job")
        return await self._follow(started)

    async def _follow(self, job: JobStarted) -> ToolResult:
        return await self._record(await follow(self._world, self._task, self._tool, self._pack, job.job))

    # Results -----------------------------------------------------------------------------------------------------

    async def settle(self, shard: Shard, happened: bool, output: dict[str, Json], expert: str) -> None:
        """Record what a person found out, unless the other side's own answer has come meanwhile."""
        self._shard = shard
        known = self._known()
        if known and known.result and known.result.result.status in ("done", "failed"):
            return
        told = {"status": "done"} if happened else {"status": "failed", "reason": "not-done"}
        result = ToolResult.model_validate(
            {**told, "effect": self._task.effect, "output": output, "evidence": f"found out by {expert}"}
        )
        await self._record(result, source="person")

    async def _record(self, result: ToolResult, *, source: Literal["call", "ask", "person"] = "call") -> ToolResult:
        now = self._world.clock.now()
        windows = [limit.window_ms for limit in self._counts.values()]
        keep_ms = max(self._world.settings.keep_ms, self._tool.once_per_ms if self._once else 0, *windows, 0)
        fact = EffectRecorded(
            effect=self._task.effect,
            task=self._task.id,
            tool=self._tool.name,
            arguments_hash=self._task.arguments_hash,
            once=self._once,
            result=result,
            definite=result.status != "unknown",
            at=now,
            source=source,
            ticket=self._task.ticket,
            step=self._task.step,
            proves=self._proves,
            counts=tuple(self._counts),
            keep_until=max(now + keep_ms, self._task.expires + MARGIN_MS),
        )
        await self._log.record(fact)
        self._world.ledger.note(fact)
        self._world.kill("executor.5")
        return result


def once_of(task: ExecuteTool, tool: Tool) -> str | None:
    """The once-per key of a call, if its tool has one."""
    if not tool.once_per:
        return None
    return once_key(task.tenant, tool.name, [task.arguments.get(name) for name in tool.once_per])
