"""`tandem up`: the whole platform in this process."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from tandem import telemetry
from tandem.embedded.platform import Platform
from tandem.errors import InvalidSettings
from tandem.settings import Settings, read_settings

EXAMPLE_PORT = 7080


def command(
    home: Annotated[
        Path, typer.Option(envvar="TANDEM_HOME", help="Where everything is kept: the bus, caches, channels.yaml.")
    ] = Path(".tandem"),
    packs: Annotated[Path, typer.Option(envvar="TANDEM_PACKS", help="Folder of packs.")] = Path("packs"),
    example: Annotated[
        bool,
        typer.Option("--example/--no-example", help="Also serve the example business system of packs/cloud_support."),
    ] = False,
    example_port: Annotated[int, typer.Option(min=0, help="The example's port; 0: any.")] = EXAMPLE_PORT,
) -> None:
    """Start the whole platform in this process, until Ctrl-C. Kill it at any moment: started again, it goes on."""
    os.environ.update(TANDEM_HOME=str(home), TANDEM_PACKS=str(packs))
    os.environ.setdefault("TANDEM_LOG_FORMAT", "text")
    os.environ.setdefault("TANDEM_LOG_LEVEL", "WARNING")
    settings = read_settings(Settings)
    telemetry.configure(settings, "tandem")
    uvloop.run(_serve(settings, example_port if example else None))


async def _serve(settings: Settings, example_port: int | None) -> None:
    begun = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        if example_port is not None:
            os.environ["CLOUD_API_URL"] = await stack.enter_async_context(_example(settings.home, example_port))
            _say(f"example business system on {os.environ['CLOUD_API_URL']}")
        platform = await stack.enter_async_context(Platform(settings, say=_say))
        tenants = ", ".join(sorted(platform.wiring.channels().tenants))
        _say(
            f"Tandem is up in {time.monotonic() - begun:.1f} s (bus: {settings.bus}, tenants: {tenants}); Ctrl-C stops it"
        )
        _say('write to it from another terminal: tandem send "I forgot my password" --wait 20')
        await _until_stopped(platform)
        _say("stopping: what is in flight is finished first")


async def _until_stopped(platform: Platform) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    waiting = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(platform.wait())]
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


@contextlib.asynccontextmanager
async def _example(home: Path, port: int) -> AsyncIterator[str]:
    """The example business system. Raises InvalidSettings that says what to do when its port is taken."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(example_system(home, port))
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise InvalidSettings(
                f"the example business system cannot have port {port} ({why}): does `tandem up --example` run already? "
                "--example-port 0 takes any free one"
            ) from None
        yield url


def example_system(
    home: Path, port: int = EXAMPLE_PORT, diagnosis_ms: int = 2_000
) -> contextlib.AbstractAsyncContextManager[str]:
    """The example business system in this event loop; its database lies in the home. Yields its URL."""
    try:
        server = importlib.import_module("examples.cloud_api.server")
    except ModuleNotFoundError as error:
        raise InvalidSettings(
            f"the example business system is not installed ({error.name}); run it from a checkout"
        ) from None
    home.mkdir(parents=True, exist_ok=True)
    running: contextlib.AbstractAsyncContextManager[str] = server.running(home / "cloud_api.sqlite", port, diagnosis_ms)
    return running


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
