"""What the commands share: settings, a connection, JSON on stdout, everything else on stderr."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tandem.contracts.values import Millis
from tandem.errors import InvalidSettings
from tandem.redis import Redis
from tandem.settings import Settings, read_settings
from tandem.wiring import Wiring

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


@asynccontextmanager
async def connected() -> AsyncIterator[Wiring]:
    """A started bus. Raises InvalidSettings when the local bus has no file yet."""
    settings = read_settings(Settings)
    if settings.bus == "local" and not settings.bus_file.exists():
        raise InvalidSettings(
            f"nothing runs in {settings.home}: start it with `tandem up`, say where with TANDEM_HOME, "
            "or set TANDEM_BUS=kafka"
        )
    wiring = Wiring(settings)
    wiring.bus()
    try:
        await wiring.start()
        yield wiring
    finally:
        await wiring.close()


@asynccontextmanager
async def redis_of(wiring: Wiring) -> AsyncIterator[Redis]:
    """The deployment's Redis; that of a `tandem up` in this home, over whichever bus, where no other is named."""
    settings = wiring.settings
    own = settings.home / "redis.sock"
    if "redis_url" in settings.model_fields_set or not own.exists():
        yield wiring.redis()
        return
    redis = Redis(f"unix://{own.resolve()}", settings.prefix)
    try:
        yield redis
    finally:
        await redis.close()


def run(work: Callable[[Wiring], Awaitable[T]]) -> T:
    """Do the work over a connection."""
    quiet()

    async def whole() -> T:
        async with connected() as wiring:
            return await work(wiring)

    return run_async(whole())


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; Ctrl-C ends it quietly."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def quiet() -> None:
    """Only warnings, on stderr."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it complains of is raised, and said once


def not_empty(value: str) -> str:
    """Of an argument: an empty variable of a script is a mistake. Raises typer.BadParameter."""
    if not value.strip():
        raise typer.BadParameter("is empty")
    return value


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def console() -> Console:
    """For people; plain when piped."""
    return Console(soft_wrap=False, highlight=False)


def clock_text(at: Millis) -> str:
    """Local time of day, to the second."""
    return datetime.fromtimestamp(at / 1000).astimezone().strftime("%H:%M:%S")


def day_text(at: Millis) -> str:
    return datetime.fromtimestamp(at / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age_text(span: Millis) -> str:
    """A time span in its largest unit: 40 s, 12 min, 3 h, 5 d."""
    for unit, size, most in (("s", 1_000, 60), ("min", 60_000, 60), ("h", 3_600_000, 48)):
        if span < most * size:
            return f"{max(0, span) // size} {unit}"
    return f"{span // 86_400_000} d"


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr. Yields what moves it: done, of how many."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
