"""Settings of a deployment, read from `TANDEM_*` environment variables. Services add their own beside these."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from tandem.contracts.topics import Spread
from tandem.errors import InvalidSettings


def _channels_file(data: dict[str, Any]) -> Path:
    home: Path = data["home"]
    return home / "channels.yaml"


def _by_bus(local: int, kafka: int) -> Callable[[dict[str, Any]], int]:
    """A default that depends on the bus: small in one process, large in a deployment."""
    return lambda data: local if data["bus"] == "local" else kafka


class Settings(BaseSettings):
    """What every service of a deployment agrees on."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", env_ignore_empty=True, frozen=True, extra="ignore")

    bus: Literal["local", "kafka"] = Field("local", description="which bus adapter carries the messages")
    kafka_bootstrap_servers: str = Field(
        "localhost:9092", pattern=r"^\S+:\d+$", description="Kafka brokers, comma-separated, each host:port"
    )
    kafka_replication: int = Field(1, ge=1, description="replicas of a topic that `tandem topics apply` creates")
    kafka_session_s: float = Field(
        10.0, ge=1, description="a consumer silent for longer loses its partitions to others"
    )
    kafka_instance: str | None = Field(
        None, description="a name this process keeps over restarts: within a session it gets its partitions back"
    )
    kafka_user: str | None = Field(None, description="SCRAM-SHA-512 user of the brokers; none: no authentication")
    kafka_password: SecretStr = Field(SecretStr(""), description="its password")
    kafka_ca: Path | None = Field(None, description="PEM file of the brokers' certificate authority; none: no TLS")
    prefix: str = Field("tandem", pattern=r"^[a-z0-9-]+$", description="namespaces topics, Redis keys and groups")
    home: Path = Field(Path(".tandem"), description="folder of the embedded mode: the bus file, caches, channels.yaml")
    redis_url: str = Field("redis://localhost:6379/0", description="Redis or Valkey; a `unix://` path works too")
    qdrant_url: str | None = Field(None, description="Qdrant server; without one, its engine runs in the process")
    packs: Path = Field(Path("packs"), description="folder of packs")
    channels: Path = Field(default_factory=_channels_file, description="channels.yaml: keys and tenants")
    shards: int = Field(
        default_factory=_by_bus(8, 64),
        ge=1,
        le=1024,
        description="partitions of the sharded topics, fixed for a deployment; on the local bus 8, on Kafka 64",
    )
    work_partitions: int = Field(
        default_factory=_by_bus(4, 32), ge=1, description="partitions of the other topics; on the local bus 4"
    )
    llm_gateway_target: str = Field("localhost:7001", description="gRPC address of llm_gateway")
    memory_target: str = Field("localhost:7002", description="gRPC address of memory")
    service_token: SecretStr = Field(SecretStr(""), description="shared token of the platform's own gRPC calls")
    grpc_cert: Path | None = Field(None, description="PEM certificate of this service; none: gRPC without TLS")
    grpc_key: Path | None = Field(None, description="its PEM key")
    grpc_ca: Path | None = Field(
        None, description="PEM file of the authority that the other side's certificate must be of"
    )
    otlp_endpoint: str | None = Field(None, description="OpenTelemetry collector (OTLP over HTTP); none: no spans")
    trace_sample: float = Field(0.1, ge=0, le=1, description="share of new traces that are recorded")
    http_host: str = Field("0.0.0.0", description="address of /livez, /readyz and /metrics")
    http_port: int | None = Field(8080, ge=0, description="port of /livez, /readyz and /metrics; unset: no server")
    liveness_s: float = Field(60.0, gt=0, description="a consumer loop silent for longer is dead")
    drain_s: float = Field(25.0, gt=0, description="on SIGTERM, how long work in flight may take to finish")
    max_in_flight: int = Field(64, ge=1, description="messages a consumer works on at once")
    kill_point: str = Field("", description="crash tests only: where this process kills itself, e.g. executor.3")
    noise: str = Field("", description="chaos plans only: what is sent twice and late, e.g. 0.2,0.05,10")
    clock_shift_s: float = Field(0.0, description="chaos plans only: how far this process's clock is off")
    log_level: str = Field("INFO", description="level of the root logger")
    log_format: Literal["json", "text"] = Field("json", description="log lines for machines or for people")

    def partitions(self) -> dict[Spread, int]:
        """How many partitions a topic of each spread has."""
        return {Spread.SHARD: self.shards, Spread.WORK: self.work_partitions, Spread.ONE: 1}

    @property
    def bus_file(self) -> Path:
        """The local bus's SQLite file."""
        return self.home / "bus.sqlite"


S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S], **given: Any) -> S:
    """Settings from the environment and what is given. Raises InvalidSettings that names the variables, not their values."""
    try:
        return kind(**given)
    except ValidationError as error:
        wrong = {
            f"TANDEM_{str(one['loc'][0]).upper()}": one["msg"]
            for one in error.errors(include_url=False, include_input=False)
            if one["type"] != "default_factory_not_called"  # follows from another that is wrong
        }
        raise InvalidSettings("; ".join(f"{name}: {why[0].lower()}{why[1:]}" for name, why in wrong.items())) from None
    except SettingsError as error:
        found = re.search(r'field "(\w+)"', str(error))
        raise InvalidSettings(f"TANDEM_{found.group(1).upper() if found else '*'}: must be JSON") from None
