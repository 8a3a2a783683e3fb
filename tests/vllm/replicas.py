"""Two real vLLM replicas of one pool, started as an operator would: `tandem model serve`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

POOL, MODEL, ADAPTER = "tiny", "tiny", "polite"
MAX_RUNNING, MAX_QUEUED = 4, 4
KV_BYTES = 2 * 1024 * 1024  # 4,096 tokens of this model
START_S, STOP_S = 420.0, 20.0
SLOW_MACHINE = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"}


class Replica:
    """One engine. `ensure` starts it when it does not run; `wait` is until it serves."""

    def __init__(self, python: Path, pools: Path, port: int, log: Path) -> None:
        self.port = port
        self.base = f"http://127.0.0.1:{port}/v1"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        arguments = ["model", "serve", POOL, "--pools", str(pools), "--port", str(port), "--python", str(python)]
        self._command = [sys.executable, "-m", "tandem", *arguments]

    def ensure(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        with self._log.open("ab") as log:
            environment = {**os.environ, **SLOW_MACHINE}
            self._process = subprocess.Popen(
                self._command, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        until = time.monotonic() + START_S
        while not self._serves():
            assert self._process is not None
            assert self._process.poll() is None, f"the replica ended:\n{self._said()}"
            assert time.monotonic() < until, f"the replica does not serve after {START_S:.0f} s:\n{self._said()}"
            time.sleep(0.2)

    def kill(self) -> None:
        """As the kernel does when memory is out."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """With all its processes, also those that a kill left alone."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_S)

    def metric(self, name: str) -> float:
        """The sum over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-3_000:]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_pools(file: Path, model: Path, adapter: Path, ports: list[int]) -> None:
    """The gateway's file and the engines': one."""
    engine: dict[str, Any] = {
        "model": str(model),
        "max-model-len": 1_024,
        "max-num-seqs": MAX_RUNNING,
        "max-num-queued-reqs": MAX_QUEUED,
        "kv-cache-memory-bytes": KV_BYTES,
        "block-size": 32,
        "enforce-eager": True,
        "enable-auto-tool-choice": True,
        "tool-call-parser": "hermes",
        "max-lora-rank": 8,
        "structured-outputs-config": {
            "backend": "xgrammar",
            "disable_any_whitespace": True,
        },  # a model without sense writes nothing else
    }
    pool = {
        "model": MODEL,
        "replicas": [f"http://127.0.0.1:{port}/v1" for port in ports],
        "adapters": {ADAPTER: str(adapter)},
        "engine": engine,
    }
    file.write_text(json.dumps({"pools": {POOL: pool}}), encoding="utf-8")  # JSON is YAML
