"""Programs that the checks of the manifests need, by their ordinary installers, kept in `TANDEM_TEST_CACHE`."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ("dev", "staging", "prod")
GO_PROGRAMS = {
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
}
BUILD_S = 1_500

Object = dict[str, Any]


def missing() -> list[str]:
    """Any one of these would do."""
    there = shutil.which("kustomize") or shutil.which("go") or _in_kubectl()
    return [] if there else ["kustomize", "kubectl (1.27 or later)", "go"]


def cached(name: str) -> Path:
    folder = Path(os.environ.get("TANDEM_TEST_CACHE", "~/.cache/tandem")).expanduser() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def program(name: str) -> str:
    """From the PATH, or built with `go install` once."""
    if found := shutil.which(name):
        return found
    target = cached("go-bin") / name
    if not target.exists():
        environment = {**os.environ, "GOBIN": str(target.parent), "GOFLAGS": "-mod=mod"}
        subprocess.run(["go", "install", GO_PROGRAMS[name]], env=environment, check=True, timeout=BUILD_S)
    return str(target)


def _in_kubectl() -> bool:
    """Whether there is a kubectl whose kustomize knows components."""
    if shutil.which("kubectl") is None:
        return False
    told = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=False).stdout
    return "Kustomize Version: v5" in told


def build(folder: Path) -> str:
    """The folder's manifests."""
    if not shutil.which("kustomize") and _in_kubectl():
        command = ["kubectl", "kustomize", str(folder)]
    else:
        command = [program("kustomize"), "build", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@cache
def text(overlay: str) -> str:
    return build(ROOT / "deploy" / "k8s" / "overlays" / overlay)


@cache
def _read(overlay: str) -> bytes:
    return pickle.dumps(list(yaml.load_all(text(overlay), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))))


def rendered(overlay: str) -> list[Object]:
    """A copy of its own for each caller."""
    found: list[Object] = pickle.loads(_read(overlay))
    return found
