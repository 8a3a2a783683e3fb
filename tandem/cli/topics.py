"""`tandem topics`: the topic registry and what of it exists."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.table import Table

from tandem.cli.common import AsJson, console, print_json, quiet, run_async
from tandem.contracts.topics import DAY_MS, TOPICS, Topic
from tandem.settings import Settings, read_settings
from tandem.wiring import Wiring

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_topics(as_json: AsJson = False) -> None:
    """Every topic: key, partitions, retention, who writes and reads it."""
    settings = read_settings(Settings)
    if as_json:
        print_json([_entry(topic, settings) for topic in TOPICS.values()])
        return
    table = Table("topic", "partitions", "key", "kept", "from", "to", title=f"prefix {settings.prefix!r}")
    for topic in TOPICS.values():
        kept = "compacted" if topic.retention_ms is None else f"{topic.retention_ms // DAY_MS} days"
        count = str(settings.partitions()[topic.spread])
        table.add_row(topic.name, count, topic.key, kept, ", ".join(topic.producers), ", ".join(topic.consumers))
    console().print(table)


@app.command("apply")
def apply_topics(as_json: AsJson = False) -> None:
    """Create the topics that are missing, with the registry's settings. Nothing is ever changed or deleted."""
    quiet()
    created = run_async(_apply())
    if as_json:
        print_json({"created": created})
    else:
        typer.echo("\n".join(created) if created else "Every topic is there.")


async def _apply() -> list[str]:
    wiring = Wiring(read_settings(Settings))
    try:
        bus = wiring.bus()
        created = [] if bus.kind == "local" else await bus.create_topics(list(TOPICS.values()))
        await wiring.start()  # the local bus makes its own topics, both check the partition counts
        return created
    finally:
        await wiring.close()


def _entry(topic: Topic, settings: Settings) -> dict[str, object]:
    return {**asdict(topic), "partitions": settings.partitions()[topic.spread]}
