"""Where programs run: pydantic-monty, a Python of its own in a process of its own, without files, network, clock or chance.

A run begins at the beginning and ends at the first call that has no answer yet. Everything that could differ from run to run
is fixed, so the same program with the same answers makes the same calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pydantic_monty as monty

from services.function_agent.plain import NotPlain, plain
from tandem.contracts.tasks import ProgramCall, ProgramOutput
from tandem.contracts.ticket import Called
from tandem.contracts.values import Json, Millis
from tandem.errors import Refused, Unavailable
from tandem.packs.model import Program
from tandem.packs.programs import ENTRY
from tandem.text import one_line

_RUN = f"\n{ENTRY}(**_inputs)\n"
_LIMITS = ("TimeoutError", "MemoryError", "RecursionError")

_State: TypeAlias = monty.SyncSnapshot


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use."""

    seconds: float = 1.0  # the interpreter's own time
    wall_s: float = 3.0  # a worker that hangs between two calls is killed
    memory_bytes: int = 32 * 2**20
    depth: int = 100
    printed_bytes: int = 20_000


class Sandbox:
    """Runs programs, a few at a time, each in a process that ends with it."""

    def __init__(self, limits: Limits, at_once: int) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(at_once)

    async def run(
        self, program: Program, inputs: Mapping[str, Json], calls: Sequence[Called], at: Millis
    ) -> ProgramCall | ProgramOutput:
        """The program's next call, or its end. Raises Refused for what it may not or cannot do, Unavailable without a worker."""
        async with self._free:
            return await asyncio.to_thread(_run, program, inputs, calls, at, self._limits)


def _run(
    program: Program, inputs: Mapping[str, Json], calls: Sequence[Called], at: Millis, limits: Limits
) -> ProgramCall | ProgramOutput:
    try:
        with (
            monty.Monty(max_processes=1, min_processes=0, request_timeout=limits.wall_s) as pool,
            pool.checkout(limits=_resources(program, limits), os_policy=_fixed(at)) as session,
        ):
            printed = monty.CollectString(max_bytes=limits.printed_bytes)
            state = session.feed_start(program.code + _RUN, inputs={"_inputs": dict(inputs)}, print_callback=printed)
            return _followed(program, calls, state)
    except monty.MontyError as error:
        raise _refused(error) from error
    except (OSError, RuntimeError) as error:
        raise Unavailable(f"no process to run programs in: {error}") from error


def _followed(program: Program, calls: Sequence[Called], state: _State) -> ProgramCall | ProgramOutput:
    """Answer what is known already, up to the first call that is not, or to the end."""
    made = 0
    while not isinstance(state, monty.MontyComplete):
        if not isinstance(state, monty.FunctionSnapshot):
            if not isinstance(state, monty.NameLookupSnapshot):
                raise Refused("program-invalid", "the program waits for what nobody has promised")
            state = state.resume()
        elif state.is_os_function:
            state = state.resume_not_handled()
        else:
            call = _call(program, state, made)
            if made == len(calls):
                return call
            state = state.resume(_answer(calls[made], call))
            made += 1
    if made < len(calls):
        raise Refused("program-diverged", f"it ended after {made} of the {len(calls)} calls it had made before")
    return ProgramOutput(output=_object(state.output, "what the program returns"))


def _call(program: Program, state: monty.FunctionSnapshot, ordinal: int) -> ProgramCall:
    name = str(state.function_name)
    if name not in program.tools or state.object_id is not None:
        raise Refused("program-call", f"{program.name} may not call {one_line(name, 60)}")
    if ordinal >= program.max_calls:
        raise Refused("program-limit", f"{program.name} may make {program.max_calls} calls")
    if state.args:
        raise Refused("program-call", f"{name} takes its arguments by name")
    return ProgramCall(ordinal=ordinal, tool=name, arguments=_object(state.kwargs, f"the arguments of {name}"))


def _answer(known: Called, call: ProgramCall) -> monty.ExternalResult:
    if (known.tool, known.arguments) != (call.tool, call.arguments):
        raise Refused("program-diverged", f"call {call.ordinal} was {known.tool}, and is not the same call now")
    if known.error:
        return {"exc_type": "RuntimeError", "message": known.error}
    return {"return_value": known.output}


def _object(value: Any, what: str) -> dict[str, Json]:
    try:
        found = plain(value)
    except NotPlain as error:
        raise Refused("program-value", f"{what}: {error}") from error
    if not isinstance(found, dict):
        raise Refused("program-value", f"{what}: is no dict")
    return found


def _resources(program: Program, limits: Limits) -> monty.ResourceLimits:
    return {
        "max_feed_duration_secs": limits.seconds,
        "max_memory": limits.memory_bytes,
        "max_recursion_depth": limits.depth,
        "max_suspensions": 4 * program.max_calls,  # imports and refused looks at files count too
        "max_total_sleep_secs": 0.0,
    }


def _fixed(at: Millis) -> monty.OSPolicy:
    return {
        "datetime": datetime.fromtimestamp(at / 1000, UTC),
        "timezone": "utc",
        "sleep": "zero",
        "random_start": {"seed": at},
    }


def _refused(error: monty.MontyError) -> Refused:
    kind = type(error.exception()).__name__
    text = one_line(f"{kind}: {error}" if kind not in str(error)[:60] else error, 300)
    if isinstance(error, monty.MontyCrashedError) or kind in _LIMITS or "suspension limit" in str(error)[:60]:
        return Refused("program-limit", text)
    if isinstance(error, monty.MontySyntaxError):
        return Refused("program-invalid", text)
    return Refused("program-failed", text)
