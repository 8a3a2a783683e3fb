"""`tandem bench`: figures that users can make themselves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import uvloop
from rich.table import Table

from tandem import telemetry
from tandem.cli.common import AsJson, console, print_json, progress, quiet
from tandem.settings import Settings, read_settings

if TYPE_CHECKING:
    from tandem.bench.star.decisions_run import Wanted
    from tandem.bench.star.free import Wanted as Played

app = typer.Typer(no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure."""


@contextmanager
def own_home(bus: str) -> Iterator[Settings]:
    """A deployment of a benchmark's own, removed when it is over."""
    quiet()
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder:
        home = Path(folder)
        os.environ.update(TANDEM_BUS=bus, TANDEM_HOME=str(home), TANDEM_PACKS=str(home / "own-packs"))
        os.environ.setdefault("TANDEM_PREFIX", f"bench-{os.getpid()}")
        os.environ.setdefault("TANDEM_LOG_LEVEL", "WARNING")
        os.environ.setdefault("TANDEM_SHARDS", "8")
        os.environ.setdefault("TANDEM_WORK_PARTITIONS", "4")
        settings = read_settings(Settings)
        telemetry.configure(settings, "tandem", None if settings.otlp_endpoint else telemetry.Forgotten())
        try:
            yield settings
        finally:
            telemetry.shutdown()


@app.command()
def pipeline(
    tickets: Annotated[int, typer.Option(min=1, help="Tickets to run.")] = 2_000,
    concurrency: Annotated[int, typer.Option(min=1, help="Tickets in flight.")] = 128,
    bus: Annotated[Literal["local", "kafka"], typer.Option(help="kafka: at TANDEM_KAFKA_BOOTSTRAP_SERVERS.")] = "local",
    broker_pid: Annotated[int | None, typer.Option(help="Count this process's time as the broker's.")] = None,
    as_json: AsJson = False,
) -> None:
    """What a synthetic ticket costs the platform. Latency, throughput, CPU by part, messages, Redis round trips."""
    from tandem.bench.pipeline import measure

    with own_home(bus) as settings:
        figures = uvloop.run(measure(settings, tickets, concurrency, broker_pid))
    if as_json:
        print_json(figures)
        return
    console().print(figures_table(figures))


@app.command()
def star(
    data: Annotated[Path, typer.Option(help="STAR's folder: dialogues_<split>.jsonl, sop/, apis/.", exists=True)],
    mode: Annotated[
        Literal["decisions", "free"] | None,
        typer.Option(
            help="decisions: at every step of the recorded agent, where --brains or --report is given; free: the customers "
            "against the platform, else."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which dialogues.")] = "dev",
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many dialogues (free: 40 by default, in turn over the tasks).")
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(help="Folder of trained models; without it they are trained first, and kept.", exists=True),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="decisions: also write a page with tables and plots.")] = None,
    tasks: Annotated[str, typer.Option(help="Only these procedures, comma-separated.")] = "",
    brains: Annotated[
        Literal["rules", "small", "llm", "ladder"] | None,
        typer.Option(
            help="decisions: who decides, small by default. llm and ladder (small, then llm where unsure) need an endpoint."
        ),
    ] = None,
    bus: Annotated[
        Literal["local", "kafka"], typer.Option(help="free: over which bus; kafka at TANDEM_KAFKA_BOOTSTRAP_SERVERS.")
    ] = "local",
    as_json: AsJson = False,
) -> None:
    """Dialogues that people wrote elsewhere, judged as recorded. The platform's decisions, or the whole platform."""
    chosen = [task for task in tasks.split(",") if task]
    if mode == "free" and (brains or report):
        raise typer.BadParameter("--brains and --report are of --mode decisions; leave them, or the mode, out")
    if mode == "decisions" or brains or report:
        from tandem.bench.star.decisions_run import Wanted

        _decisions(Wanted(data, split, limit, chosen, models, brains or "small"), report, as_json)
        return
    from tandem.bench.star.free import Wanted as Played

    _free(Played(data, split, limit or 40, chosen, models), bus, as_json)


def _free(wanted: Played, bus: str, as_json: bool) -> None:
    from tandem.bench.star.free import run

    with own_home(bus) as settings:
        figures = uvloop.run(run(settings, wanted))
    if as_json:
        print_json(figures)
        return
    table = Table("procedure", "dialogues", "success", "unsafe calls", "turns")
    for name, row in {**figures["by_task"], "all": figures}.items():
        cells = (row["dialogues"], f"{row['success_rate']:.0%}", row["unsafe_calls"], row["turns_mean"])
        table.add_row(name, *map(str, cells))
    console().print(table)


