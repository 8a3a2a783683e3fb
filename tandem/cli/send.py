"""`tandem send`: a customer's message from the command line."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any

import typer

from tandem.bus.base import Bus
from tandem.cli.common import AsJson, print_json, run
from tandem.cli.scan import FOLLOW_S, read
from tandem.client import Tandem
from tandem.contracts.customer import Reply
from tandem.contracts.topics import CUSTOMER_REPLIES
from tandem.contracts.values import conversation_id, partition_for
from tandem.errors import Unavailable
from tandem.wiring import Wiring


def command(
    text: Annotated[str, typer.Argument(help="What the customer writes.")],
    channel: Annotated[str, typer.Option(help="A channel of channels.yaml.")] = "cli",
    tenant: Annotated[str, typer.Option(help="A tenant of channels.yaml.")] = "acme",
    thread: Annotated[str, typer.Option(help="The customer's thread: the same one is the same conversation.")] = "me",
    id: Annotated[str, typer.Option("--id", help="The channel's message id; repeating it is harmless.")] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for the reply; 0: do not wait.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Send a message as a customer; print the conversation, and with --wait the reply."""

    async def work(wiring: Wiring) -> dict[str, Any]:
        bus, conversation = wiring.bus(), conversation_id(tenant, channel, thread)
        partition = partition_for(conversation, bus.partitions(CUSTOMER_REPLIES.name))
        start = await bus.end(CUSTOMER_REPLIES.name, partition)
        async with Tandem(wiring) as tandem, tandem.channel(channel, tenant=tenant) as customer:
            await customer.submit(thread, text, id=id or uuid.uuid4().hex)
        if not wait:
            return {"conversation": conversation}
        reply = await _reply(bus, conversation, partition, start, wait)
        return {"conversation": conversation, "reply": reply.model_dump(mode="json"), "text": reply.text()}

    result = run(work)
    if as_json:
        print_json(result)
        return
    typer.echo(f"conversation {result['conversation']}", err="reply" in result)
    if "reply" in result:
        typer.echo(result["text"])


async def _reply(bus: Bus, conversation: str, partition: int, start: int, seconds: float) -> Reply:
    """The conversation's next final reply. Raises Unavailable when none comes in time."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                async for batch in bus.read(CUSTOMER_REPLIES.name, partition, start):
                    start = batch[-1].offset + 1
                    for record in batch:
                        found = read(record)
                        if found and isinstance(found[1], Reply) and _is_final(found[1], conversation):
                            return found[1]
                await asyncio.sleep(FOLLOW_S)
    except TimeoutError:
        raise Unavailable(f"no reply within {seconds:.0f} s; is `tandem up` running?") from None


def _is_final(reply: Reply, conversation: str) -> bool:
    return reply.conversation == conversation and reply.state == "final"
