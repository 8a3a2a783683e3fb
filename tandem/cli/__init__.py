"""The command line. Each command is a module of this package, imported only when it is asked for.

A module has `command`, a function with its own options, or `app`, a group of commands.
"""

from __future__ import annotations

import importlib
import sys

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
    "schemas": "Write the AsyncAPI document and the JSON Schemas of all messages.",
    "dashboards": "Write the Grafana dashboards.",
    "model": "Serve models.",
    "deploy": "Write the generated Kubernetes manifests.",
    "bench": "Measure.",
    "chaos": "Prove the promise under faults.",
}


def build(wanted: str | None) -> typer.Typer:
    """The application with the wanted command loaded; the others are there by name and help."""
    app = typer.Typer(
        name="tandem",
        help="Digital employees for customer service.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode=None,
    )
    for name, text in COMMANDS.items():
        if name == wanted:
            _add(app, name, text)
        else:
            app.command(name, help=text)(_not_loaded)
    return app


def _add(app: typer.Typer, name: str, text: str) -> None:
    module = importlib.import_module(f"tandem.cli.{name.replace('-', '_')}")
    command = getattr(module, "command", None)
    if command is not None:
        app.command(name)(command)
    else:
        app.add_typer(module.app, name=name, help=text)


def _not_loaded() -> None:
    """Stands for a command that was not asked for."""


def main() -> None:
    """Run the command line; errors of ours are one clear line, not a traceback."""
    wanted = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), None)
    try:
        build(wanted if wanted in COMMANDS else None)()
    except TandemError as error:
        sys.stderr.write(f"tandem: {error}\n")
        raise SystemExit(1) from None
