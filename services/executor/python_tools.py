"""Tools that are Python functions of installed packages the deployment allows.

The function takes the arguments by name, and `effect` (the idempotency key) if it asks for it. A pack only names it; which
modules may be called is a setting.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from services.executor.schemas import problem
from services.executor.tools import Came, Guard, Outcome, as_object
from tandem.contracts.values import Json
from tandem.deadline import within
from tandem.errors import Refused
from tandem.packs.model import Tool

logger = logging.getLogger(__name__)


@lru_cache(maxsize=512)
def _nature(function: Callable[..., Any]) -> tuple[bool, bool]:
    """Whether it takes the effect, and whether it is async."""
    return "effect" in inspect.signature(function).parameters, inspect.iscoroutinefunction(function)


class PythonTools:
    def __init__(self, allowed: Collection[str]) -> None:
        """`allowed`: full names of modules whose functions may be called."""
        self._allowed = frozenset(allowed)

    def prepare(self, tool: Tool, arguments: Mapping[str, Json], effect: str) -> PythonCall:
        """Raises Refused for a module that is not allowed and a function that is not there."""
        if tool.server not in self._allowed:
            raise Refused("transport-forbidden", f"add {tool.server!r} to TANDEM_PYTHON_TOOLS to let packs call it")
        try:
            module = sys.modules.get(tool.server) or importlib.import_module(tool.server)
            function = getattr(module, tool.path)
            takes_effect, is_async = _nature(function)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise Refused("transport-unknown", f"{tool.server}:{tool.path} is not a function here") from error
        extra = {"effect": effect} if takes_effect else {}
        return PythonCall(tool, function, {**arguments, **extra}, is_async)


class PythonCall:
    def __init__(self, tool: Tool, function: Callable[..., Any], arguments: dict[str, Any], is_async: bool) -> None:
        self._tool = tool
        self._function = function
        self._arguments = arguments
        self._is_async = is_async

    async def _call(self) -> Any:
        if self._is_async:
            return await self._function(**self._arguments)
        return await asyncio.to_thread(self._function, **self._arguments)

    async def send(self, guard: Guard) -> Outcome:
        """Call the function once. One that is not async runs in a thread, which a deadline leaves behind. TooLate."""
        guard()
        try:
            answer = await within(self._tool.timeout_ms / 1000, self._call())
        except Refused as error:
            return Outcome(came=Came.REJECTED, reason=error.reason, error=error.detail)
        except TimeoutError:
            return Outcome(came=Came.UNKNOWN, reason="timeout", error=f"{self._tool.name} took too long")
        except Exception as error:  # the tool is foreign code: whatever it raises, the outcome is unknown
            logger.exception("tool failed", extra={"tool": self._tool.name})
            return Outcome(came=Came.UNKNOWN, reason="tool-error", error=type(error).__name__)
        wrong = problem(answer, self._tool.output)
        if wrong is not None:
            return Outcome(came=Came.UNREADABLE, reason="bad-answer", error=f"the answer of {self._tool.name}: {wrong}")
        return Outcome(came=Came.DONE, output=as_object(answer))
