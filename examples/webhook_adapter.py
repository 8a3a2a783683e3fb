"""A channel adapter: messages come in by HTTP, replies go out as HTTP calls to the channel's own address.

tandem up &
python -m examples.webhook_adapter http://localhost:9000/replies
curl -d '{"thread": "room-7", "id": "1", "text": "I forgot my password"}' localhost:8090/messages
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
from aiohttp import web

from tandem.client import Channel
from tandem.errors import InvalidMessage


class WebhookAdapter:
    """One channel of one tenant. `callback` is where replies are posted as {"thread", "id", "text"}."""

    def __init__(self, channel: Channel, callback: str) -> None:
        self._channel = channel
        self._callback = callback

    async def receive(self, request: web.Request) -> web.Response:
        """202 once the bus has the message: until then the sender should repeat it, under the same id."""
        body = await request.json()
        try:
            conversation = await self._channel.submit(str(body["thread"]), str(body["text"]), id=str(body["id"]))
        except (KeyError, InvalidMessage) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"conversation": conversation}, status=202)

    async def send_replies(self, session: aiohttp.ClientSession) -> None:
        async for reply in self._channel.replies():
            try:
                async with reply:
                    body = {"thread": reply.thread, "id": reply.reply.id, "text": reply.text}
                    async with session.post(self._callback, json=body) as response:
                        response.raise_for_status()
            except aiohttp.ClientError as error:
                sys.stderr.write(f"not delivered, will be tried again: {error}\n")


async def main(callback: str) -> None:
    async with Channel("webhook", tenant="acme") as channel, aiohttp.ClientSession() as session:
        adapter, app = WebhookAdapter(channel, callback), web.Application()
        app.router.add_post("/messages", adapter.receive)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 8090).start()
        await adapter.send_replies(session)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
