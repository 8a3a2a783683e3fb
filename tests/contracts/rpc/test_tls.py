"""gRPC between services over TLS: who shows what is let in, and nobody else."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.llm_gateway.handlers import LlmServicer
from tandem.errors import InvalidSettings, Unavailable
from tandem.rpc.clients import GrpcLlm
from tandem.rpc.server import GrpcServer, Listen
from tandem.rpc.tls import Tls, tls_of
from tandem.rpc.v1 import llm_pb2_grpc
from tandem.settings import Settings

NOW = datetime.datetime.now(datetime.UTC)


class Authority:
    """A certificate authority, and the files of what it has signed."""

    def __init__(self, folder):
        folder.mkdir()
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, folder.name)])
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(_pem(self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))))

    def tls(self, name, *, shows=True):
        """What a service called `name` is given."""
        if not shows:
            return Tls(None, None, self.ca)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        cert, secret = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert.write_bytes(_pem(self._sign(subject, key, address)))
        kinds = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, *kinds))
        return Tls(cert, secret, self.ca)

    def _sign(self, subject, key, extension):
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        day = datetime.timedelta(days=1)
        builder = builder.not_valid_before(NOW - day).not_valid_after(NOW + day)
        return builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Ranking:
    async def rerank(self, query, texts, deadline):
        return [1.0] * len(texts)


@pytest.mark.parametrize("client", ["mutual", "shows nothing", "of another authority", "believes another", "plain"])
@pytest.mark.asyncio
async def test_who_is_let_in(tmp_path, client):
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")

    def register(server):
        llm_pb2_grpc.add_LlmGatewayServicer_to_server(LlmServicer(Ranking()), server)

    server = GrpcServer(Listen(host="127.0.0.1", port=0, token="t", tls=ours.tls("gateway")), register, ())
    await server.start()
    stranger = others.tls("router")
    tls = {
        "mutual": ours.tls("router"),
        "shows nothing": ours.tls("router", shows=False),
        "of another authority": Tls(stranger.cert, stranger.key, ours.ca),
        "believes another": others.tls("router", shows=False),
        "plain": None,
    }[client]
    llm = GrpcLlm(f"127.0.0.1:{server.port}", "t", tls)
    try:
        if client == "mutual":
            assert await llm.rerank("q", ["a", "b"]) == [1.0, 1.0]
            await llm.ready()
        else:
            with pytest.raises(Unavailable):
                await llm.rerank("q", ["a", "b"], deadline=1.0)
    finally:
        await llm.close()
        await server.stop(1)


@pytest.mark.asyncio
async def test_a_server_without_an_authority_takes_whoever_believes_it(tmp_path):
    ours = Authority(tmp_path / "ours")
    shown = ours.tls("gateway")

    def register(server):
        llm_pb2_grpc.add_LlmGatewayServicer_to_server(LlmServicer(Ranking()), server)

    listen = Listen(host="127.0.0.1", port=0, token="t", tls=Tls(shown.cert, shown.key, None))
    server = GrpcServer(listen, register, ())
    await server.start()
    llm = GrpcLlm(f"127.0.0.1:{server.port}", "t", ours.tls("router", shows=False))
    assert await llm.rerank("q", ["a"]) == [1.0]
    await llm.close()
    await server.stop(1)


@pytest.mark.parametrize(
    ("given", "use", "error"),
    [
        ({}, None, ""),
        ({"grpc_cert": "c.pem"}, None, "both"),
        ({"grpc_ca": "ca.pem"}, Tls.server, "TANDEM_GRPC_CERT"),
        ({"grpc_cert": "c.pem", "grpc_key": "k.pem"}, Tls.client, "TANDEM_GRPC_CA"),
        ({"grpc_ca": "/nowhere/ca.pem"}, Tls.client, "cannot be read"),
    ],
)
def test_what_is_missing_is_named(given, use, error):
    settings = Settings(_env_file=None, **given)
    if not error:
        assert tls_of(settings) is None
        return
    with pytest.raises(InvalidSettings, match=error):
        use(tls_of(settings)) if use else tls_of(settings)
