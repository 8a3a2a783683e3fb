"""Composition of llm_gateway."""

from __future__ import annotations

import grpc

from services.llm_gateway.chat import Chat, Endpoint
from services.llm_gateway.embeddings import BlockingEncoder, Embeddings
from services.llm_gateway.handlers import Gateway, LlmServicer
from services.llm_gateway.settings import LlmGatewaySettings
from tandem.errors import InvalidSettings
from tandem.rpc.server import GrpcServer, Listen
from tandem.rpc.v1 import llm_pb2_grpc
from tandem.service import Service
from tandem.wiring import Wiring


def build_gateway(settings: LlmGatewaySettings) -> Gateway:
    """The gateway without a server: the embedded mode calls it in the process."""

    def load() -> BlockingEncoder:
        from services.llm_gateway.encoder import Encoder

        return Encoder(settings.model_cache, settings.encoder_threads)

    return Gateway(Embeddings(load, settings.embedding_cache), _chat(settings))


def build(settings: LlmGatewaySettings, wiring: Wiring) -> Service:
    """The service: a gRPC server over the gateway, ready once the encoder is loaded."""
    gateway = build_gateway(settings)

    def register(server: grpc.aio.Server) -> None:
        llm_pb2_grpc.add_LlmGatewayServicer_to_server(LlmServicer(gateway, wiring.kill), server)

    listen = Listen(
        host=settings.llm_gateway_host,
        port=settings.llm_gateway_port,
        token=settings.service_token.get_secret_value(),
    )
    server = GrpcServer(listen, register, ("tandem.rpc.v1.LlmGateway",), before=gateway.warm, after=gateway.close)
    return Service("llm_gateway", wiring, [server])


def _chat(settings: LlmGatewaySettings) -> Chat | None:
    if not settings.llm_base_url:
        return None
    if not settings.llm_model:
        raise InvalidSettings("TANDEM_LLM_BASE_URL is set, TANDEM_LLM_MODEL is not: name the model")
    return Chat(
        Endpoint(
            base_url=settings.llm_base_url,
            model=settings.llm_model,
            api_key=settings.llm_api_key,
            micros_in=settings.llm_micros_in,
            micros_out=settings.llm_micros_out,
        )
    )
