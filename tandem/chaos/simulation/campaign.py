"""Many seeds, over all processors. Each worker is a process of its own, with a fixed hash seed: a set's order is part of a
run that must be repeatable anywhere."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tandem.chaos.simulation.run import Outcome, simulate
from tandem.errors import Unavailable

Progress = Callable[[Outcome], None]


class Summary(NamedTuple):
    """What a campaign came to; `violations`: seed, number of the invariant, detail."""

    seeds: int
    violations: list[tuple[int, int, str]]
    tickets: int
    effects: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        names = ("seed", "invariant", "detail")
        return {**self._asdict(), "violations": [dict(zip(names, one, strict=True)) for one in self.violations]}


def campaign(
    start: int, seeds: int, progress: Progress = lambda _: None, workers: int | None = None, away_s: float = 0.0
) -> Summary:
    """Play `seeds` seeds from `start` on, `away_s` as `simulate` takes it. Raises Unavailable if a worker dies."""
    began, count = time.monotonic(), min(seeds, workers or len(os.sched_getaffinity(0)))
    running = [_worker(range(start + number, start + seeds, count), away_s) for number in range(count)]
    violations: list[tuple[int, int, str]] = []
    tickets = effects = played = 0
    try:
        for outcome in _outcomes(running):
            progress(outcome)
            played += 1
            tickets += outcome.tickets
            effects += outcome.effects
            violations += [(outcome.seed, one.invariant, one.detail) for one in outcome.violations]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    if played != seeds:
        raise Unavailable(f"a worker died: {played} of {seeds} seeds were played; run it again with --workers 1")
    return Summary(played, sorted(violations), tickets, effects, round(time.monotonic() - began, 1))


def _worker(seeds: range, away_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", __name__, str(seeds.start), str(seeds.stop), str(seeds.step), str(away_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONHASHSEED": "0"})


def _outcomes(running: Sequence[subprocess.Popen[str]]) -> Iterator[Outcome]:
    """In turn from each worker, so that none waits for its reader for long."""
    open_ = [process.stdout for process in running if process.stdout is not None]
    while open_:
        for stream in list(open_):
            line = stream.readline()
            if line:
                yield _read(line)
            else:
                open_.remove(stream)


def _read(line: str) -> Outcome:
    from tandem.chaos.simulation.invariants import Violation

    fields = json.loads(line)
    fields["violations"] = [Violation(*one) for one in fields["violations"]]
    return Outcome(**fields)


def main() -> None:
    """`python -m tandem.chaos.simulation.campaign START STOP STEP AWAY_S`: a line of JSON for each seed."""
    logging.disable(logging.CRITICAL)  # the platform tells of every fault it meets; here that is no news
    for seed in range(*map(int, sys.argv[1:4])):
        sys.stdout.write(json.dumps(simulate(seed, away_s=float(sys.argv[4]))._asdict()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
