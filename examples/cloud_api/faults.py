"""Misbehaviour on demand: slow, failing, dropped and garbled answers, per operation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OperationOf = Callable[[Scope], str | None]


class Fault(BaseModel):
    """`slow`: answer `delay_ms` later. `fail`: answer `status` and do nothing. `drop`: do the work, then break the
    connection off in the answer. `garbage`: do the work, answer what is not JSON."""

    operation: str = Field(description="an operation's id, or * for all")
    kind: Literal["slow", "fail", "drop", "garbage"]
    times: int = Field(default=1, ge=1, le=1_000_000)
    delay_ms: int = Field(default=0, ge=0, le=600_000)
    status: int = Field(default=503, ge=400, le=599)


class Faults:
    """The faults still to come, in the order they were asked for."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._waiting.append(fault)

    def clear(self) -> None:
        self._waiting.clear()

    def waiting(self) -> list[Fault]:
        return list(self._waiting)

    def take(self, operation: str) -> Fault | None:
        """The next fault of the operation, which is used up by one."""
        for index, fault in enumerate(self._waiting):
            if fault.operation in (operation, "*"):
                left = fault.model_copy(update={"times": fault.times - 1})
                self._waiting[index : index + 1] = [left] if left.times else []
                return fault
        return None


class FaultyAnswers:
    """ASGI middleware around the whole application: the application itself knows of no fault."""

    def __init__(self, app: ASGIApp, faults: Faults, operation_of: OperationOf) -> None:
        self._app = app
        self._faults = faults
        self._operation_of = operation_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._operation_of(scope) if scope["type"] == "http" else None
        fault = self._faults.take(operation) if operation else None
        if fault is None:
            await self._app(scope, receive, send)
            return
        await asyncio.sleep(fault.delay_ms / 1000)
        match fault.kind:
            case "slow":
                await self._app(scope, receive, send)
            case "fail":
                await _answer(send, fault.status, b'{"code": "out_of_order", "message": "Please try again later."}')
            case "drop":
                await self._app(scope, receive, _nowhere)
                await _break_off(send)
            case "garbage":
                await self._app(scope, receive, _nowhere)
                await _answer(send, 200, b"<html>\xff\xfe not what you asked for")


async def _nowhere(message: Message) -> None:
    """Swallow the real answer."""


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _break_off(send: Send) -> None:
    """Promise a body and never send it: the server closes the connection when the application returns."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"', "more_body": True})
