"""A pool's entry in the pools' file as arguments of `vllm serve`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tandem.errors import InvalidSettings
from tandem.model_pools import Kind, Pool, Pools

MAX_QUEUED = 64
"""Requests that may wait at a replica; vLLM has no limit of its own, and what waits long is of no use to anyone."""

_BY_KIND: dict[Kind, dict[str, Any]] = {
    "chat": {
        "enable-prompt-tokens-details": True,  # the gateway accounts what came from the prefix cache
        "tool-strict-level": "parameter",  # arguments follow their schema, also in a tool that does not say `strict`
    },
    "embeddings": {"runner": "pooling"},
    "rerank": {"runner": "pooling"},
}


def pool_of(pools: Pools, name: str) -> Pool:
    """Raises InvalidSettings when there is none of that name, or it is no vLLM's."""
    pool = pools.pools.get(name)
    if pool is None:
        raise InvalidSettings(f"there is no pool {name!r}; there are {', '.join(pools.pools)}")
    if not pool.vllm:
        raise InvalidSettings(f"pool {name!r} says `vllm: false`: someone else serves it")
    return pool


def serve_arguments(pool: Pool, host: str, port: int) -> list[str]:
    """What follows `vllm serve`. `engine` has the last word, but on where to listen; its `model` is where the weights are."""
    flags: dict[str, Any] = {"served-model-name": pool.model, "max-num-queued-reqs": MAX_QUEUED, **_BY_KIND[pool.kind]}
    if pool.adapters:
        flags["enable-lora"] = True
    flags |= {_dashed(name): value for name, value in pool.engine.items()} | {"host": host, "port": port}
    weights = str(flags.pop("model", pool.model))
    return [weights, *(argument for name, value in flags.items() for argument in _flag(name, value))]


def serve_environment(pool: Pool, environment: Mapping[str, str]) -> dict[str, str]:
    """The engine's variables: the replicas' key, which is for no command line, and that the gateway may load adapters."""
    own = {"VLLM_NO_USAGE_STATS": "1"} | dict(environment)
    if key := environment.get(pool.api_key_env):
        own["VLLM_API_KEY"] = key
    if pool.adapters:
        own["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    return own


def _dashed(name: str) -> str:
    return name.removeprefix("--").replace("_", "-")


def _flag(name: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if isinstance(value, bool):
        yield f"--{name}" if value else f"--no-{name}"
        return
    yield f"--{name}"
    if isinstance(value, dict):
        yield json.dumps(value)
    elif isinstance(value, list):
        yield from map(str, value)
    else:
        yield str(value)
