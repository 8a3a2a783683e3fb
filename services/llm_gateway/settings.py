"""Settings of llm_gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from tandem.model_pools import Structured
from tandem.settings import Settings


class LlmGatewaySettings(Settings):
    """What only the gateway reads."""

    llm_gateway_host: str = Field("0.0.0.0", description="address the gRPC server listens on")
    llm_gateway_port: int = Field(7001, ge=0, le=65535, description="port of the gRPC server")
    llm_gateway_http_port: int | None = Field(
        None, ge=0, le=65535, description="port of the OpenAI-compatible HTTP door; none: no such door"
    )
    llm_pools: Path | None = Field(None, description="file of pools, see README; none: the one endpoint below, if set")
    llm_base_url: str | None = Field(
        None,
        pattern=r"^(dns\+)?https?://\S+$",
        description="an OpenAI-compatible API, e.g. http://vllm:8000/v1; none: no chat",
    )
    llm_model: str = Field("", description="the model's name at that API")
    llm_structured: Structured = Field(
        "json_schema",
        description="json_object: it knows no JSON Schema; an answer's shape is told in words, and checked here",
    )
    llm_api_key: SecretStr = Field(SecretStr(""), description="its key")
    llm_concurrency: int = Field(32, ge=1, le=4_096, description="calls in flight at that API")
    llm_micros_in: int = Field(0, ge=0, description="price of 1,000 tokens in, in millionths of the currency unit")
    llm_micros_out: int = Field(0, ge=0, description="price of 1,000 tokens out")
    llm_grants: Literal["local", "redis"] = Field(
        "local", description="where grants and quotas are kept; in Redis several gateway processes share them"
    )
    llm_salt_key: SecretStr = Field(
        SecretStr(""), description="key of the tenants' cache salts; none: the service token"
    )
    llm_cache: int = Field(0, ge=0, le=100_000, description="answers of deterministic calls remembered; 0: none")
    llm_record: Path | None = Field(None, description="file that every chat call and its answer is appended to")
    llm_replay: Path | None = Field(None, description="file of recorded calls to answer from; no model is asked")
    model_cache: Path = Field(
        default_factory=lambda: Path.home() / ".cache" / "tandem", description="where the converted encoder is kept"
    )
    encoder_threads: int = Field(1, ge=1, le=64, description="threads of one encoding")
    embedding_cache: int = Field(4_096, ge=1, le=1_000_000, description="embeddings remembered, 1.5 KB each")
