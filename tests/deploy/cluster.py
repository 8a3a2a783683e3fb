"""A real kube-apiserver with its etcd, built from their Go modules, and the operators' CustomResourceDefinitions from
theirs: Go modules of KEDA and the Prometheus operator, Maven artifacts of Strimzi.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.tools import BUILD_S, ROOT, cached

KUBERNETES = "1.36.0"
ETCD = "v3.6.5"
KEDA = ("github.com/kedacore/keda/v2@v2.18.3", "config/crd/bases")
PROMETHEUS = ("github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd")
STRIMZI = ("kafka.Kafka", "nodepool.KafkaNodePool", "topic.KafkaTopic", "user.KafkaUser")
START_S = 90
TOKEN = "of-this-test"

APISERVER = """package main

import (
	"os"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
"""
ETCD_MAIN = """package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
"""


def apiserver() -> Path:
    """Kubernetes' own module replaces its parts by folders of its tree; here they are the modules published of them."""
    module = f"k8s.io/kubernetes@v{KUBERNETES}"
    [_, minor, patch] = KUBERNETES.split(".")
    go_mod = Path(_download(module)["GoMod"]).read_text(encoding="utf-8")
    parts = sorted(set(re.findall(r"^\s*(k8s\.io/[a-z0-9-]+)(?: v0\.0\.0$| => )", go_mod, re.MULTILINE)))
    replaced = [f"replace {part} => {part} v0.{minor}.{patch}" for part in parts]
    version = f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES}"
    return _go_build(
        f"kube-apiserver-{KUBERNETES}", APISERVER, [f"require k8s.io/kubernetes v{KUBERNETES}", *replaced], version
    )


def etcd() -> Path:
    return _go_build(f"etcd-{ETCD}", ETCD_MAIN, [f"require go.etcd.io/etcd/server/v3 {ETCD}"])


def _go_build(name: str, main: str, lines: list[str], flags: str = "") -> Path:
    folder = cached(f"build-{name}")
    target = cached("go-bin") / name
    if not target.exists():
        (folder / "go.mod").write_text("\n".join(["module built", "go 1.26.0", *lines, ""]), encoding="utf-8")
        (folder / "main.go").write_text(main, encoding="utf-8")
        for command in (["go", "mod", "tidy"], ["go", "build", "-ldflags", f"-s -w {flags}", "-o", str(target), "."]):
            subprocess.run(command, cwd=folder, check=True, timeout=BUILD_S, env={**os.environ, "GOFLAGS": "-mod=mod"})
    return target


def _download(module: str) -> dict[str, str]:
    done = subprocess.run(
        ["go", "mod", "download", "-json", module], cwd=cached("go-bin"), capture_output=True, check=True, timeout=600
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def definitions() -> list[Path]:
    """Files and folders of CustomResourceDefinitions."""
    from_go = [Path(_download(module)["Dir"]) / folder for module, folder in (KEDA, PROMETHEUS)]
    return [*from_go, _strimzi()]


def _strimzi() -> Path:
    """Made of the classes of Strimzi's API by Strimzi's own generator."""
    target = cached("strimzi-crds")
    if not any(target.iterdir()):
        libraries = cached("strimzi-jars")
        pom = ROOT / "tests" / "deploy" / "pom.xml"
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={libraries}", "-DincludeScope=runtime"]
        subprocess.run(["mvn", "-q", "-B", "-f", str(pom), *goal], check=True, timeout=BUILD_S)
        # The generator's jar has an older copy of Kubernetes' classes in it: it comes last.
        jars = sorted(libraries.glob("*.jar"), key=lambda jar: jar.name.startswith("crd-generator"))
        options = ["--yaml", *("--target-kube", "1.21+"), *("--crd-api-version", "v1")]
        options += [*("--api-versions", "v1"), *("--storage-version", "v1")]
        for name in STRIMZI:
            made = f"io.strimzi.api.kafka.model.{name}={target}/{name}.yaml"
            command = ["java", "-cp", ":".join(map(str, jars)), "io.strimzi.crdgenerator.CrdGenerator", *options, made]
            subprocess.run(command, check=True, timeout=120, capture_output=True)
    return target


class Cluster:
    """No nodes and no controllers: the API alone, which is what decides whether it takes an object."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._processes: list[subprocess.Popen[bytes]] = []
        store, peers, port = _free(), _free(), _free()
        self.url = f"https://127.0.0.1:{port}"
        address, between = f"http://127.0.0.1:{store}", f"http://127.0.0.1:{peers}"
        self._start(
            str(etcd()),
            *(f"--data-dir={home}/etcd", f"--initial-cluster=default={between}"),
            *(f"--listen-client-urls={address}", f"--advertise-client-urls={address}"),
            *(f"--listen-peer-urls={between}", f"--initial-advertise-peer-urls={between}"),
        )
        key = home / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        (home / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
        self._start(
            str(apiserver()),
            *(f"--etcd-servers={address}", f"--cert-dir={home}/certificates"),
            *("--bind-address=127.0.0.1", f"--secure-port={port}", "--service-cluster-ip-range=10.0.0.0/16"),
            *("--service-account-issuer=https://kubernetes", f"--service-account-key-file={key}"),
            *(f"--service-account-signing-key-file={key}", f"--token-auth-file={home}/tokens.csv"),
            *("--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"),
        )
        self._wait()

    def kubectl(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        options = [f"--server={self.url}", f"--token={TOKEN}", "--insecure-skip-tls-verify"]
        return subprocess.run(
            ["kubectl", *options, *arguments], input=given, capture_output=True, text=True, timeout=300, check=False
        )

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait(60)

    def _start(self, *command: str) -> None:
        with (self._home / f"{Path(command[0]).name}.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self._home))

    def _wait(self) -> None:
        trusting = ssl._create_unverified_context()
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(request, timeout=2, context=trusting):
                    return
            except OSError:
                time.sleep(0.2)
        self.stop()
        raise TimeoutError("\n".join(log.read_text()[-2_000:] for log in self._home.glob("*.log")))


def missing() -> list[str]:
    return [program for program in ("go", "mvn", "java", "kubectl", "openssl") if shutil.which(program) is None]


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Loader(yaml.SafeLoader):
    """Takes a lone `=` for the text that it is."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)


def schemas(folder: Path) -> set[str]:
    """The definitions' schemas, a file for each kind, closed as `-strict` asks; returns the kinds."""
    kinds = set()
    for place in definitions():
        for path in place.glob("*.yaml"):
            for definition in yaml.load_all(path.read_text(encoding="utf-8"), Loader=_Loader):
                spec = definition["spec"]
                kind = spec["names"]["kind"]
                schema = _closed(spec["versions"][-1]["schema"]["openAPIV3Schema"])
                schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
                (folder / f"{kind.lower()}.json").write_text(json.dumps(schema), encoding="utf-8")
                kinds.add(kind)
    return kinds


def _closed(schema: Any) -> Any:
    """No field that is not named, where fields are."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed["additionalProperties"] = False
    return closed
