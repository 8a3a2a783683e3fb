"""Settings of llm_gateway."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from tandem.settings import Settings


class LlmGatewaySettings(Settings):
    """What only the gateway reads."""

    llm_gateway_host: str = Field("0.0.0.0", description="address the gRPC server listens on")
    llm_gateway_port: int = Field(7001, ge=0, le=65535, description="port of the gRPC server")
    llm_base_url: str | None = Field(
        None, description="an OpenAI-compatible API, e.g. http://vllm:8000/v1; none: no chat"
    )
    llm_model: str = Field("", description="the model's name at that API")
    llm_api_key: SecretStr = Field(SecretStr(""), description="its key")
    llm_micros_in: int = Field(0, ge=0, description="price of 1,000 tokens in, in millionths of the currency unit")
    llm_micros_out: int = Field(0, ge=0, description="price of 1,000 tokens out")
    model_cache: Path = Field(
        default_factory=lambda: Path.home() / ".cache" / "tandem", description="where the converted encoder is kept"
    )
    encoder_threads: int = Field(1, ge=1, le=64, description="threads of one encoding")
    embedding_cache: int = Field(4_096, ge=1, le=1_000_000, description="embeddings remembered, 1.5 KB each")
