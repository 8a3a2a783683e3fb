"""Composition of llm_gateway."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from random import Random

import grpc
from pydantic import ValidationError

from services.llm_gateway.chat import Chat, Options
from services.llm_gateway.embeddings import BlockingEncoder, Embeddings
from services.llm_gateway.handlers import Gateway, LlmServicer
from services.llm_gateway.http_door import HttpDoor
from services.llm_gateway.quotas import SharedQuotas
from services.llm_gateway.recording import Recorder, Replay
from services.llm_gateway.settings import LlmGatewaySettings
from services.llm_gateway.shared_grants import SharedGrants
from tandem.errors import InvalidSettings
from tandem.model_pools import Pool, Pools, Price, faults, load_pools
from tandem.rpc.server import GrpcServer, Listen
from tandem.rpc.tls import tls_of
from tandem.rpc.v1 import llm_pb2_grpc
from tandem.service import Service, answer_at_once
from tandem.wiring import Wiring

KEY = "TANDEM_LLM_API_KEY"


@dataclass(frozen=True, slots=True)
class Shared:
    """What gateway processes keep together."""

    grants: SharedGrants
    quotas: SharedQuotas


def build_gateway(settings: LlmGatewaySettings, shared: Shared | None = None) -> Gateway:
    """The gateway without a server: the embedded mode calls it in the process."""

    def load() -> BlockingEncoder:
        from services.llm_gateway.encoder import Encoder

        return Encoder(settings.model_cache, settings.encoder_threads)

    return Gateway(Embeddings(load, settings.embedding_cache), _chat(settings, shared))


def build(settings: LlmGatewaySettings, wiring: Wiring) -> Service:
    """The service: two doors to one gateway, ready once the encoder is loaded."""
    gateway = build_gateway(settings, _shared(wiring) if settings.llm_grants == "redis" else None)

    def register(server: grpc.aio.Server) -> None:
        llm_pb2_grpc.add_LlmGatewayServicer_to_server(LlmServicer(gateway, wiring.kill), server)

    token = settings.service_token.get_secret_value()
    other: list[HttpDoor] = []
    if settings.llm_gateway_http_port is not None:
        http = Listen(host=settings.llm_gateway_host, port=settings.llm_gateway_http_port, token=token)
        other.append(HttpDoor(gateway, http))

    async def close() -> None:
        """Once both doors have answered what they had let in."""
        for door in other:
            await door.stop(settings.drain_s)
        await gateway.close()

    tls = tls_of(settings)
    listen = Listen(host=settings.llm_gateway_host, port=settings.llm_gateway_port, token=token, tls=tls)
    server = GrpcServer(listen, register, ("tandem.rpc.v1.LlmGateway",), before=gateway.warm, after=close)
    return Service("llm_gateway", wiring, [server, *other], tune=answer_at_once)


def _shared(wiring: Wiring) -> Shared:
    redis, me = wiring.redis(), uuid.uuid4().hex
    return Shared(SharedGrants(redis, wiring.clock), SharedQuotas(redis, me, wiring.clock))


def pools_of(settings: LlmGatewaySettings) -> Pools | None:
    """The file of pools, or the one endpoint as a pool of one replica; None: no chat."""
    if settings.llm_pools is not None:
        return load_pools(settings.llm_pools)
    if not settings.llm_base_url:
        return _nothing() if settings.llm_replay else None
    if not settings.llm_model:
        raise InvalidSettings("TANDEM_LLM_BASE_URL is set, TANDEM_LLM_MODEL is not: name the model")
    try:
        pool = Pool(
            model=settings.llm_model,
            replicas=(settings.llm_base_url,),
            vllm=False,
            structured=settings.llm_structured,
            concurrency=settings.llm_concurrency,
            price=Price(tokens_in=settings.llm_micros_in, tokens_out=settings.llm_micros_out),
        )
    except ValidationError as error:
        raise InvalidSettings(f"TANDEM_LLM_BASE_URL, TANDEM_LLM_MODEL: {faults(error)}") from error
    return Pools(pools={"default": pool})


def _nothing() -> Pools:
    """A pool that is never asked: every answer is replayed."""
    return Pools(pools={"default": Pool(model="replayed", replicas=("http://replayed.invalid/v1",), vllm=False)})


def _chat(settings: LlmGatewaySettings, shared: Shared | None) -> Chat | None:
    pools = pools_of(settings)
    if pools is None:
        return None
    if settings.llm_record and settings.llm_replay:
        raise InvalidSettings("TANDEM_LLM_RECORD and TANDEM_LLM_REPLAY are both set: unset one")
    keys = {variable: os.environ.get(variable, "") for variable in {pool.api_key_env for pool in pools.pools.values()}}
    salt_key = settings.llm_salt_key.get_secret_value() or settings.service_token.get_secret_value()
    options = Options(
        keys=keys | {KEY: settings.llm_api_key.get_secret_value()},
        salt_key=salt_key,
        cache=settings.llm_cache,
        recorder=Recorder(settings.llm_record) if settings.llm_record else None,
        replay=Replay(settings.llm_replay) if settings.llm_replay else None,
        shared=shared.grants if shared else None,
        quotas=shared.quotas if shared else None,
    )
    return Chat(pools, options, Random())
