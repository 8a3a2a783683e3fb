"""Talk to a pack: a customer's words in, what the platform says and does out."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack

from rich.console import Console

from tandem.client import Channel, Tandem
from tandem.contracts.values import conversation_id
from tandem.embedded import show
from tandem.embedded.case import Case, Onlooker
from tandem.embedded.platform import Platform
from tandem.packs.model import Pack
from tandem.settings import Settings

ANSWER_S = 60.0


async def talk(settings: Settings, pack: str, said: Sequence[str], console: Console) -> Case:
    """One conversation with the pack: the given words, or what is typed until an empty line or the end of input."""
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(Platform(settings))
        wiring = platform.wiring
        onlooker = Onlooker(wiring, "try")
        await onlooker.start()
        stack.push_async_callback(onlooker.stop)
        thread = uuid.uuid4().hex
        case = onlooker.case(conversation_id(pack, "cli", thread))
        channel = Channel("cli", tenant=pack, tandem=Tandem(wiring))
        for text in said:
            console.print(f"[bold]you[/]    {text}", highlight=False)
            await _turn(case, channel, thread, text, wiring.packs().get(pack), console)
        while not said:
            text = await asyncio.to_thread(_typed)
            if not text:
                break
            await _turn(case, channel, thread, text, wiring.packs().get(pack), console)
    return case


def _typed() -> str:
    sys.stderr.write("you    ")
    sys.stderr.flush()
    text = sys.stdin.readline().strip()
    if not sys.stdin.isatty():
        sys.stderr.write(f"{text}\n")  # nobody has seen it typed
    return text


async def _turn(case: Case, channel: Channel, thread: str, text: str, pack: Pack, console: Console) -> None:
    events, replies, version = len(case.events), len(case.replies), case.version
    message = uuid.uuid4().hex
    case.said.append((message, text))
    await channel.submit(thread, text, id=message)
    rested = await case.until(lambda case: case.version > version and case.at_rest, ANSWER_S)
    for event in case.events[events:]:
        line = show.event_line(event, pack)
        if line is not None:
            console.print("      ", line)
    for reply in case.replies[replies:]:
        console.print("[bold green]tandem[/]", reply.text(), highlight=False)
    if not rested:
        console.print(f"[yellow]still {case.status or 'waiting'} after {ANSWER_S:.0f} s[/]")
