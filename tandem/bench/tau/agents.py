"""Two agents that say whether the harness is right: one does what the author does, one does nothing."""

from __future__ import annotations

from tandem.bench.tau.data import Domain, Task
from tandem.bench.tau.judge import Run
from tandem.bench.tau.office import Office
from tandem.bench.tau.records import Refusal


def oracle(domain: Domain, task: Task) -> Run:
    office = Office(domain)
    for action in task.actions:
        try:
            office.call(action.name, action.arguments)
        except Refusal:
            continue
    return Run(office, said=task.communicate, ended="oracle")


def idle(domain: Domain, task: Task) -> Run:
    return Run(Office(domain), ended="idle")