def _decisions(wanted: Wanted, report: Path | None, as_json: bool) -> None:
    from tandem.bench.star import decisions_run

    with progress("decisions") as update:
        found = decisions_run.measure(wanted, update)
    if report is not None and found.run.judged:
        report.write_text(decisions_run.page(found), encoding="utf-8")
        typer.echo(f"{report} is written", err=True)
    if as_json:
        print_json(found.figures)
        return
    if "reason" in found.figures:
        typer.echo(f"{wanted.brains}: not measured: {found.figures['reason']}", err=True)
        return
    table = Table("procedure", "points", "next action", "API", "parameter", "call")
    for name, row in {**found.figures["by_task"], "all": found.figures}.items():
        rates = (row[key] for key in ("next_action_accuracy", "api_accuracy", "parameter_accuracy", "call_exact"))
        table.add_row(name, str(row["points"]), *("–" if rate is None else f"{rate:.1%}" for rate in rates))
    console().print(table)
    costs = ("ms_per_ticket", "tokens_per_ticket", "micros_per_ticket")
    told = ", ".join(f"{name.replace('_', ' ')} {found.figures[name]}" for name in costs)
    console().print(f"{wanted.brains}, {found.figures['tickets']} tickets: {told}", soft_wrap=True)


@app.command("star-unseen")
def star_unseen(
    data: Annotated[Path, typer.Option(help="STAR's folder.", exists=True)],
    rounds: Annotated[int, typer.Option(min=1, help="How many of the procedures, evenly over all.")] = 22,
    as_json: AsJson = False,
) -> None:
    """Train without a procedure, decide under it; then the next. Long."""
    from tandem.bench.star.unseen import measure_unseen
    from tandem.embedded.sentences import Sentences

    found = measure_unseen(data, Sentences(), lambda text: typer.echo(text, err=True), rounds)
    if as_json:
        print_json(found)
        return
    table = Table("procedure left out", "next action", "API")
    rates, calls = {**found["by_task"], "all": found["next_action_accuracy"]}, found["api_by_task"]
    for name, rate in rates.items():
        call = calls.get(name, found["api_accuracy"] if name == "all" else None)
        table.add_row(name, f"{rate:.1%}", "–" if call is None else f"{call:.1%}")
    console().print(table)


@app.command()
def tau(
    data: Annotated[Path, typer.Option(help="The folder tau3: retail/, airline/.", exists=True)],
    domain: Annotated[Literal["retail", "airline", "all"], typer.Option(help="Whose tasks.")] = "all",
    split: Annotated[str, typer.Option(help="Which tasks: tasks_<split>.json.")] = "train",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many tasks of a domain.")] = None,
    agent: Annotated[
        Literal["platform", "oracle", "idle"],
        typer.Option(help="oracle does what the author does, idle nothing: what the harness itself is measured by."),
    ] = "platform",
    report: Annotated[Path | None, typer.Option(help="Also write a page with tables.")] = None,
    as_json: AsJson = False,
) -> None:
    """Customers with a brief, tools over a database. Which writes are made, and is the database as it should be in the end?

    With a model endpoint set (TANDEM_LLM_BASE_URL, TANDEM_LLM_MODEL) it plans, and plays the customers; else both go by rules.
    """
    from tandem.bench.tau.report import render
    from tandem.bench.tau.run import measure

    with own_home("local") as settings:
        figures, outcomes = uvloop.run(measure(settings, data, domain, split, limit, agent))
    if report is not None:
        report.write_text(render(figures, outcomes), encoding="utf-8")
        typer.echo(f"{report} is written", err=True)
    if as_json:
        print_json(figures)
        return
    table = Table("domain", "tasks", "database equal", "write precision", "write recall", "tool errors", "unsafe calls")
    for name, row in {**figures["by_domain"], "all": figures}.items():
        rates = (row[key] for key in ("database_equal", "write_precision", "write_recall"))
        cells = ("–" if rate is None else f"{rate:.1%}" for rate in rates)
        unsafe = "–" if row["unsafe_calls"] is None else str(row["unsafe_calls"])  # the oracle is judged by nobody
        table.add_row(name, str(row["tasks"]), *cells, str(row["tool_errors"]), unsafe)
    console().print(table)


