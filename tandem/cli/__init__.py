"""The command line. Each command is a module of this package, imported only when it is asked for.

A module has `command`, a function with its own options, or `app`, a group of commands.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from tandem.errors import TandemError

COMMANDS = {
    "up": "Start the whole platform in this process.",
    "demo": "Play the example scenarios and show each ticket live.",
    "run": "Run one service.",
    "send": "Send a message as a customer.",
    "tail": "Follow what passes over the bus.",
    "ticket": "Look at a ticket.",
    "expert": "What waits for a person, and a person's decisions.",
    "topics": "List and create topics.",
    "doctor": "What is stuck, why, and what to do.",
    "state": "Compare Redis with the log, or make it anew.",
    "dead-letters": "Look at dead letters and send them again.",
    "pack": "Make, check and ingest packs.",
    "tool": "Take tools in from an API or an MCP server.",
    "schemas": "Write AsyncAPI and JSON Schemas from the code.",
    "dashboards": "Write the Grafana dashboards.",
    "model": "Serve models.",
    "deploy": "Write the generated Kubernetes manifests.",
    "bench": "Measure.",
    "chaos": "Prove the promise under faults.",
}

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("demo", "up --example", 'send "I forgot my password" --wait 20'),
    "up": ("up --example", "up --packs my_packs --home /var/lib/tandem"),
    "demo": ("demo", "demo --only refund", "demo --json"),
    "run": ("run router", "run planner --role owner"),
    "send": (
        'send "I forgot my password" --wait 20',
        'send "alice@example.com, the code is 246810" --wait 20',
        'send "hello" --thread another --tenant cloud_support',
    ),
    "tail": ("tail", "tail ticket.events --from-start", "tail --conversation 6f85a5d0 --json"),
    "ticket": ("ticket show 6f85a5d0 --timeline",),
    "expert": (
        "expert queue",
        "expert show TASK",
        "expert approve TASK --as ann",
        "expert take TICKET --as ann",
        'expert reply TICKET "I have looked into it." --as ann',
        "expert give-back TICKET --as ann --resolved",
    ),
    "topics": ("topics list", "TANDEM_BUS=kafka TANDEM_KAFKA_BOOTSTRAP_SERVERS=host:9092 tandem topics apply"),
    "state": ("state verify", "state rebuild --shard 3"),
    "dead-letters": (
        "dead-letters list",
        "dead-letters show 0-12",
        "dead-letters redrive 0-12 0-13",
        "dead-letters redrive --filter retries-exhausted --dry-run",
    ),
    "pack": (
        "pack new my_shop --openapi shop.yaml",
        "pack check packs/my_shop",
        "pack compile packs/my_shop --write",
        "pack simulate packs/my_shop",
        "pack try packs/my_shop",
        "pack test packs/my_shop",
    ),
    "tool": ("tool import openapi https://api.example.com/openapi.json --pack packs/my_shop --name api",),
    "model": ("model serve small --pools pools.yaml --check",),
    "bench": (
        "bench pipeline --tickets 2000 --concurrency 32",
        "bench star --data DIR --mode decisions --report star.html",
        "bench gate baseline.json new.json",
    ),
    "chaos": ("chaos simulate --seeds 10", "chaos run tests/chaos/plans/kill-random.yaml --kafka-jars LIBS"),
}
"""What follows `tandem`, by command; shown under its help."""


def build(wanted: str | None) -> typer.Typer:
    """The application with the wanted command loaded; the others are there by name and help."""
    app = typer.Typer(
        name="tandem",
        help="Digital employees for customer service. Settings are TANDEM_* variables: README.md has the table.",
        epilog=_epilog(""),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode=None,
    )
    app.callback()(_options)
    for name, text in COMMANDS.items():
        if name == wanted:
            _add(app, name, text)
        else:
            app.command(name, help=text)(_not_loaded)
    return app


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=lambda asked: _tell_version() if asked else None, help="Say which.")
    ] = False,
) -> None:
    """Options before any command."""


def _tell_version() -> None:
    typer.echo(f"tandem {version('tandem')}")
    raise typer.Exit


def _epilog(name: str) -> str | None:
    """Examples in lines of their own: click leaves a paragraph after a backspace as it is."""
    lines = [one if "tandem " in one else f"tandem {one}" for one in EXAMPLES.get(name, ())]
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)]) if lines else None


def _add(app: typer.Typer, name: str, text: str) -> None:
    module = importlib.import_module(f"tandem.cli.{name.replace('-', '_')}")
    command = getattr(module, "command", None)
    if command is not None:
        app.command(name, epilog=_epilog(name))(command)
    else:
        app.add_typer(module.app, name=name, help=text, epilog=_epilog(name))


def _not_loaded() -> None:
    """Stands for a command that was not asked for."""


def main() -> None:
    """Run the command line; errors of ours, and of files and sockets, are one clear line, not a traceback."""
    wanted = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), None)
    try:
        build(wanted if wanted in COMMANDS else None)()
    except TandemError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1)
    except KeyboardInterrupt:
        _fail("stopped", 130)


def _fail(text: str, code: int) -> None:
    sys.stderr.write(f"tandem: {text}\n")
    raise SystemExit(code)
