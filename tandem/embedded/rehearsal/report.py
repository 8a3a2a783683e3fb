"""All paths of a procedure, or the customers of a file, and what a release should know of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tandem.embedded.rehearsal.customers import Customer, Expectation, Led, Told
from tandem.embedded.rehearsal.play import Play, PlayedPath
from tandem.embedded.rehearsal.played import Modelled
from tandem.packs.model import Flow, Pack
from tandem.rpc.ports import Llm

MAX_PATHS = 300


@dataclass(slots=True)
class Report:
    """Of one procedure."""

    flow: Flow
    paths: list[PlayedPath] = field(default_factory=list)
    cut: bool = False  # there were more paths than MAX_PATHS

    @property
    def ok(self) -> bool:
        return not any(path.wrong for path in self.paths)

    @property
    def unreached(self) -> list[str]:
        reached = {name for path in self.paths for name in path.nodes}
        return [name for name in self.flow.nodes if name not in reached]

    def as_json(self) -> dict[str, Any]:
        paths = [
            {
                "name": path.name,
                "outcome": path.outcome,
                "reason": path.reason,
                "wrong": path.wrong,
                "steps": [{"node": node, "sentence": sentence} for node, sentence in path.steps(self.flow)],
                "loops": path.loops,
                "writes": [asdict(write) for write in path.writes],
                **({"said": path.said} if path.said else {}),
            }
            for path in self.paths
        ]
        nodes = {"all": len(self.flow.nodes), "unreached": self.unreached}
        return {"procedure": self.flow.procedure, "ok": self.ok, "cut": self.cut, "nodes": nodes, "paths": paths}


def every_path(pack: Pack, flow: Flow, limit: int = MAX_PATHS) -> Report:
    """Led customers until each option of each decision was taken at each visit, or `limit` paths were played."""
    report = Report(flow)
    waiting: list[tuple[int, ...]] = [()]
    seen: set[tuple[str, int, str]] = set()
    while waiting and len(report.paths) < limit:
        way = waiting.pop(0)
        led = Led(way, pack)
        path = Play(pack, flow, led).run()
        path.name = led.name
        report.paths.append(path)
        taken = [point[2] for point in led.points]
        for at, (where, visit, _, labels) in enumerate(led.points):
            for option, label in enumerate(labels):
                key = (where, visit, label)
                if key in seen:
                    continue
                seen.add(key)
                if option != taken[at] and at >= len(way):
                    waiting.append((*taken[:at], option))
    report.cut = bool(waiting)
    return report


def by_model(pack: Pack, flow: Flow, numbers: range, llm: Llm, runner: asyncio.Runner) -> Report:
    """Customers played by a model. Raises Unavailable without one."""
    report = Report(flow)
    for number in numbers:
        customer = Modelled(pack, flow, number, llm, runner)
        path = Play(pack, flow, customer).run()
        path.name = f"{number}: {customer.character}" + (f", {customer.usual} usual answers" if customer.usual else "")
        path.said = customer.said
        report.paths.append(path)
    return report


def of_customers(pack: Pack, customers: Sequence[Customer]) -> list[Report]:
    """The customers of a file, by procedure."""
    reports: dict[str, Report] = {}
    for customer in customers:
        flow = pack.flows[customer.procedure]
        path = Play(pack, flow, Told(customer, pack), customer.language).run()
        path.name = customer.name
        if customer.expect and not path.wrong:
            path.wrong = unmet(customer.expect, path)
        reports.setdefault(flow.procedure, Report(flow)).paths.append(path)
    return list(reports.values())


def unmet(expected: Expectation, path: PlayedPath) -> str:
    """What was expected and did not come; empty if all came."""
    if expected.outcome and path.outcome != expected.outcome:
        return f"it ended {path.outcome} ({path.reason}), not {expected.outcome}"
    if expected.reason and path.reason != expected.reason:
        return f"the reason is {path.reason!r}, not {expected.reason!r}"
    written = tuple(write.tool for write in path.writes)
    if expected.outcome and written != expected.calls:
        return f"it wrote {', '.join(written) or 'nothing'}, not {', '.join(expected.calls) or 'nothing'}"
    reached = iter(path.nodes)
    missed = next((name for name in expected.nodes if name not in reached), None)
    return f"{missed} was not reached" if missed else ""