@app.command()
def rag(
    data: Annotated[
        Path, typer.Option(help="The folder alibaba_docs: corpus_*.jsonl, faq_<split>.jsonl.", exists=True)
    ],
    split: Annotated[str, typer.Option(help="Which questions; those of dev are cross-validated.")] = "dev",
    models: Annotated[
        Path | None, typer.Option(help="Folder of a trained reranker; without it one is trained first.", exists=True)
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many questions.")] = None,
    as_json: AsJson = False,
) -> None:
    """What is found for questions about real documents. Sections, pages, answers, API operations; the first run embeds."""
    from tandem.bench.rag.run import measure

    quiet()
    with progress("rag") as update:
        figures = uvloop.run(measure(data, split, models, limit, lambda text: typer.echo(text, err=True), update))
    if as_json:
        print_json(figures)
        return
    console().print(figures_table(figures))


def figures_table(figures: Mapping[str, Any]) -> Table:
    """Figures by name; those in a group after its name."""
    table = Table(show_header=False, box=None)
    for name, value in figures.items():
        for inner, number in value.items() if isinstance(value, dict) else [("", value)]:
            table.add_row(f"{name} {inner}".replace("_", " ").strip(), str(number))
    return table


@app.command()
def routing(
    data: Annotated[Path, typer.Option(help="The folder of banking77, clinc150 or multidogo.", exists=True)],
    split: Annotated[str, typer.Option(help="dev or val; what is not delivered is a tenth of train.")] = "dev",
    models: Annotated[Path | None, typer.Option(help="Folder of a trained intent model.", exists=True)] = None,
    as_json: AsJson = False,
) -> None:
    """What messages are about. Accuracy, recall of what is out of scope, CPU time."""
    from tandem.bench.routing import measure
    from tandem.bench.star.decisions_run import CACHE
    from tandem.embedded.sentences import Sentences

    figures = measure(data, split, models, CACHE, Sentences(), lambda text: typer.echo(text, err=True))
    if as_json:
        print_json(figures)
        return
    console().print(figures_table({name: value for name, value in figures.items() if name != "items"}))


def _in_a_folder(
    measured: Callable[[Path, Callable[[str], None]], Coroutine[Any, Any, dict[str, Any]]],
) -> dict[str, Any]:
    """What is measured with servers that keep their files in a folder, and says on stderr how far it is."""
    quiet()
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder:
        return uvloop.run(measured(Path(folder), lambda text: typer.echo(text, err=True)))


@app.command()
def gateway(
    litellm: Annotated[
        Path | None,
        typer.Option(
            help="Also LiteLLM's proxy: the virtual environment (or its Python) with 'litellm[proxy]'.", exists=True
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds over all targets; a figure is their median.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each measurement at a load.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """What the gateway adds to a model call. At both its doors, against a stub of a model that answers at once."""
    from tandem.bench.gateway.rounds import measure

    figures = _in_a_folder(lambda folder, told: measure(folder, litellm, rounds, seconds, told))
    if as_json:
        print_json(figures)
        return
    names = [name for name, values in figures.items() if isinstance(values, dict)]
    table = Table("", *names)
    for figure in dict.fromkeys(figure for name in names for figure in figures[name]):
        table.add_row(figure.replace("_", " "), *(str(figures[name].get(figure, "")) for name in names))
    console().print(table)


@app.command()
def serving(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the priorities; a figure is their median.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each part of a round.")] = 8.0,
    as_json: AsJson = False,
) -> None:
    """What the gateway's queues, routing and grants do, and what becomes of a replica's faults, over stubs of replicas."""
    from tandem.bench.gateway.serving import measure

    figures = _in_a_folder(lambda folder, told: measure(folder, rounds, seconds, told))
    if as_json:
        print_json(figures)
        return
    figures["budget"] = {"at once": figures["budget"]}
    for name in ("priorities", "affinity", "budget", "faults"):
        table = Table(name, box=None)
        for row, values in figures[name].items():
            told = {
                kind: f"{v['outcome']}, {v['seconds']} s" if isinstance(v, dict) else v for kind, v in values.items()
            }
            table.add_row(row, *(f"{figure}: {value}" for figure, value in told.items()))
        console().print(table)


@app.command()
def gate(
    baseline: Annotated[Path, typer.Argument(help="A file with a run's --json.", exists=True, dir_okay=False)],
    new: Annotated[Path, typer.Argument(help="The same of the run to judge.", exists=True, dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Whether a new run may ship. Exit code 1 if a rate fell by more than chance explains (95 %)."""
    from tandem.bench.gate import compare, read_run

    changes = compare(read_run(baseline), read_run(new))
    worse = any(change.regression for change in changes)
    if as_json:
        print_json({"ok": not worse, "changes": [asdict(change) for change in changes]})
    else:
        table = Table("rate", "baseline", "new", "change, 95 %", "")
        for one in changes:
            bounds = f"{one.low:+.2%} … {one.high:+.2%}"
            table.add_row(one.name, f"{one.before:.2%}", f"{one.after:.2%}", bounds, "worse" if one.regression else "")
        console().print(table)
    raise typer.Exit(1 if worse else 0)
