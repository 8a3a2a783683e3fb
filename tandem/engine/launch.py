"""Checking an engine's arguments and becoming the engine, by the Python that has vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tandem.engine import vllm_process
from tandem.errors import InvalidSettings

PROGRAM = Path(vllm_process.__file__)
CHECK_S = 300.0


@dataclass(frozen=True, slots=True)
class Checked:
    """What vLLM says of the arguments; `error` is empty when it takes them."""

    version: str
    error: str


def check(python: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> Checked:
    """Raises InvalidSettings when that Python has no vLLM, or cannot be run."""
    command = [str(python), str(PROGRAM), "check", *arguments]
    try:
        done = subprocess.run(
            command, env=_quiet(environment), capture_output=True, text=True, timeout=CHECK_S, check=False
        )
    except OSError as error:
        raise InvalidSettings(f"{python} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise InvalidSettings(f"{python}: vLLM did not say what it thinks within {CHECK_S:.0f} s") from error
    if done.returncode == vllm_process.NOT_INSTALLED:
        raise InvalidSettings(done.stderr.strip())
    if done.returncode != 0:
        raise InvalidSettings(f"vLLM does not start in {python}: {done.stderr.strip()[-2_000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return Checked(version=answer["vllm"], error=answer["error"])


def become(python: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Check, and be the engine from here on, under the same process id."""
    command = [str(python), str(PROGRAM), "serve", *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(python, command, _safe(environment))
    except OSError as error:
        raise InvalidSettings(f"{python} cannot be run: {error.strerror}") from error


def _safe(environment: Mapping[str, str]) -> dict[str, str]:
    """The folder of the program is not for its imports."""
    return dict(environment) | {"PYTHONSAFEPATH": "1"}


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    return _safe(environment) | {"VLLM_LOGGING_LEVEL": "ERROR"}
