"""`tandem send`: a customer's message from the command line."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

import typer

from tandem.bus.base import Bus
from tandem.cli.common import AsJson, not_empty, print_json, run
from tandem.cli.scan import awaited, end_for
from tandem.client import Tandem
from tandem.contracts.customer import Reply
from tandem.contracts.message import Message
from tandem.contracts.topics import CUSTOMER_REPLIES
from tandem.contracts.values import conversation_id
from tandem.errors import Unavailable
from tandem.wiring import Wiring


def command(
    text: Annotated[str, typer.Argument(callback=not_empty, help="What the customer writes.")],
    channel: Annotated[str, typer.Option(help="A channel of channels.yaml.")] = "cli",
    tenant: Annotated[str, typer.Option(help="A tenant of channels.yaml.")] = "acme",
    thread: Annotated[str, typer.Option(help="The customer's thread: the same one is the same conversation.")] = "me",
    id: Annotated[str, typer.Option("--id", help="The channel's message id; repeating it is harmless.")] = "",
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the reply; 0: do not wait.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Send a message as a customer; print the conversation, and with --wait the reply."""

    async def work(wiring: Wiring) -> dict[str, Any]:
        bus, conversation = wiring.bus(), conversation_id(tenant, channel, thread)
        start = await end_for(bus, CUSTOMER_REPLIES.name, conversation)
        async with Tandem(wiring) as tandem, tandem.channel(channel, tenant=tenant) as customer:
            await customer.submit(thread, text, id=id or uuid.uuid4().hex)
        if not wait:
            return {"conversation": conversation}
        reply = await _reply(bus, conversation, start, wait)
        return {"conversation": conversation, "reply": reply.model_dump(mode="json"), "text": reply.text()}

    result = run(work)
    if as_json:
        print_json(result)
        return
    typer.echo(f"conversation {result['conversation']}", err="reply" in result)
    if "reply" in result:
        typer.echo(result["text"])


async def _reply(bus: Bus, conversation: str, start: int, seconds: float) -> Reply:
    """The conversation's next final reply. Raises Unavailable when none comes in time."""

    def wanted(message: Message) -> bool:
        return isinstance(message, Reply) and message.conversation == conversation and message.state == "final"

    found = await awaited(bus, CUSTOMER_REPLIES.name, conversation, start, wanted, seconds)
    if not isinstance(found, Reply):
        raise Unavailable(f"no reply within {seconds:g} s; is `tandem up` running?")
    return found
