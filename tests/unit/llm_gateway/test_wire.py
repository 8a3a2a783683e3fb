"""What goes over a connection to a replica, and what is made of odd answers."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tandem.errors import Unavailable
from tandem.model_pools import Pool
from tests.unit.llm_gateway.served import call, chat_over, read

COMPLETION = b'{"model": "tiny", "choices": [{"message": {"content": "hello"}}]}'
EVENTS = b'data: {"model": "tiny", "choices": [{"delta": {"content": "hello"}}]}\n\ndata: [DONE]\n\n'


class Raw:
    """A server that reads a request and sends what it was given, as it is."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.heads = []
        self.connections = 0
        self.used = []
        self.port = 0

    async def serve(self, reader, writer):
        self.connections += 1
        mine = self.connections
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while self.answers:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                self.used.append(mine)
                length = next(line for line in head.split("\r\n") if line.lower().startswith("content-length"))
                await reader.readexactly(int(length.split(":")[1]))
                for part in self.answers.pop(0):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()


@contextlib.asynccontextmanager
async def raw(*answers):
    server = Raw(*answers)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as serving:
        server.port = serving.sockets[0].getsockname()[1]
        pool = Pool(model="tiny", replicas=(f"http://127.0.0.1:{server.port}/v1",), vllm=False)
        async with chat_over({"small": pool}) as chat:
            yield chat, server


def whole(body, head=b"HTTP/1.1 200 OK\r\n"):
    return (head + b"Content-Length: %d\r\n\r\n" % len(body), body)


def chunked(*chunks):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return (head, *(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks), b"0\r\n\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        whole(COMPLETION),
        chunked(COMPLETION[:7], COMPLETION[7:]),
        (b"HTTP/1.1 102 Processing\r\n\r\n", *whole(COMPLETION)),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", COMPLETION),
    ],
    ids=["whole", "chunked", "after a note", "to the connection's end"],
)
@pytest.mark.asyncio
async def test_an_answer_may_come_in_any_form_of_http(answer):
    async with raw(answer) as (chat, _):
        assert (await chat.complete(call())).text == "hello"


@pytest.mark.asyncio
async def test_a_connection_is_used_again_after_an_answer_and_after_a_stream():
    async with raw(whole(COMPLETION), chunked(EVENTS), whole(COMPLETION)) as (chat, server):
        assert (await chat.complete(call())).text == "hello"
        _, text, last = await read(chat, call())
        assert text == last.text == "hello"
        assert (await chat.complete(call())).text == "hello"
    assert server.connections == 1


@pytest.mark.asyncio
async def test_the_connection_that_was_free_last_is_used_next():
    async with raw(*[whole(COMPLETION)] * 9) as (chat, server):
        await asyncio.gather(*(chat.complete(call()) for _ in range(3)))
        for _ in range(6):
            await chat.complete(call())
    assert sorted(server.used[:3]) == [1, 2, 3]
    assert server.used[3:] == [server.used[3]] * 6


@pytest.mark.parametrize(
    "answer",
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", COMPLETION),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",),
        (b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",),
    ],
    ids=["no HTTP", "cut", "no chunk", "sent elsewhere, with the key"],
)
@pytest.mark.asyncio
async def test_what_is_no_answer_is_a_failure_that_says_so(answer):
    async with raw(answer) as (chat, _):
        with pytest.raises(Unavailable):
            await chat.complete(call(within=2))


@pytest.mark.asyncio
async def test_a_grant_is_no_header_of_its_own():
    async with raw(whole(COMPLETION)) as (chat, server):
        await chat.complete(call(grant="g 1\r\nx-evil: yes \u00e9"))
    [head] = server.heads
    assert "Idempotency-Key: g%201%0D%0Ax-evil%3A%20yes%20%C3%A9\r\n" in head
    assert "\r\nx-evil" not in head
