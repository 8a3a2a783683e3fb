"""Pools of model replicas: the file that llm_gateway routes by and `tandem model serve` starts engines from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tandem.errors import InvalidSettings

MAX_REPLICAS = 256

BY_NAME = "dns+"
"""Before a base URL: each address that the DNS has for its name is a replica."""

Kind = Literal["chat", "embeddings", "rerank"]
Structured = Literal["json_schema", "json_object"]
"""How an answer's shape is asked for, as OpenAI's `response_format` names it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_Part):
    """Of 1,000 tokens, in millionths of the currency unit. `cached`: of those found in a prefix cache; none: as `tokens_in`."""

    tokens_in: int = Field(0, ge=0)
    tokens_out: int = Field(0, ge=0)
    cached: int | None = Field(None, ge=0)


class Tenant(_Part):
    """A tenant's part of the whole. Zero: no limit."""

    weight: float = Field(1.0, gt=0, le=1_000, description="share of the slots while others wait too")
    in_flight: int = Field(0, ge=0, description="calls that may wait or run at once")
    tokens_per_minute: int = Field(0, ge=0, description="spent by what calls really took")


class Pool(_Part):
    """Replicas of one model, all alike."""

    model: str = Field(description="the model's name at its replicas")
    replicas: tuple[str, ...] = Field(
        min_length=1,
        max_length=MAX_REPLICAS,
        description="base URLs, each ending in the API's version: …/v1; dns+http://…: each address of the name is a replica",
    )
    kind: Kind = "chat"
    vllm: bool = Field(True, description="vLLM: load is read from /metrics, cache_salt is sent, adapters are loaded")
    structured: Structured = Field(
        "json_schema",
        description="json_object: the replicas hold no answer to a schema; it is told in words, and checked here",
    )
    api_key_env: str = Field("TANDEM_LLM_API_KEY", description="the variable that holds the replicas' key")
    adapters: dict[str, str] = Field(
        default_factory=dict, description="LoRA adapters that may be asked for: name → folder at the replicas"
    )
    next: str | None = Field(None, description="the pool to go on with when this one cannot serve")
    concurrency: int = Field(32, ge=1, le=4_096, description="calls in flight at one replica")
    reserve: float = Field(0.25, ge=0, lt=1, description="share of the slots that background calls leave free")
    queue: int = Field(256, ge=0, description="calls of each class that may wait for a slot")
    hedge_s: float = Field(
        0.0, ge=0, description="an interactive call silent for longer asks a second replica; 0: never"
    )
    price: Price = Price()
    engine: dict[str, Any] = Field(
        default_factory=dict, description="arguments of `vllm serve`, for `tandem model serve`: max-model-len: 8192 …"
    )

    @field_validator("replicas")
    @classmethod
    def _are_urls(cls, replicas: tuple[str, ...]) -> tuple[str, ...]:
        for base in replicas:
            schemes = ("http",) if base.startswith(BY_NAME) else ("http", "https")
            parts = urlsplit(base.removeprefix(BY_NAME))
            if "@" in base:
                raise ValueError(
                    "an address of a replica holds no name or password: a key goes into TANDEM_LLM_API_KEY, or what "
                    "api_key_env names"
                )
            if parts.scheme not in schemes or not parts.hostname:
                raise ValueError(
                    f"{base!r}: give http://… or https://…, or dns+http://… (an address has no certificate)"
                )
        return replicas


class Pools(_Part):
    """Every pool. `tenants`: by id, `*` for all others."""

    default: str = Field("", description="the chat pool of a call that names none; empty: the first")
    pools: dict[str, Pool] = Field(min_length=1)
    tenants: dict[str, Tenant] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.default and self.default not in self.pools:
            raise ValueError(f"default: there is no pool {self.default!r}")
        for name in self.pools:
            self.chain(name)
        return self

    def chain(self, name: str) -> tuple[str, ...]:
        """The pool and those after it."""
        names: list[str] = []
        at: str | None = name
        while at is not None:
            if at not in self.pools:
                raise ValueError(f"pools.{names[-1]}.next: there is no pool {at!r}")
            if at in names:
                raise ValueError(f"pools.{at}: the chain {' → '.join([*names, at])} does not end")
            if self.pools[at].kind != self.pools[name].kind:
                raise ValueError(f"pools.{names[-1]}.next: {at!r} is of another kind")
            names.append(at)
            at = self.pools[at].next
        return tuple(names)

    def first(self, kind: Kind = "chat") -> str | None:
        """The pool that serves when none is named."""
        if kind == "chat" and self.default:
            return self.default
        return next((name for name, pool in self.pools.items() if pool.kind == kind), None)

    def tenant(self, name: str) -> Tenant:
        return self.tenants.get(name) or self.tenants.get("*") or Tenant()


def load_pools(path: Path) -> Pools:
    """Raises InvalidSettings that names the line's key and what to do."""
    try:
        return Pools.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InvalidSettings(f"TANDEM_LLM_POOLS: {path} cannot be read: {error.strerror}") from error
    except (ValidationError, yaml.YAMLError) as error:
        raise InvalidSettings(f"TANDEM_LLM_POOLS: {path}: {faults(error)}") from error


def faults(error: ValidationError | yaml.YAMLError) -> str:
    """What is wrong, and where."""
    if isinstance(error, yaml.YAMLError):
        return f"not YAML: {error}"
    return "; ".join(f"{'.'.join(map(str, found['loc'])) or 'file'}: {found['msg']}" for found in error.errors()[:5])
