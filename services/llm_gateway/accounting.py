"""What calls took and cost, as metrics and in the answer. Labels are pools and numbers of replicas: few and known."""

from __future__ import annotations

import time

from services.llm_gateway.calls import Failed
from tandem import telemetry
from tandem.contracts.ticket import FREE, Cost
from tandem.errors import Exhausted, InvalidError, Unavailable
from tandem.model_pools import Price
from tandem.rpc.ports import Usage
from tandem.telemetry import names


def cost_of(usage: Usage, price: Price) -> Cost:
    """One call at this price, rounded up."""
    cached = price.tokens_in if price.cached is None else price.cached
    fresh = max(0, usage.tokens_in - usage.cached)
    thousandths = fresh * price.tokens_in + usage.cached * cached + usage.tokens_out * price.tokens_out
    return FREE.changed(calls=1, tokens=usage.tokens_in + usage.tokens_out, micros=-(-thousandths // 1000))


def most_of(tokens: int, price: Price) -> Cost:
    """What a call of so many tokens can cost at most."""
    dearest = max(price.tokens_in, price.tokens_out)
    return FREE.changed(calls=1, tokens=tokens, micros=-(-tokens * dearest // 1000))


def account(pool: str, usage: Usage, cost: Cost) -> None:
    telemetry.count(names.MODEL_TOKENS, pool, "in", by=usage.tokens_in)
    telemetry.count(names.MODEL_TOKENS, pool, "out", by=usage.tokens_out)
    if usage.cached:
        telemetry.count(names.MODEL_TOKENS, pool, "cached", by=usage.cached)
    if cost.micros:
        telemetry.count(names.MODEL_COST, pool, by=cost.micros)


class Counted:
    """Counts the call by its outcome, and its seconds."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._began = time.monotonic()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        telemetry.count(names.MODEL_CALLS, self._pool, _outcome(error))
        telemetry.observe(names.MODEL_SECONDS, time.monotonic() - self._began, self._pool)


def _outcome(error: BaseException | None) -> str:
    match error:
        case None:
            return "ok"
        case Exhausted():
            return "refused"
        case Failed(outcome="timeout"):
            return "timeout"
        case Unavailable():
            return "failed"
        case InvalidError():
            return "invalid"
    return "left"
