"""A real Prometheus for tests: from the PATH, or Debian's package unpacked once into `TANDEM_TEST_CACHE` (default
`~/.cache/tandem`); nothing is installed and no right is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

PROGRAMS = ("prometheus", "promtool")
START_S = 30


def missing() -> list[str]:
    """The programs that are needed and neither there nor to be fetched."""
    if all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        return []
    return [name for name in PROGRAMS if shutil.which(name) is None]


def program(name: str) -> Path:
    """Where it is. Fetched beside its place and moved there, so half a download is never taken for one."""
    if found := shutil.which(name):
        return Path(found)
    cache = Path(os.environ.get("TANDEM_TEST_CACHE", "~/.cache/tandem")).expanduser()
    target = cache / "prometheus"
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as scratch:
            subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=scratch, check=True, timeout=300)
            [package] = Path(scratch).glob("*.deb")
            unpacked = Path(scratch) / "unpacked"
            subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], check=True, timeout=60)
            try:
                unpacked.rename(target)
            except OSError:
                if not target.is_dir():  # otherwise another run was faster
                    raise
    return target / "usr/bin" / name


class Prometheus:
    """One server that scrapes one target each 200 ms and evaluates the given rules as often."""

    def __init__(self, home: Path, target: str, rules: list[Path]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [{"job_name": "tandem", "static_configs": [{"targets": [target]}]}],
        }
        path = home / "prometheus.json"
        path.write_text(json.dumps(config))  # JSON is YAML
        self._log = (home / "prometheus.log").open("wb")
        address = self.url.removeprefix("http://")
        arguments = [f"--config.file={path}", f"--storage.tsdb.path={home}/data", f"--web.listen-address={address}"]
        self._process = subprocess.Popen(
            [str(program("prometheus")), *arguments], stdout=self._log, stderr=subprocess.STDOUT
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise TimeoutError(Path(self._log.name).read_text())

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The samples of an instant query. Raises HTTPError for one that cannot be read."""
        words = urllib.parse.urlencode({"query": promql})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{words}", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with its health."""
        with urllib.request.urlopen(f"{self.url}/api/v1/rules", timeout=10) as answer:
            groups = json.load(answer)["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()
