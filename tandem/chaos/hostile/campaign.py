"""Many tickets, each worker a process of its own, with a fixed hash seed: a set's order is part of a ticket that must be
repeatable anywhere. What has been played stands at any time, whatever becomes of the rest."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from tandem.chaos.hostile.data import injections
from tandem.chaos.hostile.run import Played, Report, each


class Wanted(NamedTuple):
    """What is played: tickets `start` and on. The same number is the same ticket."""

    pack: Path
    tickets: int
    start: int = 1
    data: Path | None = None
    workers: int = 1


def campaign(wanted: Wanted, tell: Callable[[Report], None], stopped: Callable[[], bool] = lambda: False) -> Report:
    """Play them in order, until all are played, `stopped`, or a worker dies; `tell` after each. Raises InvalidSettings if there
    is nothing in the folder of injections."""
    began = time.monotonic()
    report = Report(start=wanted.start, wanted=wanted.tickets, injections=len(injections(wanted.data)))
    count = min(wanted.tickets, wanted.workers)
    running = [_worker(wanted, number, count) for number in range(count)]
    try:
        for played in _in_turn(running):
            report.add(played)
            report.seconds = round(time.monotonic() - began, 1)
            tell(report)
            if stopped():
                break
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return report


def _worker(wanted: Wanted, number: int, count: int) -> subprocess.Popen[str]:
    """In a session of its own: who interrupts the command from a terminal interrupts the command alone."""
    numbers = (wanted.start + number, wanted.start + wanted.tickets, count)
    command = [sys.executable, "-m", __name__, *map(str, numbers), str(wanted.pack), str(wanted.data or "")]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)


def _in_turn(running: Sequence[subprocess.Popen[str]]) -> Iterator[Played]:
    """A line from each, so in the tickets' order; a worker that is ahead waits at its full pipe."""
    streams = [process.stdout for process in running if process.stdout is not None]
    while True:
        for stream in streams:
            line = stream.readline()
            if not line:
                return
            yield Played(**json.loads(line))


def main() -> None:
    """`python -m tandem.chaos.hostile.campaign START STOP STEP PACK DATA`: a line of JSON for each ticket."""
    logging.disable(logging.CRITICAL)  # the platform tells of every answer it refuses; here that is no news
    numbers, pack, data = range(*map(int, sys.argv[1:4])), Path(sys.argv[4]), sys.argv[5]
    for played in each(pack, numbers, injections(Path(data) if data else None)):
        sys.stdout.write(json.dumps(asdict(played), ensure_ascii=False) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
