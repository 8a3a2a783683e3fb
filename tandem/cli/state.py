"""`tandem state`: Redis against the log, which is the truth."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from tandem.bus.base import Bus
from tandem.cli.common import AsJson, console, print_json, redis_of, run
from tandem.errors import InvalidSettings
from tandem.redis import Redis
from tandem.wiring import Wiring

if TYPE_CHECKING:
    from tandem.embedded.state import ShardState

app = typer.Typer(no_args_is_help=True)

Shards = Annotated[list[int] | None, typer.Option("--shard", help="Only this shard; may be given several times.")]


@app.command()
def verify(shard: Shards = None, as_json: AsJson = False) -> None:
    """Compare each shard's index in Redis with the log. Exit code 1 if they differ; `rebuild` mends it."""
    from tandem.embedded import state

    _each(state.verify, shard, as_json)


@app.command()
def rebuild(shard: Shards = None, as_json: AsJson = False) -> None:
    """Make the index anew from the log. Owners may be at work. Exit code 1 if it differs afterwards."""
    from tandem.embedded import state

    _each(state.rebuild, shard, as_json)


def _each(work: Callable[[Bus, Redis, int], Awaitable[ShardState]], shards: list[int] | None, as_json: bool) -> None:
    async def whole(wiring: Wiring) -> list[ShardState]:
        count = wiring.settings.shards
        if wrong := [shard for shard in shards or () if not 0 <= shard < count]:
            raise InvalidSettings(f"there is no shard {wrong[0]}; there are 0 to {count - 1}")
        async with redis_of(wiring) as redis:
            return [await work(wiring.bus(), redis, shard) for shard in shards or range(count)]

    found = run(whole)
    if as_json:
        print_json({"agrees": all(one.agrees for one in found), "shards": [one.to_json() for one in found]})
    else:
        console().print(_table(found))
    raise typer.Exit(0 if all(one.agrees for one in found) else 1)


def _table(found: list[ShardState]) -> Table:
    table = Table("shard", "tickets", "applied", "log", "")
    for one in found:
        applied = "–" if one.applied is None else str(one.applied)
        table.add_row(
            str(one.shard), str(one.tickets), applied, str(one.last), Text("\n".join(one.differences) or "agrees")
        )
    return table
